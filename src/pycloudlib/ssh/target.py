"""The target of a connection: host, login user, and timeouts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pycloudlib.errors import InvalidArgumentError

HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Target:
    """The target of a connection: host, login user, and timeouts.

    Args:
        host: a name, an IPv4 address, or an IPv6 address.
        username: the login user.
        private_key_path: the only key that is offered.
        port: the port of sshd; default 22.
        connect_timeout: seconds for the TCP connection; default 10.
        banner_timeout: seconds for the SSH identification string of sshd; default 15.
        auth_timeout: seconds for the authentication response; default 30.
        keepalive: seconds of silence before a keepalive is sent; default 15, 0 for none. A dead host is detected within
            four times as long.

    Raises:
        InvalidArgumentError: the host or the user is empty, or the port is invalid.
    """

    host: str
    username: str
    private_key_path: Path
    port: int = 22
    connect_timeout: float = 10.0
    banner_timeout: float = 15.0
    auth_timeout: float = 30.0
    keepalive: float = 15.0

    def __post_init__(self) -> None:
        if not self.host:
            # A socket would treat an empty host as localhost.
            raise InvalidArgumentError("the host is empty: give a name or an address")
        if not self.username:
            raise InvalidArgumentError(f"the login user at {self.host} is empty: give a name")
        if not 1 <= self.port <= HIGHEST_PORT:
            raise InvalidArgumentError(f"port {self.port} is not between 1 and {HIGHEST_PORT}")

    @property
    def address(self) -> str:
        """The host and the port, as in "10.0.0.1:22" and "[::1]:22"."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.username}@{self.address}"
