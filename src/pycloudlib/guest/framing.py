"""Framed output: separate a guest command's output from that of the login shell's startup files."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from pycloudlib.errors import LoginShellError
from pycloudlib.guest.run import Run
from pycloudlib.result import Result

SHOWN_LENGTH = 300
"""Characters of unexpected output in an error message."""

# cloud-init's default for root if root logins are disabled (disable_root_opts): a message, then a sleep of 10 s.
REDIRECTED_LOGIN = re.compile(r"Please login as the user [\"']?(?P<user>[^\s\"']+)[\"']? rather than the user")


class Frame:
    """The output of one command between two random marks.

    The output of a startup file (`echo Welcome` in .bashrc) precedes the first mark. A forced command, or a login shell
    such as nologin, prints no mark.

    Args:
        on_note: called immediately with each note that the command writes with `note TEXT`; default none.
    """

    def __init__(self, on_note: Callable[[str], None] | None = None) -> None:
        self._mark = secrets.token_hex(8)
        self._on_note = on_note
        self._stdout = b""
        self._stderr = b""
        self._read = 0

    def script(self, command: str) -> str:
        """Return the shell script that runs the command inside the frame and keeps its exit status."""
        return (
            f"note() {{ echo '{self._mark} note' \"$*\"; }}\n"
            f"echo '{self._mark} begin'\n"
            f"(\n{command}\n)\n"
            "status=$?\n"
            f"echo; echo '{self._mark} end'\n"
            "exit $status"
        )

    def feed(self, stream: str, piece: bytes) -> None:
        """Process output as it arrives.

        Args:
            stream: "stdout" or "stderr".
            piece: the output.

        Raises:
            LoginShellError: a forced command advises another login user; it would block the session for long.
        """
        if stream == "stdout":
            self._stdout += piece
        else:
            self._stderr += piece
        if not self._has_begun and REDIRECTED_LOGIN.search(self._text(self._stdout + self._stderr)):
            raise self._not_run(None)
        self._report_notes()

    def answer(self, result: Result) -> Result:
        """Return the result with only the command's own output.

        Args:
            result: the result of the script; if it has no output, use that of `feed()`.

        Raises:
            LoginShellError: the command did not run.
        """
        stdout = result.raw_stdout or self._stdout
        self._stdout, self._stderr = stdout, result.raw_stderr or self._stderr
        if not self._has_begun:
            raise self._not_run(result.return_code)
        body = stdout.split(f"{self._mark} begin\n".encode(), 1)[1]
        body, _, _ = body.partition(f"\n{self._mark} end\n".encode())
        return Result(body, self._stderr, result.return_code, command=result.command, duration=result.duration)

    @property
    def is_complete(self) -> bool:
        """Whether the command ran to its end, without a loss of the guest or its shell."""
        return f"\n{self._mark} end\n".encode() in self._stdout

    @property
    def _has_begun(self) -> bool:
        return f"{self._mark} begin\n".encode() in self._stdout

    def _report_notes(self) -> None:
        if self._on_note is None:
            return
        end = self._stdout.rfind(b"\n") + 1
        lines, self._read = self._text(self._stdout[self._read : end]).splitlines(), end
        for line in lines:
            if line.startswith(f"{self._mark} note "):
                self._on_note(line.split(" ", 2)[2])

    def _not_run(self, return_code: int | None) -> LoginShellError:
        output = " ".join(self._text(self._stderr + b"\n" + self._stdout).split())[:SHOWN_LENGTH]
        redirected = REDIRECTED_LOGIN.search(output)
        ended = "" if return_code is None else f", ended with exit status {return_code}"
        return LoginShellError(
            f"the login ran another program instead of the command{ended} and printed {output!r}"
            if output
            else f"the login ran another program instead of the command{ended} and printed nothing",
            output=output,
            advised_user=redirected["user"] if redirected else "",
        )

    @staticmethod
    def _text(data: bytes) -> str:
        return data.decode(errors="replace")


def ask(run: Run, command: str, *, timeout: float, description: str) -> Result:
    """Run a command in the guest, and return only its own output.

    Args:
        run: runs a command in the guest.
        command: a shell script.
        timeout: seconds.
        description: the text that replaces the command in logs and errors.

    Returns:
        The result; its standard output excludes that of the login shell.

    Raises:
        LoginShellError: the login shell does not run commands.
        CommandTimeoutError: the command did not end in time.
        SSHError: the connection failed or was lost.
    """
    frame = Frame()
    return frame.answer(run(frame.script(command), timeout=timeout, description=description))
