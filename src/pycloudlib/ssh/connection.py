"""A connection to one host, which is opened, reopened after a loss, and closed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from types import TracebackType

import paramiko

from pycloudlib import errors
from pycloudlib.deadline import Deadline
from pycloudlib.errors import PycloudlibTimeoutError
from pycloudlib.ssh.connection_faults import FOREIGN_ERRORS, reason
from pycloudlib.ssh.errors import SSHConnectionError, SSHError
from pycloudlib.ssh.handshake import log_in
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.private_key import load_private_key
from pycloudlib.ssh.target import Target
from pycloudlib.ssh.transport import (
    Transport,
    close_channel,
    close_transport,
    connect_socket,
    is_lost,
    sending_until,
)
from pycloudlib.waiting import timed_out, wait_until

__all__ = ["Connection", "State", "Target"]

logger = logging.getLogger(__name__)

MAX_SESSIONS = 8
"""The maximum number of concurrent sessions per connection; further ones wait. sshd's own limit, MaxSessions, is 10 by
default, and includes sessions that ended some milliseconds ago."""

SESSION_TIMEOUT = 30.0
"""Seconds for the host to open a session; paramiko's default is an hour."""

NO_ANSWER = "Timeout opening channel"
"""The start of paramiko's message if the host did not respond within SESSION_TIMEOUT."""

REFUSAL_TIMEOUT = 10.0
"""Seconds to retry while the host rejects another session."""


class State(Enum):
    """The states of a connection: NEW, OPEN (also while lost, until it is reopened), and finally CLOSED."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


class Connection:
    """A thread-safe connection to one host.

    The first use opens it; the next use after a loss reopens it. There are no retries: callers that wait for a host
    call again after SSHConnectionError. No method blocks beyond its deadline, whatever other threads do; `close()` does
    not wait for them at all.

    Args:
        target: the host and the login user.
        host_keys: the accepted host keys; the same object for every connection to an instance.
    """

    def __init__(self, target: Target, host_keys: HostKeys) -> None:
        self.target = target
        self.host_keys = host_keys
        self._state = State.NEW
        self._transport: paramiko.Transport | None = None
        self._attempt: paramiko.Transport | None = None
        self._key: paramiko.PKey | None = None
        # Guards the fields above, briefly. The connecting thread holds the other lock.
        self._lock = threading.Lock()
        self._connecting = threading.Lock()
        self._sessions = threading.BoundedSemaphore(MAX_SESSIONS)
        self.sftp_works = True
        """Whether the host supports SFTP, as far as is known."""
        self.refuses_exec: bool | None = None
        """Whether the login shell is a restricted one, which rejects `exec`; None until probed."""
        self.is_known_as_noisy = False
        """Whether a warning was logged that the login shell prints something before every command."""

    @property
    def state(self) -> State:
        """The state."""
        return self._state

    @property
    def is_alive(self) -> bool:
        """Whether the connection is open and not known to be lost."""
        return self._live() is not None

    def is_lost(self, error: BaseException) -> bool:
        """Return whether an error was caused by the loss of the connection."""
        transport = self._transport
        return transport is None or is_lost(transport, error)

    def cause_of_loss(self, error: BaseException) -> BaseException:
        """Return why the connection was lost, as far as known: an error of its user may only say that it ended."""
        saved = None if self._transport is None else self._transport.saved_exception
        return saved or error

    @property
    def transport(self) -> paramiko.Transport:
        """The live transport, which is opened if there is none. It raises like `open()`."""
        return self.open()

    def open(self, deadline: Deadline | None = None) -> paramiko.Transport:
        """Connect and log in. No-op while the connection is alive.

        Args:
            deadline: when to give up; default never: only the target's timeouts apply.

        Returns:
            The live transport.

        Raises:
            SSHError: the connection is closed, or was closed meanwhile.
            KeyPairError: the private key is invalid.
            SSHConnectionError: the host is unreachable.
            SSHAuthenticationError: the host rejected the key.
            HostKeyError: the host key is not accepted.
            PycloudlibTimeoutError: another thread was connecting until the deadline.
        """
        live = self._live()
        if live is not None:
            return live
        deadline = deadline or Deadline.never()
        if not _acquired(self._connecting, deadline):
            raise timed_out(f"another thread to connect to {self.target}", deadline)
        try:
            return self._live() or self._connect(deadline)
        finally:
            self._connecting.release()

    def close(self) -> None:
        """Close the connection permanently. Commands and attempts in progress raise SSHError. No-op if it is closed."""
        with self._lock:
            self._state = State.CLOSED
            transports = [self._transport, self._attempt]
            self._transport = self._attempt = None
        for transport in transports:
            if transport is not None:
                close_transport(transport)

    @contextmanager
    def session(self, deadline: Deadline | None = None) -> Iterator[paramiko.Channel]:
        """Open a session channel for one command or transfer, and close it on exit.

        Reopen a lost connection once. Nothing was sent over the channel by then, so nothing is executed twice.

        Args:
            deadline: when to stop opening the session, and sending over it in this thread; default never.

        Yields:
            A channel without any request yet.

        Raises:
            SSHError: see `open()`; SSHConnectionError if the host rejects another session.
            PycloudlibTimeoutError: no session was free until the deadline.
        """
        deadline = deadline or Deadline.never()
        if not _acquired(self._sessions, deadline):
            raise timed_out(f"one of the {MAX_SESSIONS} sessions to {self.target}, all of them busy", deadline)
        try:
            with sending_until(deadline):
                channel = self._open_session(deadline)
                try:
                    yield channel
                finally:
                    close_channel(channel)
        finally:
            self._sessions.release()

    def __enter__(self) -> Connection:
        self.open()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection {self.target} {self._state.value}>"

    def _live(self) -> paramiko.Transport | None:
        transport = self._transport
        return transport if transport is not None and transport.is_authenticated() else None

    def _connect(self, deadline: Deadline) -> paramiko.Transport:
        self._refuse_if_closed()
        if self._state is State.OPEN:
            logger.debug("the connection to %s is lost; opening it again", self.target)
        self._drop()
        if self._key is None:
            self._key = load_private_key(self.target.private_key_path)
        transport = Transport(connect_socket(self.target, deadline))
        try:
            self._begin(transport)
            log_in(transport, self.target, self._key, self.host_keys, deadline)
            self._finish(transport)
        except BaseException as error:
            close_transport(transport)
            with self._lock:
                self._attempt = None
            if isinstance(error, errors.SSHError):
                # The abort is the better reason.
                self._refuse_if_closed()
            raise
        return transport

    def _begin(self, transport: paramiko.Transport) -> None:
        """Register the attempt, so that `close()` can abort it."""
        with self._lock:
            self._attempt = transport
        self._refuse_if_closed()

    def _finish(self, transport: paramiko.Transport) -> None:
        with self._lock:
            if self._state is not State.CLOSED:
                self._transport, self._attempt, self._state = transport, None, State.OPEN
        self._refuse_if_closed()

    def _refuse_if_closed(self) -> None:
        if self._state is State.CLOSED:
            raise SSHError(f"the connection to {self.target} is closed, and cannot be opened again")

    def _drop(self) -> None:
        with self._lock:
            transport, self._transport = self._transport, None
        if transport is not None:
            close_transport(transport)

    def _open_session(self, deadline: Deadline) -> paramiko.Channel:
        transport = self.open(deadline)
        try:
            return _free_session(transport, deadline)
        except FOREIGN_ERRORS as error:
            if not is_lost(transport, error):
                raise self._no_session(error) from error
        transport = self.open(deadline)
        try:
            return _free_session(transport, deadline)
        except FOREIGN_ERRORS as error:
            raise self._no_session(error) from error

    def _no_session(self, error: Exception) -> SSHConnectionError:
        full = isinstance(error, PycloudlibTimeoutError)
        why = "too many sessions are open (MaxSessions of its sshd)" if full else reason(error)
        return SSHConnectionError(f"{self.target} did not open a session: {why}")


def _acquired(lock: threading.Lock | threading.BoundedSemaphore, deadline: Deadline) -> bool:
    seconds = deadline.timeout
    return lock.acquire() if seconds is None else lock.acquire(timeout=seconds)


def _free_session(transport: paramiko.Transport, deadline: Deadline) -> paramiko.Channel:
    """Open a session channel once the host has a free one."""

    def session() -> paramiko.Channel | None:
        try:
            return transport.open_session(timeout=deadline.at_most(SESSION_TIMEOUT).remaining)
        except paramiko.SSHException as error:
            if str(error).startswith(NO_ANSWER):
                raise TimeoutError from error
            # Catch more than ChannelException: of two concurrent rejections, paramiko keeps only one reason.
            if transport.is_active():
                return None
            raise

    return wait_until(
        session, what="a session", deadline=deadline.at_most(REFUSAL_TIMEOUT), interval=0.005, max_interval=0.2
    )
