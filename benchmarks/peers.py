"""The competitors: each in an environment of its own, with pinned releases, and in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from report import OURS

WAYS = Path(__file__).resolve().parent / "ways"

PYCLOUDLIB = "pycloudlib 1!11.1.10"
BOTO3 = "boto3 waiters, paramiko"
PARAMIKO = "raw paramiko, TCP_NODELAY"
ASYNCSSH = "asyncssh"
FABRIC = "fabric"
PARALLEL_SSH = "parallel-ssh"
OPENSSH = "OpenSSH, ControlMaster"

REQUIREMENTS = {
    PYCLOUDLIB: ("pycloudlib==1!11.1.10",),
    BOTO3: ("boto3==1.44.8", "paramiko==5.1.0"),
    PARAMIKO: ("paramiko==5.1.0",),
    ASYNCSSH: ("asyncssh==2.24.1",),
    FABRIC: ("fabric==3.2.3", "paramiko==5.1.0"),
    PARALLEL_SSH: ("parallel-ssh==2.16.0.post1",),
}
DRAWING = ("matplotlib==3.11.2",)

PROGRAMS = {
    OURS: "with_this.py",
    PYCLOUDLIB: "with_pycloudlib.py",
    BOTO3: "with_boto3.py",
    PARAMIKO: "with_paramiko.py",
    ASYNCSSH: "with_asyncssh.py",
    FABRIC: "with_fabric.py",
    PARALLEL_SSH: "with_parallel_ssh.py",
    OPENSSH: "with_openssh.py",
}


def python_of(way: str) -> Path:
    """The Python in which a way runs: this one for this library and for programs, else one of its own."""
    return environment(REQUIREMENTS[way]) if way in REQUIREMENTS else Path(sys.executable)


def environment(requirements: Sequence[str]) -> Path:
    """Make an environment with pinned releases, or find the one that was made before.

    Returns:
        Its Python.
    """
    pins = " ".join([platform.python_version(), *requirements])
    name = f"{requirements[0].partition('=')[0]}-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"
    directory = _cache() / name
    python = directory / "bin" / "python"
    complete = directory / "complete"
    if not complete.exists():
        print(f"making an environment for {', '.join(requirements)} in {directory}", file=sys.stderr, flush=True)
        venv.create(directory, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *requirements]
        subprocess.run(install, check=True, stdout=sys.stderr)
        complete.touch()
    return python


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pycloudlib-ec2-benchmarks"


class Worker:
    """A way, in a process that lives while its context is entered.

    Args:
        way: what it is called in the tables.
        log: where it writes what goes wrong.
    """

    def __init__(self, way: str, log: Path) -> None:
        self.way = way
        self._log_path = log
        self._undo = ExitStack()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Worker:
        log: IO[str] = self._undo.enter_context(self._log_path.open("a"))
        command = [str(python_of(self.way)), str(WAYS / PROGRAMS[self.way])]
        self._process = self._undo.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        )
        self("ready")
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        if exception is not None:
            self._process.kill()
        self._undo.close()

    def __call__(self, do: str, **request: object) -> dict[str, Any]:
        """Let it do something, and give what it answers."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps({"do": do, **request}), file=process.stdin, flush=True)
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.way} failed at {do}:\n{self._log_path.read_text()[-3000:]}")
        found: dict[str, Any] = json.loads(answer)
        return found


def progress(*words: object) -> None:
    """Say what is being done, with the time."""
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)
