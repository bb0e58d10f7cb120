"""Quote a command, run it, and take both of its streams at once."""

from __future__ import annotations

import logging
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import paramiko

from pycloudlib.errors import CommandTimeoutError, InvalidArgumentError, SSHConnectionError
from pycloudlib.result import Result
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.transport import FOREIGN_ERRORS, Transport, reason

logger = logging.getLogger(__name__)

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

PLAIN_WORDS = re.compile(r"[A-Za-z0-9_./:@%+,][A-Za-z0-9_./:@%+,-]*(?: [A-Za-z0-9_./:@%+,][A-Za-z0-9_./:@%+,-]*)*")
"""Words that no shell reads anything into; options are left out, since shells differ in those of their own commands."""

LOGIN_SHELL_WORDS = {
    "autoload", "bind", "builtin", "caller", "compgen", "complete", "compopt", "coproc", "declare", "dirs", "disown",
    "enable", "foreach", "function", "help", "history", "let", "limit", "local", "logout", "mapfile", "nocorrect",
    "noglob", "popd", "print", "pushd", "readarray", "repeat", "sched", "select", "shopt", "source", "suspend", "time",
    "typeset", "unlimit", "vared", "whence", "where", "which", "zmodload",
}  # fmt: skip
"""Commands that bash, ksh or zsh have and sh has not, or has otherwise."""

MAX_LINE_LENGTH = 128 * 1024 - 1
"""Bytes that Linux takes as one argument of a program (MAX_ARG_STRLEN), which a command is to the login shell."""

READ_SIZE = 4 * 1024 * 1024
"""Bytes read at once: more than the window, so always all there is; what stays behind is moved in memory each time."""

WRITE_SIZE = 32 * 1024
"""Bytes of standard input sent at once: the largest packet that every server takes."""

STDOUT, STDERR = "stdout", "stderr"

NO_EXIT_STATUS = -1
"""What paramiko says when the host has sent none."""

HELPER_END_TIMEOUT = 2.0
"""Seconds to wait for a helping thread; it has been told to end by then, so it does at once."""

SHOWN_OUTPUT_LENGTH = 500
"""Characters of the last output that the message of a time-out shows."""


def command_line(
    command: str | Sequence[str],
    *,
    use_sudo: bool = False,
    env: Mapping[str, str] | None = None,
) -> str:
    r"""Build the line that the login shell of the host gets.

    Args:
        command: a string is run by `sh -c`, or by the login shell where that makes no difference; a list is a program
            and its arguments, each passed on exactly as it is.
        use_sudo: run all of it as root, redirections included; default no.
        env: set for the command, under sudo too; default nothing.

    Returns:
        The line, such as "exec sudo -n -- env A=1 sh -c -- 'echo \"$A\" > /root/file'".

    Raises:
        InvalidArgumentError: no command, an impossible name in `env`, a NUL character, or a line too long for Linux.
    """
    inner = command if isinstance(command, str) else _list_line(command)
    prefix = (["sudo", "-n", "--"] if use_sudo else []) + _env_words(env or {})
    as_it_is = not prefix and (not isinstance(command, str) or _is_alike_in_every_shell(command))
    # "exec" spares the login shell a process, 0.3 ms; "--" because a command may begin with "-".
    line = inner if as_it_is else shlex.join(["exec", *prefix, "sh", "-c", "--", inner])
    if "\0" in line:
        raise InvalidArgumentError("a command cannot hold a NUL character; pass such data on standard input")
    if len(_encoded(line)) > MAX_LINE_LENGTH:
        raise InvalidArgumentError(
            f"the command is longer than {MAX_LINE_LENGTH} bytes, the most that Linux takes; "
            "push it as a file, or pass its data on standard input"
        )
    return line


def run(
    connection: Connection,
    command: str | Sequence[str],
    *,
    stdin: str | bytes | None = None,
    use_sudo: bool = False,
    env: Mapping[str, str] | None = None,
    get_pty: bool = False,
    timeout: float | None = None,
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
        timeout: seconds; default none. When they are over the command is left alone: it may run on.
        description: what is logged in the command's place; default the command.
        no_log: log nothing of the command, and keep it out of the result and of errors; default no.
        on_output: is given each piece of output as it comes, with "stdout" or "stderr" before it; nothing of it is kept
            then. What it raises ends the session. Default: all output is kept, for the result.

    Returns:
        Both streams and the exit status; 128 + n for a command that signal n ended.

    Raises:
        InvalidArgumentError: there is no command, or no host could take it.
        CommandTimeoutError: it did not end in time; with its last output.
        SSHConnectionError: there is no connection, or it was lost while the command ran.
        SSHError: as for Connection.open().
    """
    line = command_line(command, use_sudo=use_sudo, env=env)
    data = _input_bytes(stdin)
    if stdin is None and not get_pty:
        # Rather than sending an end of file, which sshd takes for a breach of protocol, and hangs up, when the command
        # has ended in the meantime.
        line += " </dev/null"
    shown = _shown(command, description, no_log=no_log)
    logger.debug("%s: %s", connection.target, shown if no_log else description or shown)
    started = time.monotonic()
    with connection.session() as channel:
        streams = _Streams(channel, on_output)
        with _deadline(channel, timeout, lambda: _timed_out(shown, timeout or 0.0, streams)):
            try:
                status = _converse(channel, line, data, streams, get_pty=get_pty)
            except FOREIGN_ERRORS as error:
                raise _lost(connection, shown, error) from error
    duration = time.monotonic() - started
    return Result(streams.stdout, streams.stderr, status, command=shown, duration=duration)


def _is_alike_in_every_shell(command: str) -> bool:
    """Tell whether the login shell runs a command as sh would: then sh is spared, a fifth of `echo hi`'s time."""
    return bool(PLAIN_WORDS.fullmatch(command)) and command.split(" ", maxsplit=1)[0] not in LOGIN_SHELL_WORDS


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
    *,
    get_pty: bool,
) -> int:
    if get_pty:
        channel.get_pty()
    channel.exec_command(_encoded(line))
    with _feeding(channel, stdin):
        streams.collect()
        status = channel.recv_exit_status()
    if status == NO_EXIT_STATUS:
        raise EOFError
    return status


@contextmanager
def _feeding(channel: paramiko.Channel, stdin: bytes | None) -> Iterator[None]:
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
        feeder.join(HELPER_END_TIMEOUT)


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
def _deadline(
    channel: paramiko.Channel,
    timeout: float | None,
    error: Callable[[], CommandTimeoutError],
) -> Iterator[None]:
    """Close the channel when the time is over, which ends whatever waits for it."""
    if timeout is None:
        yield
        return
    passed = threading.Event()

    def close() -> None:
        passed.set()
        with suppress(*FOREIGN_ERRORS):
            channel.close()

    timer = threading.Timer(timeout, close)
    timer.daemon = True
    timer.start()
    try:
        yield
    except SSHConnectionError:
        if not passed.is_set():
            raise
    finally:
        timer.cancel()
        timer.join(HELPER_END_TIMEOUT)
    if passed.is_set():
        raise error()


def _list_line(command: Sequence[str]) -> str:
    if not isinstance(command, (list, tuple)):
        raise InvalidArgumentError(f"the command is a {type(command).__name__}; it must be a text, or a list of texts")
    if not command:
        raise InvalidArgumentError("there is no command to run: the list is empty")
    for position, word in enumerate(command):
        if not isinstance(word, str):
            # Not what it is: it may be secret.
            raise InvalidArgumentError(f"word {position} of the command is a {type(word).__name__}; it must be a text")
    return shlex.join(command)


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


def _env_words(env: Mapping[str, str]) -> list[str]:
    for name in env:
        if not isinstance(name, str) or not ENV_NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"{name!r} cannot name an environment variable: letters, digits and _ only, no digit first"
            )
    return ["env", *(f"{name}={value}" for name, value in env.items())] if env else []


def _encoded(line: str) -> bytes:
    """The line as bytes; those that Python could not decode from a file name are themselves again."""
    try:
        return line.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidArgumentError(
            "the command holds a character that UTF-8 cannot express (a lone surrogate)"
        ) from None


def _shown(command: str | Sequence[str], description: str | None, *, no_log: bool) -> str:
    if no_log:
        return description or "(a command that is not shown)"
    return command if isinstance(command, str) else shlex.join(command)


def _timed_out(command: str, timeout: float, streams: _Streams) -> CommandTimeoutError:
    last = streams.last_output
    message = f"the command did not end within {timeout:g} s: {command}"
    return CommandTimeoutError(
        message + (f"; last output: {last}" if last else "; it printed nothing"),
        what=command,
        seconds=timeout,
        last_seen=last,
    )


def _lost(connection: Connection, command: str, error: BaseException) -> SSHConnectionError:
    if connection.is_alive:
        return SSHConnectionError(f"{connection.target} ended a command without an exit status: {command}")
    return SSHConnectionError(
        f"the connection to {connection.target} was lost while a command ran ({reason(error)}): {command}"
    )
