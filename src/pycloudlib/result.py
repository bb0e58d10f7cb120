"""The result of a command."""

from __future__ import annotations

from pycloudlib.errors import CommandError

SHOWN_STREAM_LENGTH = 4000
"""Characters of each stream in an error message: its end, which usually has the reason."""


class Result(str):
    """The result of a command: a str of its standard output without trailing whitespace.

    It is true if the command succeeded, regardless of the output.

    Args:
        stdout: the standard output, as bytes or text.
        stderr: the standard error, as bytes or text; default empty.
        return_code: the exit status; 128 + n if signal n killed the command; default 0.
        command: the command, for messages; default none.
        duration: the run time in seconds; default 0.
    """

    raw_stdout: bytes
    raw_stderr: bytes
    return_code: int
    command: str
    duration: float

    def __new__(
        cls,
        stdout: str | bytes,
        stderr: str | bytes = "",
        return_code: int = 0,
        *,
        command: str = "",
        duration: float = 0.0,
    ) -> Result:
        """Create the string of the standard output, with the rest as attributes."""
        result = super().__new__(cls, _text(stdout).rstrip())
        result.raw_stdout = _raw(stdout)
        result.raw_stderr = _raw(stderr)
        result.return_code = return_code
        result.command = command
        result.duration = duration
        return result

    @property
    def stdout(self) -> str:
        """The standard output without trailing whitespace; bytes that are not UTF-8 become U+FFFD."""
        return str(self)

    @property
    def stderr(self) -> str:
        """The standard error without trailing whitespace; bytes that are not UTF-8 become U+FFFD."""
        return _text(self.raw_stderr).rstrip()

    @property
    def ok(self) -> bool:
        """Whether the exit status was 0."""
        return self.return_code == 0

    @property
    def failed(self) -> bool:
        """Whether the exit status was not 0."""
        return not self.ok

    def check(self) -> Result:
        """Return this result, or raise if the command failed.

        Raises:
            CommandError: the command failed; the message has the command and both streams.
        """
        if self.ok:
            return self
        message = [f"command failed with exit status {self.return_code}: {self.command or '(unknown)'}"]
        message += [
            f"{name}: {_end(text)}" for name, text in (("stdout", self.stdout), ("stderr", self.stderr)) if text
        ]
        raise CommandError("\n".join(message), result=self)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"Result(stdout={_end(self.stdout)!r}, stderr={_end(self.stderr)!r}, return_code={self.return_code})"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.raw_stdout, self.raw_stderr, self.return_code, self.command, self.duration)


def _rebuild(stdout: bytes, stderr: bytes, return_code: int, command: str, duration: float) -> Result:
    return Result(stdout, stderr, return_code, command=command, duration=duration)


def _raw(stream: str | bytes) -> bytes:
    return stream if isinstance(stream, bytes) else stream.encode()


def _text(stream: str | bytes) -> str:
    return stream if isinstance(stream, str) else stream.decode(errors="replace")


def _end(text: str) -> str:
    if len(text) <= SHOWN_STREAM_LENGTH:
        return text
    return f"[{len(text) - SHOWN_STREAM_LENGTH} characters left out]{text[-SHOWN_STREAM_LENGTH:]}"
