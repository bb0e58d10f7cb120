"""The login of a connection: key exchange, host key verification, and authentication."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import paramiko
from paramiko.auth_handler import AuthHandler

from pycloudlib.deadline import Deadline
from pycloudlib.errors import SSHError
from pycloudlib.ssh.connection_faults import FOREIGN_ERRORS, connection_error, reason, unresponsive_error
from pycloudlib.ssh.errors import SSHAuthenticationError, SSHConnectionError
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.target import Target
from pycloudlib.ssh.transport import IDLE_INTERVAL, Transport, preferred_first

KEY_EXCHANGE_TIMEOUT = 30.0
"""Seconds for the key exchange after the identification string; a host under software emulation needs some of them."""


def log_in(transport: Transport, target: Target, key: paramiko.PKey, host_keys: HostKeys, deadline: Deadline) -> None:
    """Exchange keys with the host, verify its host key, and authenticate, once.

    Args:
        transport: the transport over a connected socket.
        target: the login user, and the timeout of each step.
        key: the private key.
        host_keys: the accepted host keys, which are checked after the key exchange and before the authentication.
        deadline: when to give up, if earlier.

    Raises:
        SSHConnectionError: the host does not speak SSH, or the connection was lost.
        SSHAuthenticationError: the host rejected the key.
        HostKeyError: the host key is not accepted.
    """
    began = deadline.clock.now()
    try:
        _exchange_keys(transport, target, host_keys, deadline)
        host_key = transport.get_remote_server_key()
        host_keys.check(host_key.get_name(), host_key.asbytes(), host=target.address)
        _authenticate(transport, target, key, deadline)
        transport.sock.settimeout(_idle_interval(target))
        transport.set_keepalive(target.keepalive)
        transport.forget_login()
    except FOREIGN_ERRORS as error:
        # This package's errors are also paramiko's.
        if isinstance(error, SSHError):
            raise
        failure = connection_error(target, error)
        failure.unresponsive = deadline.clock.now() - began >= transport.banner_timeout
        raise failure from error


def _idle_interval(target: Target) -> float:
    return min(IDLE_INTERVAL, target.keepalive / 2) if target.keepalive else IDLE_INTERVAL


def _exchange_keys(transport: Transport, target: Target, host_keys: HostKeys, deadline: Deadline) -> None:
    whole = deadline.at_most(target.banner_timeout + KEY_EXCHANGE_TIMEOUT)
    transport.banner_timeout = min(target.banner_timeout, whole.remaining)
    transport.handshake_timeout = min(KEY_EXCHANGE_TIMEOUT, whole.remaining)
    if kinds := host_keys.known_kinds:
        options = transport.get_security_options()
        # Prefer known types rather than require them, so that the error for a host without them shows both
        # fingerprints.
        options.key_types = preferred_first(options.key_types, _algorithms(kinds))
    done = threading.Event()
    transport.start_client(event=done)
    if not done.wait(whole.remaining):
        raise unresponsive_error(
            f"cannot connect to {target.address}: the key exchange took longer than {whole.seconds:.3g} s"
        )
    if not transport.is_active():
        raise transport.get_exception() or EOFError()


def _authenticate(transport: paramiko.Transport, target: Target, key: paramiko.PKey, deadline: Deadline) -> None:
    answered = threading.Event()
    transport.auth_publickey(target.username, key, answered)
    handler = transport.auth_handler
    if not transport.is_active():
        # The transport may have ended just before it knew this event.
        answered.set()
    seconds = deadline.at_most(target.auth_timeout).remaining
    if not answered.wait(seconds):
        raise unresponsive_error(f"cannot log in to {target.address}: no answer within {seconds:.3g} s")
    if transport.is_authenticated():
        return
    error = transport.get_exception()
    if transport.is_active() or isinstance(error, paramiko.AuthenticationException):
        raise SSHAuthenticationError(
            f"{target.address} refused the key {target.private_key_path} for the user {target.username}"
            + (f": {reason(error)}" if error else "")
        )
    # PAM rejects expired accounts, and all accounts during system startup.
    if banner := _banner(handler):
        raise SSHConnectionError(
            f"cannot log in to {target.address} as {target.username}: the host closed the connection: {banner}"
        )
    raise error or EOFError()


def _banner(handler: AuthHandler | None) -> str:
    """Return the host's message during authentication (SSH_MSG_USERAUTH_BANNER, RFC 4252), on one line."""
    banner: str | bytes = getattr(handler, "banner", None) or ""
    return " ".join((banner.decode(errors="replace") if isinstance(banner, bytes) else banner).split())


def _algorithms(kinds: Iterable[str]) -> list[str]:
    """Return the signature algorithms for some key types: an RSA key has two."""
    names: list[str] = []
    for kind in kinds:
        names += ["rsa-sha2-512", "rsa-sha2-256"] if kind == "ssh-rsa" else [kind]
    return names
