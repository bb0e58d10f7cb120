"""One connection to one host: opened, lost and opened again, closed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from types import TracebackType

import paramiko

from pycloudlib.errors import PycloudlibTimeoutError, SSHConnectionError, SSHError
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.private_key import load_private_key
from pycloudlib.ssh.target import Target
from pycloudlib.ssh.transport import FOREIGN_ERRORS, close_transport, is_lost, open_transport, reason
from pycloudlib.waiting import wait_until

__all__ = ["Connection", "State", "Target"]

logger = logging.getLogger(__name__)

MAX_SESSIONS = 8
"""Sessions open at once over one connection; further ones wait. sshd's own limit, MaxSessions, is 10 by default, and it
counts those that have just ended for some milliseconds."""

SESSION_TIMEOUT = 30.0
"""Seconds that the host has for opening a session; paramiko's default is an hour."""

REFUSAL_TIMEOUT = 10.0
"""Seconds after which a host that refuses another session is believed."""


class State(Enum):
    """The life of a connection: NEW, OPEN (even while lost, until it is opened again), CLOSED for good."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


class Connection:
    """A connection to one host, for any number of threads.

    The first use opens it; a lost connection is opened again by the next use. Every attempt to connect is made once:
    who waits for a host asks again upon SSHConnectionError.

    Args:
        target: where to connect, and as whom.
        host_keys: who the host may be; the same one for every connection to an instance.
    """

    def __init__(self, target: Target, host_keys: HostKeys) -> None:
        self.target = target
        self.host_keys = host_keys
        self._state = State.NEW
        self._transport: paramiko.Transport | None = None
        self._key: paramiko.PKey | None = None
        self._lock = threading.Lock()
        self._sessions = threading.BoundedSemaphore(MAX_SESSIONS)

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._state

    @property
    def is_alive(self) -> bool:
        """Whether it is open and not lost, as far as this side has noticed."""
        transport = self._transport
        return transport is not None and transport.is_authenticated()

    def is_lost(self, error: BaseException) -> bool:
        """Tell whether an error that its use ended in came with the end of the connection."""
        transport = self._transport
        return transport is None or is_lost(transport, error)

    @property
    def transport(self) -> paramiko.Transport:
        """The live transport below it, opened if there is none.

        Raises:
            SSHError: the connection is closed already.
            KeyPairError: the private key cannot be used.
            SSHConnectionError: the host cannot be reached.
            SSHAuthenticationError: the host refused the key.
            HostKeyError: it is not the host that was expected.
        """
        with self._lock:
            if self._state is State.CLOSED:
                raise SSHError(f"the connection to {self.target} is closed, and a closed one is not opened again")
            if self._transport is not None and self._transport.is_authenticated():
                return self._transport
            return self._connect()

    def open(self) -> None:
        """Connect and log in, or do nothing while the connection is alive.

        Raises:
            SSHError: the connection is closed already.
            KeyPairError: the private key cannot be used.
            SSHConnectionError: the host cannot be reached.
            SSHAuthenticationError: the host refused the key.
            HostKeyError: it is not the host that was expected.
        """
        _ = self.transport

    def close(self) -> None:
        """Close it for good; commands that run over it end with SSHConnectionError. A second time does nothing."""
        with self._lock:
            self._state = State.CLOSED
            self._drop()

    @contextmanager
    def session(self) -> Iterator[paramiko.Channel]:
        """Open a session for one command or one transfer, and close it in the end.

        When the connection turns out to be lost it is opened again, once. Nothing has been asked of the host by then,
        so nothing can happen twice.

        Yields:
            A channel on which nothing has been asked yet.

        Raises:
            SSHError: as for open(), and SSHConnectionError when the host refuses another session.
        """
        with self._sessions:
            channel = self._open_session()
            try:
                yield channel
            finally:
                with suppress(*FOREIGN_ERRORS):
                    channel.close()

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

    def _connect(self) -> paramiko.Transport:
        if self._state is State.OPEN:
            logger.debug("the connection to %s is lost and opened again", self.target)
        self._drop()
        if self._key is None:
            self._key = load_private_key(self.target.private_key_path)
        self._transport = open_transport(self.target, self._key, self.host_keys)
        self._state = State.OPEN
        return self._transport

    def _drop(self) -> None:
        if self._transport is not None:
            close_transport(self._transport)
        self._transport = None

    def _open_session(self) -> paramiko.Channel:
        transport = self.transport
        try:
            return _free_session(transport)
        except FOREIGN_ERRORS as error:
            if not is_lost(transport, error):
                raise self._no_session(error) from error
        try:
            return _free_session(self.transport)
        except FOREIGN_ERRORS as error:
            raise self._no_session(error) from error

    def _no_session(self, error: Exception) -> SSHConnectionError:
        full = isinstance(error, PycloudlibTimeoutError)
        why = "it has too many open (MaxSessions of its sshd)" if full else reason(error)
        return SSHConnectionError(f"{self.target} did not open a session: {why}")


def _free_session(transport: paramiko.Transport) -> paramiko.Channel:
    """Open a session as soon as the host has one to give."""

    def session() -> paramiko.Channel | None:
        try:
            return transport.open_session(timeout=SESSION_TIMEOUT)
        except paramiko.SSHException:
            # Not only ChannelException: of two refusals at once, paramiko keeps the reason of one.
            if transport.is_active():
                return None
            raise

    return wait_until(session, what="a session", timeout=REFUSAL_TIMEOUT, interval=0.005, max_interval=0.2)
