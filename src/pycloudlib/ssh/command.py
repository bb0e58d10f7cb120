"""Run a command, and read both of its output streams concurrently."""

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
from pycloudlib.ssh.connection_faults import FOREIGN_ERRORS, reason
from pycloudlib.ssh.errors import CommandTimeoutError, SSHConnectionError
from pycloudlib.ssh.transport import Transport
from pycloudlib.waiting import timed_out

logger = logging.getLogger(__name__)

READ_SIZE = 4 * 1024 * 1024
"""Bytes per read: more than the window, so a read drains the buffer; paramiko would move the rest in memory."""

WRITE_SIZE = 32 * 1024
"""Bytes of standard input per packet: the largest size that every server accepts."""

STDOUT, STDERR = "stdout", "stderr"

EXEC = "exec "
"""The prefix of a line that replaces the login shell."""

COMMAND_NOT_FOUND = 127
"""Every shell's exit status for a command that it does not find."""

# "rbash: line 1: exec: restricted", "zsh:exec:1: cat: restricted"
_EXEC_REFUSED = re.compile(r"\bexec\b.*: restricted\s*$")
_SH_NOT_FOUND = re.compile(r"\bsh: (?:command )?not found|not found: sh\b")

NO_EXIT_STATUS = -1
"""paramiko's value if the host sent no exit status."""

HELPER_END_TIMEOUT = 2.0
"""Seconds to wait for a helper thread, which was already told to end."""

SHOWN_OUTPUT_LENGTH = 500
"""Characters of the last output in the message of a timeout."""


def run(
    connection: Connection,
    command: str | Sequence[str],
    *,
    stdin: str | bytes | None = None,
    use_sudo: bool = False,
    env: Mapping[str, str] | None = None,
    get_pty: bool = False,
    deadline: Deadline | None = None,
    timeout: float | None = None,
    description: str | None = None,
    no_log: bool = False,
    on_output: Callable[[str, bytes], None] | None = None,
) -> Result:
    """Run a command, and wait until it has exited and both output streams are closed.

    The command is sent once. If the connection is lost afterward, raise, because the effect of the command is unknown.

    Args:
        connection: the connection, which is reopened first if it was lost.
        command: a string, which `sh -c` runs, or a list of a program and its arguments.
        stdin: the standard input, of any size; default empty.
        use_sudo: whether to run the whole command as root, including redirections; default no.
        env: environment variables for the command, also under sudo; default none.
        get_pty: whether to allocate a pseudo-terminal, which merges both streams; default no.
        deadline: when to stop connecting, waiting for a session, and waiting for the command; default never. The
            command itself is not killed.
        timeout: seconds, within the deadline; default until the deadline.
        description: the text that replaces the command in logs, the result, and errors; default the command.
        no_log: whether to keep the command out of logs, the result, and errors; default no.
        on_output: called with "stdout" or "stderr" and each piece of output as it arrives. The result then has no
            output. An exception of the callback ends the session. Default: the result has all output.

    Returns:
        Both streams and the exit status; 128 + n if signal n killed the command.

    Raises:
        InvalidArgumentError: there is no command, or no host could run it.
        LoginShellError: the login shell is a restricted one that does not find sh.
        CommandTimeoutError: the command did not end in time; the message has its last output.
        SSHConnectionError: the connection failed, or was lost while the command ran.
        SSHError: see `Connection.open()`.
    """
    line = command_line(command, use_sudo=use_sudo, env=env)
    if connection.refuses_exec:
        line = line.removeprefix(EXEC)
    data = _input_bytes(stdin)
    if stdin is None and not get_pty:
        # Do not send EOF: if the command has exited meanwhile, sshd treats that as a protocol violation and
        # disconnects.
        line += NO_STDIN
    shown_command = shown(command, description, no_log=no_log)
    logger.debug("%s: %s", connection.target, shown_command)
    deadline = deadline or Deadline.never()
    if timeout is not None:
        deadline = deadline.at_most(timeout)
    if deadline.has_passed:
        # Do not start a command whose deadline has passed.
        raise not_started(shown_command, deadline, timed_out(f"a session on {connection.target}", deadline))

    def send(line: str) -> Result:
        return _sent(connection, line, data, shown_command, deadline, get_pty=get_pty, on_output=on_output)

    result = send(line)
    if line.startswith(EXEC) and is_restricted(connection, result, deadline):
        # The login shell did not start the command.
        result = send(line.removeprefix(EXEC))
    if connection.refuses_exec and result.return_code == COMMAND_NOT_FOUND and _SH_NOT_FOUND.search(result.stderr):
        raise LoginShellError(
            f"the restricted login shell of {connection.target} does not find sh, so it runs single programs "
            f"only: {' '.join(result.stderr.split())}",
            output=result.stderr,
        )
    return result


def is_restricted(connection: Connection, result: Result | None = None, deadline: Deadline | None = None) -> bool:
    """Return whether the login shell is a restricted one, such as rbash, which rejects `exec`.

    Args:
        connection: the connection, which caches the answer.
        result: the result of a command that began with `exec`, to probe the shell only after a rejection; default:
            probe the shell.
        deadline: when to stop probing; default never.
    """
    if connection.refuses_exec is None and (result is None or _refuses_exec(result)):
        # The command itself may have printed the message; a program without output cannot.
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
    shown_command: str,
    deadline: Deadline,
    *,
    get_pty: bool = False,
    on_output: Callable[[str, bytes], None] | None = None,
) -> Result:
    """Send a line to the login shell, and return its result."""
    started = time.monotonic()
    try:
        with connection.session(deadline) as channel:
            streams = _Streams(channel, on_output)
            with _closed_at(deadline, channel, lambda: _timed_out(shown_command, deadline, streams.last_output)):
                try:
                    status = _converse(channel, line, data, streams, deadline, get_pty=get_pty)
                except FOREIGN_ERRORS as error:
                    raise _lost(connection, shown_command, error) from error
    except (SSHConnectionError, PycloudlibTimeoutError) as error:
        if isinstance(error, CommandTimeoutError) or not deadline.has_passed:
            raise
        raise not_started(shown_command, deadline, error) from error
    duration = time.monotonic() - started
    return Result(streams.stdout, streams.stderr, status, command=shown_command, duration=duration)


def shown(command: str | Sequence[str], description: str | None, *, no_log: bool) -> str:
    """Return the text that represents a command in errors and results.

    Args:
        command: the command.
        description: the caller's description, if any.
        no_log: whether to hide the command.
    """
    if description:
        return description
    if no_log:
        return "(command not shown)"
    return command if isinstance(command, str) else shlex.join(command)


def not_started(command: str, deadline: Deadline, why: Exception) -> CommandTimeoutError:
    """Return the error for a command that was not started by its deadline.

    Args:
        command: the text of `shown()`.
        deadline: the deadline that passed.
        why: the error of the preceding wait.
    """
    return CommandTimeoutError(
        f"the command was not started within {deadline.seconds:g} s: {command}; {why}",
        what=command,
        seconds=deadline.seconds,
        last_seen=str(why),
    )


class _Wakeup(threading.Event):
    """An event for a channel's buffers: data has arrived, or the stream has ended.

    An emptied buffer clears its event, which must not drop the other buffer's notification. (paramiko's own
    Channel.fileno() occasionally loses a notification in this way.)
    """

    def clear(self) -> None:
        """Ignore the call of an emptied buffer."""

    def next(self) -> None:
        """Wait for the next notification."""
        self.wait()
        super().clear()


class _Streams:
    """Both output streams of a command."""

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
        """The end of the last output, on either stream."""
        return self._last.decode(errors="replace").rstrip()[-SHOWN_OUTPUT_LENGTH:]

    def collect(self) -> None:
        """Read until both streams have ended."""
        channel = self._channel
        ended = False
        while not ended:
            self._wakeup.next()
            # Check before draining the buffers: no data follows the end.
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
    """Send standard input while the context is active; drop what the command does not read."""
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
        # The thread may be blocked by a host that reads nothing.
        feeder.join(deadline.at_most(HELPER_END_TIMEOUT).remaining)


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    transport = channel.get_transport()
    if isinstance(transport, Transport):
        transport.send_only_while_open(channel)
    # A command that exits before reading all of its input is not an error, as in a pipe.
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
    """Close the channel at the deadline, which ends every wait on it."""
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
    """Encode the standard input; errors do not quote it."""
    if stdin is None or isinstance(stdin, bytes):
        return stdin
    if not isinstance(stdin, str):
        raise InvalidArgumentError(f"stdin is a {type(stdin).__name__}; it must be a string or bytes")
    try:
        return stdin.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("stdin contains a character that UTF-8 cannot encode; pass bytes") from None


def _timed_out(command: str, deadline: Deadline, last_output: str) -> CommandTimeoutError:
    message = f"the command did not end within {deadline.seconds:g} s: {command}"
    return CommandTimeoutError(
        message + (f"; last output: {last_output}" if last_output else "; it had no output"),
        what=command,
        seconds=deadline.seconds,
        last_seen=last_output,
    )


def _lost(connection: Connection, command: str, error: BaseException) -> SSHConnectionError:
    if connection.is_alive:
        return SSHConnectionError(f"{connection.target} ended a command without an exit status: {command}")
    return SSHConnectionError(
        f"the connection to {connection.target} was lost while a command ran "
        f"({reason(connection.cause_of_loss(error))}): {command}"
    )
