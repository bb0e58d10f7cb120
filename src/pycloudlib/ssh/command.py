"""Run a command, and take both of its streams at once."""

from __future__ import annotations

import logging
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import paramiko

from pycloudlib.deadline import Deadline
from pycloudlib.errors import InvalidArgumentError, LoginShellError, PycloudlibTimeoutError
from pycloudlib.result import Result
from pycloudlib.ssh.command_line import NO_STDIN, command_line, encoded
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.errors import CommandTimeoutError, SSHConnectionError
from pycloudlib.ssh.transport import FOREIGN_ERRORS, Transport, reason
from pycloudlib.waiting import timed_out

logger = logging.getLogger(__name__)

READ_SIZE = 4 * 1024 * 1024
"""Bytes read at once: more than the window, so always all there is; what stays behind is moved in memory each time."""

WRITE_SIZE = 32 * 1024
"""Bytes of standard input sent at once: the largest packet that every server takes."""

STDOUT, STDERR = "stdout", "stderr"

EXEC = "exec "
"""How a line begins that replaces the login shell."""

COMMAND_NOT_FOUND = 127
"""The exit status of every shell for a command that it does not find."""

# "rbash: line 1: exec: restricted", "zsh:exec:1: cat: restricted"
_EXEC_REFUSED = re.compile(r"\bexec\b.*: restricted\s*$")
_SH_NOT_FOUND = re.compile(r"\bsh: (?:command )?not found|not found: sh\b")

NO_EXIT_STATUS = -1
"""What paramiko says when the host has sent none."""

HELPER_END_TIMEOUT = 2.0
"""Seconds to wait for a helping thread; it has been told to end by then, so it does at once."""

SHOWN_OUTPUT_LENGTH = 500
"""Characters of the last output that the message of a time-out shows."""


def run(
    connection: Connection,
    command: str | Sequence[str],
    *,
    stdin: str | bytes | None = None,
    use_sudo: bool = False,
    env: Mapping[str, str] | None = None,
    get_pty: bool = False,
    deadline: Deadline | None = None,
    description: str | None = None,
    no_log: bool = False,
    on_output: Callable[[str, bytes], None] | None = None,
) -> Result:
    """Run a command and wait until it has ended and nothing holds its output open any more.

    It is sent once: a connection that is lost after that is an error, for nobody knows what the command has done.

    Args:
        connection: where; opened again before the command is sent, if it was lost.
        command: a string is run by `sh -c`; a list is a program and its arguments.
        stdin: its standard input, any amount; default empty.
        use_sudo: run all of it as root, redirections included; default no.
        env: set for the command, under sudo too; default nothing.
        get_pty: give it a terminal, on which both streams are one; default no.
        deadline: when to give up, be it connecting, waiting for a session, or the command; default none. The command
            itself is left alone: it may run on.
        description: what is logged, and shown in the result and in errors, in the command's place; default the command.
        no_log: log nothing of the command, and keep it out of the result and of errors; default no.
        on_output: is given each piece of output as it comes, with "stdout" or "stderr" before it; nothing of it is kept
            then. What it raises ends the session. Default: all output is kept, for the result.

    Returns:
        Both streams and the exit status; 128 + n for a command that signal n ended.

    Raises:
        InvalidArgumentError: there is no command, or no host could take it.
        LoginShellError: the login shell is a restricted one that does not find sh.
        CommandTimeoutError: it did not end in time; with its last output.
        SSHConnectionError: there is no connection, or it was lost while the command ran.
        SSHError: as for Connection.open().
    """
    line = command_line(command, use_sudo=use_sudo, env=env)
    if connection.refuses_exec:
        line = line.removeprefix(EXEC)
    data = _input_bytes(stdin)
    if stdin is None and not get_pty:
        # Rather than sending an end of file, which sshd takes for a breach of protocol, and hangs up, when the command
        # has ended in the meantime.
        line += NO_STDIN
    what = shown(command, description, no_log=no_log)
    logger.debug("%s: %s", connection.target, what)
    deadline = deadline or Deadline.never()
    if deadline.has_passed:
        # A command that nobody waits for must not begin.
        raise not_started(what, deadline, timed_out(f"its turn on {connection.target}", deadline))

    def send(line: str) -> Result:
        return _sent(connection, line, data, what, deadline, get_pty=get_pty, on_output=on_output)

    result = send(line)
    if line.startswith(EXEC) and is_restricted(connection, result, deadline):
        # The login shell did not start the command.
        result = send(line.removeprefix(EXEC))
    if connection.refuses_exec and result.return_code == COMMAND_NOT_FOUND and _SH_NOT_FOUND.search(result.stderr):
        raise LoginShellError(
            f"the restricted login shell of {connection.target} does not find sh, so that it runs single programs "
            f"only: {' '.join(result.stderr.split())}",
            output=result.stderr,
        )
    return result


def is_restricted(connection: Connection, result: Result | None = None, deadline: Deadline | None = None) -> bool:
    """Return whether the login shell is a restricted one, such as rbash, which refuses `exec`.

    Args:
        connection: where; it remembers the answer.
        result: of a command that began with `exec`; only a refusal is followed up. Default: ask the shell.
        deadline: when to give up asking; default none.
    """
    if connection.refuses_exec is None and (result is None or _refuses_exec(result)):
        # The command itself may have printed that; a program that does nothing prints nothing.
        probe = _sent(connection, f"{EXEC}true{NO_STDIN}", None, "true", deadline or Deadline.never())
        connection.refuses_exec = _refuses_exec(probe)
        if connection.refuses_exec:
            logger.debug("%s: the login shell is restricted", connection.target)
    return bool(connection.refuses_exec)


def _refuses_exec(result: Result) -> bool:
    return result.return_code != 0 and _EXEC_REFUSED.search(result.stderr) is not None


def _sent(
    connection: Connection,
    line: str,
    data: bytes | None,
    what: str,
    deadline: Deadline,
    *,
    get_pty: bool = False,
    on_output: Callable[[str, bytes], None] | None = None,
) -> Result:
    """Send a line to the login shell, and return what came of it."""
    started = time.monotonic()
    try:
        with connection.session(deadline) as channel:
            streams = _Streams(channel, on_output)
            with _closed_at(deadline, channel, lambda: _timed_out(what, deadline, streams.last_output)):
                try:
                    status = _converse(channel, line, data, streams, deadline, get_pty=get_pty)
                except FOREIGN_ERRORS as error:
                    raise _lost(connection, what, error) from error
    except (SSHConnectionError, PycloudlibTimeoutError) as error:
        if isinstance(error, CommandTimeoutError) or not deadline.has_passed:
            raise
        raise not_started(what, deadline, error) from error
    duration = time.monotonic() - started
    return Result(streams.stdout, streams.stderr, status, command=what, duration=duration)


def shown(command: str | Sequence[str], description: str | None, *, no_log: bool) -> str:
    """Return the text that stands for a command in errors and results.

    Args:
        command: the command.
        description: what its caller calls it, if anything.
        no_log: whether nothing of the command may be seen.
    """
    if description:
        return description
    if no_log:
        return "(a command that is not shown)"
    return command if isinstance(command, str) else shlex.join(command)


def not_started(command: str, deadline: Deadline, why: Exception) -> CommandTimeoutError:
    """Return the error of a command that was not even started at its deadline.

    Args:
        command: as shown() returns it.
        deadline: the deadline that passed.
        why: what was awaited meanwhile.
    """
    return CommandTimeoutError(
        f"the command was not started within {deadline.seconds:g} s: {command}; {why}",
        what=command,
        seconds=deadline.seconds,
        last_seen=str(why),
    )


class _Wakeup(threading.Event):
    """What a channel's buffers report to: something has come, or the end has.

    Each buffer also reports when it is empty again, and that must not undo what the other one has reported. (paramiko's
    own Channel.fileno() loses a report in just this way, now and then.)
    """

    def clear(self) -> None:
        """Do nothing: this is what an emptied buffer calls."""

    def next(self) -> None:
        """Wait for the next report."""
        self.wait()
        super().clear()


class _Streams:
    """Both output streams of a command, as they come."""

    def __init__(self, channel: paramiko.Channel, on_output: Callable[[str, bytes], None] | None) -> None:
        self._channel = channel
        self._wakeup = _Wakeup()
        self._kept: dict[str, list[bytes]] = {STDOUT: [], STDERR: []}
        self._on_output = on_output or self._keep
        self._last = b""
        channel.in_buffer.set_event(self._wakeup)
        channel.in_stderr_buffer.set_event(self._wakeup)

    @property
    def stdout(self) -> bytes:
        return b"".join(self._kept[STDOUT])

    @property
    def stderr(self) -> bytes:
        return b"".join(self._kept[STDERR])

    @property
    def last_output(self) -> str:
        """The end of what came last, on either stream."""
        return self._last.decode(errors="replace").rstrip()[-SHOWN_OUTPUT_LENGTH:]

    def collect(self) -> None:
        """Take everything until both streams have ended."""
        channel = self._channel
        ended = False
        while not ended:
            self._wakeup.next()
            # Asked before the buffers are emptied: nothing comes after the end.
            ended = bool(channel.eof_received) or channel.closed
            while channel.recv_ready():
                self._take(STDOUT, channel.recv(READ_SIZE))
            while channel.recv_stderr_ready():
                self._take(STDERR, channel.recv_stderr(READ_SIZE))

    def _take(self, stream: str, piece: bytes) -> None:
        self._last = piece
        self._on_output(stream, piece)

    def _keep(self, stream: str, piece: bytes) -> None:
        self._kept[stream].append(piece)


def _converse(
    channel: paramiko.Channel,
    line: str,
    stdin: bytes | None,
    streams: _Streams,
    deadline: Deadline,
    *,
    get_pty: bool,
) -> int:
    if get_pty:
        channel.get_pty()
    channel.exec_command(encoded(line))
    with _feeding(channel, stdin, deadline):
        streams.collect()
        status = channel.recv_exit_status()
    if status == NO_EXIT_STATUS:
        raise EOFError
    return status


@contextmanager
def _feeding(channel: paramiko.Channel, stdin: bytes | None, deadline: Deadline) -> Iterator[None]:
    """Send standard input beside whatever else is done; what the command does not want is not sent."""
    if stdin is None:
        yield
        return
    feeder = threading.Thread(target=_feed, args=(channel, stdin), name="ssh-stdin", daemon=True)
    feeder.start()
    try:
        yield
    finally:
        with suppress(*FOREIGN_ERRORS):
            channel.close()
        # It may wait for a host that reads nothing.
        feeder.join(deadline.at_most(HELPER_END_TIMEOUT).remaining)


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    transport = channel.get_transport()
    if isinstance(transport, Transport):
        transport.send_only_while_open(channel)
    # A command that ends without reading it all is no error, just as in a pipe.
    with suppress(*FOREIGN_ERRORS):
        sent = 0
        while sent < len(data):
            accepted = channel.send(data[sent : sent + WRITE_SIZE])
            if not accepted:
                return
            sent += accepted
        channel.shutdown_write()


@contextmanager
def _closed_at(
    deadline: Deadline, channel: paramiko.Channel, error: Callable[[], CommandTimeoutError]
) -> Iterator[None]:
    """Close the channel at the deadline, which ends whatever waits for it."""
    if deadline.timeout is None:
        yield
        return
    passed = threading.Event()

    def close() -> None:
        passed.set()
        with suppress(*FOREIGN_ERRORS):
            channel.close()

    timer = threading.Timer(deadline.remaining, close)
    timer.daemon = True
    timer.start()
    try:
        yield
    except SSHConnectionError:
        if not deadline.has_passed:
            raise
        passed.set()
    finally:
        timer.cancel()
        if not passed.is_set():
            timer.join(deadline.at_most(HELPER_END_TIMEOUT).remaining)
    if passed.is_set():
        raise error()


def _input_bytes(stdin: str | bytes | None) -> bytes | None:
    """Standard input as it is sent; errors say nothing of what is in it."""
    if stdin is None or isinstance(stdin, bytes):
        return stdin
    if not isinstance(stdin, str):
        raise InvalidArgumentError(f"stdin is a {type(stdin).__name__}; it must be a text or bytes")
    try:
        return stdin.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("stdin holds a character that UTF-8 cannot express; pass bytes") from None


def _timed_out(command: str, deadline: Deadline, last_output: str) -> CommandTimeoutError:
    message = f"the command did not end within {deadline.seconds:g} s: {command}"
    return CommandTimeoutError(
        message + (f"; last output: {last_output}" if last_output else "; it printed nothing"),
        what=command,
        seconds=deadline.seconds,
        last_seen=last_output,
    )


def _lost(connection: Connection, command: str, error: BaseException) -> SSHConnectionError:
    if connection.is_alive:
        return SSHConnectionError(f"{connection.target} ended a command without an exit status: {command}")
    return SSHConnectionError(
        f"the connection to {connection.target} was lost while a command ran ({reason(error)}): {command}"
    )
