"""A computer in a network namespace of its own, with a machine all of whose ports are redirected.

A program, because a process cannot return from a user namespace. Prints what the computer reached.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pycloudlib.local.machines.namespace_network import NamespaceNetwork
from pycloudlib.local.machines.qemu_interfaces import TapInterface
from pycloudlib.local.network.attachment import Address
from support.computer import enter_computer
from support.guest_network import PATIENCE, Guest
from support.packet_lab import NFT
from support.sample_topologies import group, interface, lab, rule

KILLED = """
import sys
from pycloudlib.local.network.namespaces.redirection import Redirection
redirection = Redirection(4711)
print("ready", flush=True)
sys.stdin.read()
"""
PUBLIC_IP, SSH_PORT = "127.9.1.5", 2222
GROUP = group(
    "sg-1", rule(1, "tcp", (20, 30), cidrs=["127.0.0.1/32"]), rule(2, "tcp", (25, 50000), cidrs=["0.0.0.0/0"])
)


def main() -> None:
    enter_computer()
    with contextlib.closing(NamespaceNetwork(Path(sys.argv[1]), SSH_PORT, all_ports=True)) as network:
        plain = interface("a", "10.0.1.5", "sg-1")
        attachment = dataclasses.replace(plain.attachment, addresses=(Address("10.0.1.5", PUBLIC_IP),))
        assert network.topology_listener is not None
        network.topology_listener(lab(dataclasses.replace(plain, attachment=attachment), groups={"sg-1": GROUP}))
        tap = network.interface(attachment)
        assert isinstance(tap, TapInterface)
        tap.arguments(3)
        with Guest(tap.take_fds()[0], attachment.mac, ["10.0.1.5/24"], ["10.0.1.1"]) as guest:
            for port in (22, 23, 40_000):
                guest.call("serve", port=port)
            # The computer's own server at all addresses, whose port goes to the machine.
            with socket.create_server(("", 40_000)) as own:
                for port in (23, SSH_PORT, 40_000, 24, 50_001):
                    say(port, fetch(PUBLIC_IP, port))
                threading.Thread(target=answer_one, args=(own,)).start()
                say("own", fetch("127.0.0.1", 40_000))
            flush()
            say("after a flush", fetch(PUBLIC_IP, 23))
            network.topology_listener(lab())
            say("without the machine", fetch(PUBLIC_IP, 23))
    say("tables left", tables())
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        say("tables of a process", killed.stdout.readline() and tables())
        killed.kill()
    say("tables of a killed process", tables())


def tables() -> str:
    """List the tables of this computer, without process ids."""
    listed = subprocess.run([str(NFT), "list", "tables"], capture_output=True, text=True, check=True).stdout
    return re.sub(r"\d+", "N", listed)


def fetch(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), PATIENCE) as connection:
            return connection.recv(100).decode()
    except OSError as error:
        return type(error).__name__


def answer_one(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"the computer")


def flush() -> None:
    """Delete the tables of this computer, as another program may."""
    subprocess.run([str(NFT), "flush", "ruleset"], check=False, stderr=subprocess.DEVNULL)


def say(what: object, text: str) -> None:
    print(f"{what}: {text.strip()}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
