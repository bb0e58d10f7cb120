"""The command line as its users have it: a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = "from pycloudlib.cli import main; main()"


class CommandLine:
    """The `pycloudlib` command in a test's own home.

    Args:
        home: where everything is kept.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it; what it prints can be read as it comes."""
        command = [sys.executable, "-c", PROGRAM, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        with self.start(*arguments) as process:
            stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def complaint(self, *arguments: str) -> str:
        """What it says, in one line, when it fails."""
        done = self.run(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("pycloudlib: ")
        return line.removeprefix("pycloudlib: ")
