"""Commands inside a VPC's network namespace."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from pycloudlib.local.network.namespaces.entrance import Entrance

ENTER = """
import json, sys
from pycloudlib.cli.exec_replace import exec_replace
from pycloudlib.local.network.namespaces.entrance import Entrance
Entrance(**json.loads(sys.argv[1])).enter()
exec_replace(sys.argv[2:])
"""

CLIENT = """
import socket, sys
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family, _, _, _, place = socket.getaddrinfo(address, port)[0]
with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as client:
    client.settimeout(float(sys.argv[4]))
    client.connect(place)
    client.send(b"hello")
    print(client.recv(1000).decode())
"""


def run_inside(entrance: Entrance, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command inside a VPC.

    Args:
        entrance: the VPC's.
        *command: a program and its arguments.
        **options: for subprocess.run().
    """
    return subprocess.run(
        [sys.executable, "-c", ENTER, json.dumps(asdict(entrance)), *command],
        text=True,
        capture_output=True,
        check=False,
        **options,
    )


def ask(entrance: Entrance, kind: str, address: str, port: int, *, seconds: float) -> str:
    """Return what a server answers to a "hello" from inside a VPC; "" if nothing."""
    client = [sys.executable, "-c", CLIENT, kind, address, str(port), str(seconds)]
    return run_inside(entrance, *client).stdout.strip()
