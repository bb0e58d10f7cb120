"""The login to an instance: the user and the key, and the connection that its commands share."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from pycloudlib.errors import UnsetSSHKeyError
from pycloudlib.key import KeyPair
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.target import Target


@dataclass(frozen=True)
class Login:
    """The login to an instance, at whatever address.

    Args:
        instance_id: the instance id, for errors.
        username: the login user.
        key_pair: the key pair; None to disable logins.
        port: the port of sshd.
        connect_timeout: seconds for the TCP connection.
        banner_timeout: seconds for the SSH identification string of sshd.
    """

    instance_id: str
    username: str
    key_pair: KeyPair | None
    port: int
    connect_timeout: float
    banner_timeout: float

    def at(self, host: str) -> Target:
        """Return the target of connections to an address.

        Raises:
            UnsetSSHKeyError: there is no key pair.
        """
        if self.key_pair is None:
            raise UnsetSSHKeyError(f"{self.instance_id} cannot be used without an SSH key: choose one with use_key()")
        return Target(
            host=host,
            username=self.username,
            private_key_path=self.key_pair.private_key_path,
            port=self.port,
            connect_timeout=self.connect_timeout,
            banner_timeout=self.banner_timeout,
        )


class SharedConnection:
    """The connection to one instance, which threads share until its address or its login changes.

    Args:
        host_keys: the accepted host keys, for every connection to the instance.
    """

    def __init__(self, host_keys: HostKeys) -> None:
        self.host_keys = host_keys
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    @property
    def current(self) -> Connection | None:
        """The connection; None before the first use, and after `close()`."""
        return self._connection

    def to(self, target: Target) -> Connection:
        """Return the connection to a target, which the first use opens. Close one to another address or login.

        Args:
            target: the target; other timeouts do not make it another one.
        """
        stale = None
        with self._lock:
            if self._connection is not None and not _same_login(self._connection.target, target):
                stale, self._connection = self._connection, None
            if self._connection is None:
                self._connection = Connection(target, self.host_keys)
            connection = self._connection
        if stale is not None:
            stale.close()
        return connection

    def close(self) -> None:
        """Close the connection; the next use opens a new one. Commands in progress raise SSHError."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _same_login(first: Target, second: Target) -> bool:
    return (first.address, first.username, first.private_key_path) == (
        second.address,
        second.username,
        second.private_key_path,
    )
