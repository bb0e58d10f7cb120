"""The command line as its users have it: a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROGRESS = re.compile(r"( \.\.\.| after [0-9.]+ s)$")

PROGRAM = "from pycloudlib.cli import main; main()"


class CommandLine:
    """The `pycloudlib` command in a test's own home.

    Args:
        home: where everything is kept.
        environment: all of its variables; default those of the test.
    """

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.environment = environment
        self.command = [sys.executable, "-c", PROGRAM]

    def start(self, *arguments: str, stdin: int | None = None) -> subprocess.Popen[str]:
        """Start it; what it prints can be read as it comes."""
        return subprocess.Popen(
            [*self.command, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run it to its end.

        Args:
            *arguments: of the command line.
            stdin: what it reads; default what the test's own standard input is.
            timeout: seconds for it.
        """
        with self.start(*arguments, stdin=subprocess.PIPE if stdin is not None else None) as process:
            stdout, stderr = process.communicate(stdin, timeout=timeout)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def complaint(self, *arguments: str, status: int = 1) -> str:
        """What it says, in one line, when it fails."""
        done = self.run(*arguments)
        assert (done.returncode, done.stdout) == (status, "")
        (line,) = [line for line in done.stderr.splitlines() if not PROGRESS.search(line)]
        assert line.startswith("pycloudlib: ")
        return line.removeprefix("pycloudlib: ")
