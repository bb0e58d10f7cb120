"""OpenSSH's client, over a master connection that is open already."""

from __future__ import annotations

import atexit
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from worker import serve, timed

state: dict[str, Any] = {}


def connect(host: str, port: int, username: str, private_key: str) -> dict[str, Any]:
    directory = tempfile.TemporaryDirectory(prefix="ssh-")
    control = Path(directory.name) / "control"
    command = ["ssh", "-F", "/dev/null", "-S", str(control), "-p", str(port), "-i", private_key]
    command += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    command += ["-o", "LogLevel=ERROR", f"{username}@{host}"]
    subprocess.run([*command[:-1], "-M", "-N", "-f", command[-1]], check=True, stdin=subprocess.DEVNULL)
    state.update(directory=directory, command=command)
    atexit.register(subprocess.run, [*command[:-1], "-O", "exit", command[-1]], check=False, capture_output=True)
    return {}


def execute(command: str) -> dict[str, Any]:
    def whole() -> None:
        subprocess.run([*state["command"], command], check=True, stdin=subprocess.DEVNULL, capture_output=True)

    return {"seconds": timed(whole)}


if __name__ == "__main__":
    serve(connect=connect, execute=execute)
