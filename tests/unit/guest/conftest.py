from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pycloudlib.result import Result
from pycloudlib.ssh.command_line import command_line

Program = Callable[[str, str], None]
Tool = Callable[..., None]
Run = Callable[..., Result]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Puts a program of the test's own into the guest."""
    (tmp_path / "bin").mkdir()

    def make(name: str, script: str) -> None:
        path = tmp_path / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


@pytest.fixture
def tool(tmp_path: Path, program: Program) -> Tool:
    """Puts programs of this machine into the guest."""

    def link(*names: str) -> None:
        for name in names:
            found = shutil.which(name)
            assert found, f"these tests need {name}"
            (tmp_path / "bin" / name).symlink_to(found)

    return link


@pytest.fixture
def run(tmp_path: Path, tool: Tool, program: Program) -> Run:
    """A guest: a shell that finds only the programs that the test puts there."""
    tool("sh", "env")
    program("cat", 'exec /bin/cat "$@"')
    program("sudo", 'shift 2; IS_ROOT=yes exec "$@"')

    def run_in_guest(
        command: str,
        *,
        description: str | None = None,
        timeout: float | None = None,
        use_sudo: bool = False,
        env: Mapping[str, str] | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
    ) -> Result:
        done = subprocess.run(
            ["/bin/sh", "-c", command_line(command, use_sudo=use_sudo, env=env)],
            env={**os.environ, "PATH": str(tmp_path / "bin")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        status = done.returncode if done.returncode >= 0 else 128 - done.returncode
        if on_output is not None:
            on_output("stderr", done.stderr)
            on_output("stdout", done.stdout)
            return Result("", "", status, command=description or command)
        return Result(done.stdout, done.stderr, status, command=description or command)

    return run_in_guest
