"""Push a file to the host, and pull one from it, over SFTP."""

from __future__ import annotations

import logging
import os
import posixpath
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import paramiko

from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.transfer_faults import IDLE_TIMEOUT, RefusedError, translated
from pycloudlib.ssh.transport import FOREIGN_ERRORS

logger = logging.getLogger(__name__)

PIECE_SIZE = 32 * 1024
"""Bytes of one SFTP request: the most that every server takes."""

PREFETCH_REQUESTS = 256
"""Requests in flight on a pull. Without a bound some servers hang (paramiko issues 1779 and 1788); with 64 of them a
pull crawls (issue 2455)."""

NEW_FILE_MODE = 0o644


def push(connection: Connection, local: str | os.PathLike[str], remote: str) -> None:
    """Copy a local file to the host; permission bits are kept.

    The destination is replaced in one step at the end: it is never seen half-written, and a transfer that fails leaves
    it as it was. A symbolic link stays; what it points to is replaced.

    Args:
        connection: where; opened again first, if it was lost.
        local: the file to copy.
        remote: the whole destination path, not only its directory; a relative one starts in the user's home.

    Raises:
        TransferError: a path that is missing, no regular file, or not permitted; no room; with both paths.
        SSHConnectionError: there is no connection, or it was lost.
        SSHError: as for Connection.open().
    """
    path = Path(local)
    logger.debug("push %s to %s:%s", path, connection.target, remote)
    attempt = f"cannot push {path} to {connection.target}:{remote}"
    with translated(connection, attempt), _source(path) as source, sftp_session(connection) as sftp:
        destination = _remote_destination(sftp, remote)
        temporary = posixpath.join(posixpath.dirname(destination), temporary_name())
        try:
            upload(sftp, source, temporary)
            sftp.posix_rename(temporary, destination)
        except BaseException:
            with suppress(*FOREIGN_ERRORS):
                sftp.remove(temporary)
            raise


def pull(connection: Connection, remote: str, local: str | os.PathLike[str]) -> None:
    """Copy a file of the host to here.

    The destination is replaced in one step at the end: it is never seen half-written, and a transfer that fails leaves
    it as it was. A new file gets the permissions 0644, less the umask; one that is replaced keeps its own.

    Args:
        connection: where; opened again first, if it was lost.
        remote: the file to copy; a relative path starts in the user's home.
        local: the whole destination path, not only its directory.

    Raises:
        TransferError: a path that is missing, no regular file, or not permitted; no room; with both paths.
        SSHConnectionError: there is no connection, or it was lost.
        SSHError: as for Connection.open().
    """
    logger.debug("pull %s:%s to %s", connection.target, remote, local)
    with translated(connection, f"cannot pull {connection.target}:{remote} to {local}"):
        destination = _local_destination(Path(local))
        temporary = destination.with_name(temporary_name())
        try:
            with sftp_session(connection) as sftp, _new_file(temporary) as target:
                if destination.exists():
                    os.fchmod(target.fileno(), stat.S_IMODE(destination.stat().st_mode))
                download(sftp, remote, target)
            temporary.replace(destination)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def sftp_session(connection: Connection) -> Iterator[paramiko.SFTPClient]:
    """Open a session that speaks SFTP.

    Args:
        connection: where; opened again first, if it was lost.
    """
    with connection.session() as channel:
        channel.settimeout(IDLE_TIMEOUT)
        channel.invoke_subsystem("sftp")
        yield paramiko.SFTPClient(channel)


def upload(sftp: paramiko.SFTPClient, source: BinaryIO, path: str) -> None:
    """Write an open file to a new file of the host, with its permission bits.

    Args:
        sftp: an open session.
        source: read to its end.
        path: of the new file.
    """
    mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
    sent = 0
    with sftp.open(path, "wx") as target:
        target.chmod(0o600)
        target.set_pipelined(True)
        piece = source.read(PIECE_SIZE)
        while piece:
            following = source.read(PIECE_SIZE)
            if not following:
                # paramiko looks at the answers to the earlier writes only when one is made that is not pipelined.
                target.set_pipelined(False)
            target.write(piece)
            sent += len(piece)
            piece = following
        arrived = target.stat().st_size
        if arrived != sent:
            raise RefusedError(f"{sent} bytes were sent, and {arrived} arrived")
        target.chmod(mode)


def download(sftp: paramiko.SFTPClient, remote: str, target: BinaryIO) -> None:
    """Read a file of the host into an open file.

    Args:
        sftp: an open session.
        remote: the file to read.
        target: what it is written to.
    """
    attributes = sftp.stat(remote)
    if not stat.S_ISREG(attributes.st_mode or 0):
        raise RefusedError(f"{remote} is {_kind(attributes.st_mode or 0)}, not a file")
    expected = attributes.st_size or 0
    received = 0
    with sftp.open(remote, "rb") as source:
        source.prefetch(expected, PREFETCH_REQUESTS)
        # Read to its end rather than to its size: a log may grow, and the files of /proc have none.
        while piece := source.read(PIECE_SIZE):
            target.write(piece)
            received += len(piece)
    if received < expected:
        raise RefusedError(f"it has {expected} bytes, and {received} arrived")


def _remote_destination(sftp: paramiko.SFTPClient, remote: str) -> str:
    try:
        mode = sftp.stat(remote).st_mode or 0
    except FileNotFoundError:
        return remote
    if not stat.S_ISREG(mode):
        raise RefusedError(f"{remote} is {_kind(mode)}; give the whole path of the file to write")
    return sftp.normalize(remote)


def _local_destination(path: Path) -> Path:
    if path.exists() and not path.is_file():
        raise RefusedError(f"{path} is {_kind(path.stat().st_mode)}; give the whole path of the file to write")
    return path.resolve()


def _source(path: Path) -> BinaryIO:
    if path.exists() and not path.is_file():
        raise RefusedError(f"{path} is {_kind(path.stat().st_mode)}, not a file")
    return path.open("rb")


def temporary_name() -> str:
    """Make up a name, which nobody else has, for a file that is not whole yet."""
    return f".{secrets.token_hex(8)}.part"


def _new_file(path: Path) -> BinaryIO:
    # The kernel applies the umask; asking for it would change it for every thread.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, NEW_FILE_MODE), "wb")


def _kind(mode: int) -> str:
    return "a directory" if stat.S_ISDIR(mode) else "no regular file"
