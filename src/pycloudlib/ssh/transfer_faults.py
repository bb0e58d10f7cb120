"""What goes wrong in a transfer, said in one line: on which side, and why."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from pycloudlib.errors import SSHConnectionError, SSHError, TransferError
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.transport import FOREIGN_ERRORS, reason

IDLE_TIMEOUT = 60.0
"""Seconds without any answer of the host after which a transfer is given up."""

LOCAL_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class RefusedError(Exception):
    """A transfer that cannot be done, and why."""


@contextmanager
def translated(connection: Connection, attempt: str) -> Iterator[None]:
    """Turn whatever goes wrong into this library's errors.

    Args:
        connection: what the transfer uses.
        attempt: what could not be done then, as in "cannot push a to host:b".

    Raises:
        TransferError: with the attempt and the reason.
        SSHConnectionError: the connection was lost.
    """
    try:
        yield
    except SSHError:
        raise
    except RefusedError as error:
        raise TransferError(f"{attempt}: {error}") from None
    except UnicodeError as error:
        raise TransferError(f"{attempt}: a name is not UTF-8, which SFTP needs ({error})") from error
    except FOREIGN_ERRORS as error:
        if _is_local(error) or not connection.is_lost(error):
            raise TransferError(f"{attempt}: {_explained(error)}") from error
        raise SSHConnectionError(f"{attempt}: the connection was lost ({reason(error)})") from error


def _is_local(error: BaseException) -> bool:
    """Whether an error is this side's: paramiko gives those of the host neither a file name nor such a number."""
    return isinstance(error, OSError) and (error.filename is not None or error.errno in LOCAL_WRITE_ERRORS)


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
