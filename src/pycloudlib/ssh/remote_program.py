"""A program on the host whose standard streams carry data, whatever the login shell prints before it starts.

Startup files such as .bashrc and .cshrc may print to either stream. The program therefore starts both of its streams
with a random mark, and the output before the mark is noise.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import paramiko

from pycloudlib.ssh.command import EXEC, NO_EXIT_STATUS, WRITE_SIZE, is_restricted
from pycloudlib.ssh.command_line import command_line, encoded
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.transfer_faults import IDLE_TIMEOUT, HostProtocolError, refused_by_host

PIECE_SIZE = 256 * 1024
"""Bytes per read or write."""

MAX_NOISE_SIZE = 1024 * 1024
"""Maximum bytes of the login shell's own output."""

SHOWN_NOISE_LENGTH = 100
"""Characters of that output in a message."""


class RemoteProgram:
    """A script that sh runs on the host.

    Args:
        channel: the session channel.
        mark: the mark at the start of both streams.
    """

    def __init__(self, channel: paramiko.Channel, mark: bytes) -> None:
        self._channel = channel
        self._mark = mark
        self._ahead = b""
        self._pending = bytearray()
        self._has_begun = False
        self.noise = b""
        """The output of the login shell on standard output before the script started."""

    def begin(self) -> None:
        """Wait until the script has started.

        Raises:
            HostProtocolError: the login shell did not run the script.
        """
        output = b""
        while self._mark not in output:
            piece = self._channel.recv(PIECE_SIZE)
            output += piece
            if not piece or len(output) > MAX_NOISE_SIZE:
                raise self._not_run(output)
        self.noise, _, self._ahead = output.partition(self._mark)
        self._has_begun = True

    def read(self, size: int = PIECE_SIZE) -> bytes:
        """Read from standard output; return an empty value at its end.

        Args:
            size: the maximum number of bytes.
        """
        if not self._has_begun:
            self.begin()
        if self._ahead:
            piece, self._ahead = self._ahead[:size], self._ahead[size:]
            return piece
        return self._channel.recv(size)

    def write(self, data: bytes) -> None:
        """Write to standard input. Small pieces are buffered until `flush()`.

        Args:
            data: the data, of any size.
        """
        self._pending += data
        if len(self._pending) >= PIECE_SIZE:
            self.flush()

    def flush(self) -> None:
        """Send the buffered data."""
        data = bytes(self._pending)
        self._pending.clear()
        sent = 0
        while sent < len(data):
            accepted = self._channel.send(data[sent : sent + WRITE_SIZE])
            if not accepted:
                raise EOFError
            sent += accepted

    def end_input(self) -> None:
        """Send the buffered data and the end of standard input."""
        self.flush()
        self._channel.shutdown_write()

    def outcome(self) -> str:
        """Wait for the end of the script.

        Returns:
            The standard error, on one line.

        Raises:
            RefusedError: the script failed.
            HostProtocolError: the login shell did not run the script.
            EOFError: the connection was lost.
        """
        while self.read():
            pass
        output = b""
        while piece := self._channel.recv_stderr(PIECE_SIZE):
            output += piece
        status = self._channel.recv_exit_status()
        if status == NO_EXIT_STATUS:
            raise EOFError
        words = "; ".join(output.partition(self._mark)[2].decode(errors="replace").split("\n")).strip("; ")
        if status:
            raise refused_by_host(words or f"exit status {status}")
        return words

    def _not_run(self, stdout: bytes) -> Exception:
        output = stdout
        while len(output) < MAX_NOISE_SIZE and (piece := self._channel.recv_stderr(PIECE_SIZE)):
            output += piece
        if not output and self._channel.recv_exit_status() == NO_EXIT_STATUS:
            return EOFError()
        return HostProtocolError(f"the login shell ran no sh; it printed {shown(output)}")


@contextmanager
def running(connection: Connection, script: str, *arguments: str) -> Iterator[RemoteProgram]:
    """Run a script on the host while the context is active.

    Args:
        connection: the connection, which is reopened first if it was lost.
        script: a script for sh, which must set LC_ALL if it depends on messages.
        arguments: the positional parameters of the script.
    """
    mark = secrets.token_hex(8)
    framed = f"printf {mark}; printf {mark} >&2; {script}"
    line = command_line(["sh", "-c", framed, "sh", *arguments])
    if line.startswith(EXEC) and is_restricted(connection):
        line = line.removeprefix(EXEC)
    with connection.session() as channel:
        channel.settimeout(IDLE_TIMEOUT)
        channel.exec_command(encoded(line))
        yield RemoteProgram(channel, mark.encode())


def output_words(connection: Connection, script: str, *arguments: str) -> list[str]:
    """Run a script on the host, and return the words of its output.

    Args:
        connection: the connection, which is reopened first if it was lost.
        script: a script for sh.
        arguments: the positional parameters of the script.

    Raises:
        RefusedError: the script failed.
        HostProtocolError: the login shell did not run the script.
    """
    with running(connection, script, *arguments) as program:
        program.end_input()
        output = b""
        while piece := program.read():
            output += piece
        program.outcome()
        return output.decode(errors="replace").split()


def shown(output: bytes) -> str:
    """Return the start of some output for a message.

    Args:
        output: any bytes.
    """
    text = output.decode(errors="replace").strip()
    return repr(f"{text[:SHOWN_NOISE_LENGTH]}...") if len(text) > SHOWN_NOISE_LENGTH else repr(text)


def copy(source: BinaryIO, size: int, program: RemoteProgram) -> int:
    """Write the first bytes of a file to a program.

    Args:
        source: an open file.
        size: the number of bytes.
        program: the program.

    Returns:
        The number of missing bytes, if the file is shorter.
    """
    remaining = size
    while remaining and (piece := source.read(min(remaining, PIECE_SIZE))):
        program.write(piece)
        remaining -= len(piece)
    return remaining
