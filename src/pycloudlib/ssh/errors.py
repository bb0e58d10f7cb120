"""This library's SSH errors, which are also paramiko's and Python's own.

Test suites catch `paramiko.SSHException` around `execute()`, and `FileNotFoundError` around `push_file()` and
`pull_file()`. The classes of pycloudlib.errors cannot derive from paramiko's, because importing that module must stay
cheap. This package raises subclasses that do.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any

import paramiko
from paramiko.ssh_exception import IncompatiblePeer, NoValidConnectionsError

from pycloudlib import errors


class _Portable:
    """Show only the message, and pickle the attributes that OSError keeps outside of `__dict__`."""

    args: tuple[Any, ...]

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> Any:
        state = {
            **self._state(),  # type: ignore[attr-defined]
            **{name: getattr(self, name) for name in ("errno", "strerror", "filename") if hasattr(self, name)},
        }
        return _rebuild, (type(self), self.args, state)


def _rebuild(cls: type[_Portable], args: tuple[object, ...], state: Mapping[str, object]) -> _Portable:
    error = cls.__new__(cls)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)
    return error


class SSHError(errors.SSHError, paramiko.SSHException):
    """The root of SSH errors."""


class SSHConnectionError(errors.SSHConnectionError, paramiko.SSHException):
    """The connection failed or was lost."""


class SSHNegotiationError(errors.SSHNegotiationError, IncompatiblePeer):
    """The host and the client have no algorithm in common."""


class HostUnreachableError(_Portable, SSHConnectionError, NoValidConnectionsError):
    """The TCP connection failed.

    Args:
        message: the complete message, one line.
        address: the host and the port.
        error: the exception of the socket.
    """

    def __init__(self, message: str, address: tuple[str, int], error: Exception) -> None:
        Exception.__init__(self, message)
        self.errors = {address: error}


class SSHAuthenticationError(errors.SSHAuthenticationError, paramiko.AuthenticationException):
    """The instance rejected the key."""


class PrivateKeyError(errors.KeyPairError, paramiko.SSHException):
    """The private key is invalid."""


class PassphraseError(PrivateKeyError, paramiko.PasswordRequiredException):
    """The private key is protected by a passphrase."""


class HostKeyError(errors.HostKeyError, paramiko.BadHostKeyException):
    """The host key does not match the expected one.

    Args:
        message: the complete message, one line.
        hostname: the host.
        got: the type and the blob of the host's key.
        expected: the type and the blob of the expected key; default none, if it is unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        hostname: str,
        got: tuple[str, bytes],
        expected: tuple[str, bytes] | None = None,
    ) -> None:
        Exception.__init__(self, message)
        self.hostname = hostname
        self._got = got
        self._expected = expected

    @property
    def key(self) -> paramiko.PKey:  # type: ignore[override]
        """The host's key."""
        return paramiko.PKey.from_type_string(*self._got)

    @property
    def expected_key(self) -> paramiko.PKey | None:  # type: ignore[override]
        """The expected key; None if it is unknown."""
        return paramiko.PKey.from_type_string(*self._expected) if self._expected else None

    def __str__(self) -> str:
        return str(self.args[0])


class CommandTimeoutError(errors.CommandTimeoutError, paramiko.SSHException):
    """A command timed out."""


class TransferProtocolError(errors.TransferError, paramiko.SSHException):
    """The host supports no file transfer method of this library."""


class TransferOSError(_Portable, errors.TransferError, OSError):
    """A file could not be read or written, locally or on the host.

    Args:
        message: the complete message, one line.
        number: the `errno`; default none.
        filename: the path, local or on the host; default none.
    """

    def __init__(self, message: str, number: int | None = None, filename: str | None = None) -> None:
        Exception.__init__(self, message)
        if number is not None:
            self.errno = number
            self.strerror = os.strerror(number)
        if filename is not None:
            self.filename = filename


class TransferFileNotFoundError(TransferOSError, FileNotFoundError):
    """A file or directory does not exist."""


class TransferFileExistsError(TransferOSError, FileExistsError):
    """A file exists."""


class TransferPermissionError(TransferOSError, PermissionError):
    """The user lacks the permission to read or write a file."""


class TransferIsADirectoryError(TransferOSError, IsADirectoryError):
    """A path is a directory instead of a file."""


class TransferNotADirectoryError(TransferOSError, NotADirectoryError):
    """A path is not a directory."""


class TransferTimeoutError(TransferOSError, TimeoutError):
    """The host stopped responding."""


_TRANSFER_ERRORS: Mapping[int, type[TransferOSError]] = {
    errno.ENOENT: TransferFileNotFoundError,
    errno.EEXIST: TransferFileExistsError,
    errno.EACCES: TransferPermissionError,
    errno.EPERM: TransferPermissionError,
    errno.EISDIR: TransferIsADirectoryError,
    errno.ENOTDIR: TransferNotADirectoryError,
    errno.ETIMEDOUT: TransferTimeoutError,
}


def transfer_error(message: str, number: int | None = None, filename: str | None = None) -> TransferOSError:
    """Return the TransferError that is also the OSError of an `errno`.

    Args:
        message: the complete message, one line.
        number: the `errno`; default none.
        filename: the path, local or on the host; default none.
    """
    kind = TransferOSError if number is None else _TRANSFER_ERRORS.get(number, TransferOSError)
    return kind(message, number, filename)
