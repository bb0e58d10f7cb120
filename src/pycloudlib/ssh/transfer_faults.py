"""What goes wrong in a transfer, said in one line: on which side, and why."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from pycloudlib.errors import SSHError
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.errors import SSHConnectionError, TransferProtocolError, transfer_error
from pycloudlib.ssh.transport import FOREIGN_ERRORS, reason

IDLE_TIMEOUT = 60.0
"""Seconds without any answer of the host after which a transfer is given up."""

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
"""What programs on the host print in the locale C, and the `errno` behind it."""


class RefusedError(Exception):
    """A transfer that cannot be done.

    Args:
        reason: why.
        number: the `errno` that stands for the reason; default none.
        filename: the path that it is about; default the host's path of the transfer.
    """

    def __init__(self, reason: str, number: int | None = None, filename: object = None) -> None:
        self.number = number
        self.filename = filename
        super().__init__(reason)


class HostProtocolError(Exception):
    """A host that does not do what a transfer needs, such as SFTP, whatever the file."""


def refused_by_host(text: str) -> RefusedError:
    """Make the error for what a program on the host printed as it failed.

    Args:
        text: what it printed, in the locale C.
    """
    number = next((number for words, number in HOST_REASONS.items() if words in text), None)
    return RefusedError(f"{text} (on the host)", number)


@contextmanager
def translated(connection: Connection, attempt: str, remote: str) -> Iterator[None]:
    """Turn whatever goes wrong into this library's errors.

    Args:
        connection: what the transfer uses.
        attempt: what could not be done then, as in "cannot push a to host:b".
        remote: the host's path of the transfer.

    Raises:
        TransferError: with the attempt and the reason.
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
    """Whether an error is this side's: paramiko gives those of the host neither a file name nor such a number."""
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
    # SFTP has no code for a full disk: sftp-server says "Failure".
    why = "it says only 'Failure', as when its disk is full" if str(error) == "Failure" else reason(error)
    return f"{why} (on the host)"
