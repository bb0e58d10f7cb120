"""A program on a terminal of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType


class Terminal:
    """Runs a program on a pseudo-terminal, as a person at a keyboard has it.

    Args:
        command: the program and its arguments.
        environment: all of its variables; default those of the test.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._ours, theirs = pty.openpty()
        self._shown = b""
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)

    @property
    def returncode(self) -> int | None:
        """Its exit status; None as long as it runs."""
        return self._process.poll()

    def read_until(self, wanted: str) -> str:
        """Read what it shows until it shows this; give all that it has shown."""
        while wanted.encode() not in self._shown:
            if not self._read():
                raise AssertionError(f"it ended without {wanted!r}; it showed: {self.shown}")
        return self.shown

    def read_to_end(self) -> str:
        """Read what it shows until it ends; give all that it has shown."""
        while self._read():
            pass
        self._process.wait(timeout=120)
        return self.shown

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    @property
    def shown(self) -> str:
        """All that it has shown so far."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def _read(self) -> bool:
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # what Linux says when nobody has the other side any more
            return False
        self._shown += piece
        return bool(piece)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        os.close(self._ours)
