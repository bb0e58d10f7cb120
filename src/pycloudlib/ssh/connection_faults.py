"""Classification of connection errors: paramiko's and Python's exceptions as SSHConnectionError."""

from __future__ import annotations

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from pycloudlib import errors
from pycloudlib.ssh.errors import SSHConnectionError, SSHNegotiationError
from pycloudlib.ssh.target import Target

FOREIGN_ERRORS = (paramiko.SSHException, EOFError, OSError)
"""The exceptions of paramiko for a misbehaving connection or host."""


def reason(error: BaseException) -> str:
    """Return a short reason for an error.

    Args:
        error: one of FOREIGN_ERRORS.
    """
    if isinstance(error, EOFError):
        return "the host closed the connection"
    if isinstance(error, TimeoutError):
        return error.strerror or "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().rstrip(".") or type(error).__name__


def connection_error(target: Target, error: BaseException) -> errors.SSHConnectionError:
    """Return the error for a failed connection attempt.

    Args:
        target: the host.
        error: one of FOREIGN_ERRORS, or the UnicodeError for an invalid host name.
    """
    kind = SSHNegotiationError if isinstance(error, IncompatiblePeer) else SSHConnectionError
    return kind(f"cannot connect to {target.address}: {reason(error)}")


def unresponsive_error(message: str) -> SSHConnectionError:
    """Return the error for a host that stopped responding.

    Args:
        message: the complete message, one line.
    """
    error = SSHConnectionError(message)
    error.unresponsive = True
    return error
