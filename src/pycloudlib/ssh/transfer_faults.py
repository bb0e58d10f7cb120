"""Errors of transfers, as one-line messages with the side and the reason."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from pycloudlib.errors import SSHError
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.connection_faults import FOREIGN_ERRORS, reason
from pycloudlib.ssh.errors import SSHConnectionError, TransferProtocolError, transfer_error

IDLE_TIMEOUT = 60.0
"""Seconds without a response of the host before a transfer is aborted."""

LOCAL_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


HOST_REASONS = {
    "Permission denied": errno.EACCES,
    "Operation not permitted": errno.EPERM,
    "No such file": errno.ENOENT,
    "No such directory": errno.ENOENT,
    "nonexistent": errno.ENOENT,  # dash
    "Is a directory": errno.EISDIR,
    "Not a directory": errno.ENOTDIR,
    "File exists": errno.EEXIST,
    "No space left": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "Read-only file system": errno.EROFS,
}
"""The messages of programs on the host in the locale C, with their `errno`."""


class RefusedError(Exception):
    """A transfer was rejected.

    Args:
        reason: the reason.
        number: the `errno` of the reason; default none.
        filename: the affected path; default the host's path of the transfer.
    """

    def __init__(self, reason: str, number: int | None = None, filename: object = None) -> None:
        self.number = number
        self.filename = filename
        super().__init__(reason)


class HostProtocolError(Exception):
    """The host lacks a requirement of transfers, such as SFTP, regardless of the file."""


def refused_by_host(text: str) -> RefusedError:
    """Return the error for the output of a failed program on the host.

    Args:
        text: its output in the locale C.
    """
    number = next((number for words, number in HOST_REASONS.items() if words in text), None)
    return RefusedError(f"{text} (on the host)", number)


@contextmanager
def translated(connection: Connection, attempt: str, remote: str) -> Iterator[None]:
    """Translate exceptions inside the block into this library's.

    Args:
        connection: the connection of the transfer.
        attempt: the failed action, as in "cannot push a to host:b".
        remote: the host's path of the transfer.

    Raises:
        TransferError: the transfer failed; the message has the action and the reason.
        SSHConnectionError: the connection was lost.
    """
    try:
        yield
    except SSHError:
        raise
    except RefusedError as error:
        raise transfer_error(f"{attempt}: {error}", error.number, str(error.filename or remote)) from None
    except (HostProtocolError, paramiko.SFTPError) as error:
        raise TransferProtocolError(f"{attempt}: {error}") from error
    except UnicodeError as error:
        raise transfer_error(f"{attempt}: a name is not UTF-8, which SFTP needs ({error})") from error
    except FOREIGN_ERRORS as error:
        if _is_local(error) or not connection.is_lost(error):
            raise transfer_error(f"{attempt}: {_explained(error)}", *_number_and_file(error, remote)) from error
        raise SSHConnectionError(f"{attempt}: the connection was lost ({reason(error)})") from error


def _is_local(error: BaseException) -> bool:
    """Return whether an error is local: paramiko's errors of the host have no file name and no such `errno`."""
    return isinstance(error, OSError) and (error.filename is not None or error.errno in LOCAL_WRITE_ERRORS)


def _number_and_file(error: BaseException, remote: str) -> tuple[int | None, str | None]:
    if isinstance(error, TimeoutError):
        return errno.ETIMEDOUT, remote
    number = error.errno if isinstance(error, OSError) else None
    named = getattr(error, "filename", None)
    return number, str(named) if named is not None else None if _is_local(error) else remote


def _explained(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror} (here, {error.filename})"
    if _is_local(error):
        return f"{reason(error)} (here)"
    if isinstance(error, TimeoutError):
        return f"no answer from the host within {IDLE_TIMEOUT:g} s"
    # SFTP has no code for a full disk: sftp-server reports "Failure".
    why = "the error is only 'Failure'; is the disk full?" if str(error) == "Failure" else reason(error)
    return f"{why} (on the host)"
