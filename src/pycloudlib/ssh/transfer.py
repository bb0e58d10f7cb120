"""Push a file to the host, or pull one from it: over SFTP, or through cat if the host does not support it."""

from __future__ import annotations

import errno
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

from pycloudlib.ssh import stream_transfer
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.connection_faults import FOREIGN_ERRORS
from pycloudlib.ssh.remote_program import RemoteProgram, shown
from pycloudlib.ssh.sftp_read import PIECE_SIZE, SFTPReader
from pycloudlib.ssh.transfer_faults import IDLE_TIMEOUT, HostProtocolError, RefusedError, translated

logger = logging.getLogger(__name__)

NEW_FILE_MODE = 0o644


def push(connection: Connection, local: str | os.PathLike[str], remote: str) -> None:
    """Copy a local file to the host, with its permission bits.

    The destination is replaced atomically at the end. It is never incomplete, and a failed transfer does not change it.
    A symbolic link remains; its target is replaced.

    Args:
        connection: the connection, which is reopened first if it was lost.
        local: the local file.
        remote: the whole destination path, not only its directory; a relative path starts in the home directory.

    Raises:
        TransferError: a path is missing, not a regular file, or not permitted, or the disk is full; the message has
            both paths.
        SSHConnectionError: the connection failed or was lost.
        SSHError: see `Connection.open()`.
    """
    path = Path(local)
    logger.debug("push %s to %s:%s", path, connection.target, remote)
    attempt = f"cannot push {path} to {connection.target}:{remote}"
    with translated(connection, attempt, remote), _source(path) as source:
        if connection.sftp_works:
            try:
                with sftp_session(connection) as sftp:
                    _push_over_sftp(sftp, source, remote)
                return
            except HostProtocolError as error:
                _note_no_sftp(connection, error)
        _note_noise(connection, stream_transfer.push(connection, source, remote, temporary_name()))


def pull(connection: Connection, remote: str, local: str | os.PathLike[str]) -> None:
    """Copy a file of the host to a local one.

    The destination is replaced atomically at the end. It is never incomplete, and a failed transfer does not change it.
    A new file gets the mode 0644, less the umask; a replaced file keeps its mode.

    Args:
        connection: the connection, which is reopened first if it was lost.
        remote: the file on the host; a relative path starts in the home directory.
        local: the whole destination path, not only its directory.

    Raises:
        TransferError: a path is missing, not a regular file, or not permitted, or the disk is full; the message has
            both paths.
        SSHConnectionError: the connection failed or was lost.
        SSHError: see `Connection.open()`.
    """
    logger.debug("pull %s:%s to %s", connection.target, remote, local)
    with translated(connection, f"cannot pull {connection.target}:{remote} to {local}", remote):
        destination = _local_destination(Path(local))
        temporary = destination.with_name(temporary_name())
        try:
            with _new_file(temporary) as target:
                if destination.exists():
                    os.fchmod(target.fileno(), stat.S_IMODE(destination.stat().st_mode))
                _pull_content(connection, remote, target)
            temporary.replace(destination)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def sftp_session(connection: Connection) -> Iterator[paramiko.SFTPClient]:
    """Open an SFTP session.

    Args:
        connection: the connection, which is reopened first if it was lost.

    Raises:
        HostProtocolError: the host does not support SFTP.
    """
    with connection.session() as channel:
        channel.settimeout(IDLE_TIMEOUT)
        try:
            channel.invoke_subsystem("sftp")
            sftp = paramiko.SFTPClient(channel)
        except TimeoutError:
            raise
        except paramiko.SFTPError as error:
            # The SFTP server is a child of the login shell, whose output causes "Garbage packet received".
            raise HostProtocolError("its login shell prints something, which breaks SFTP") from error
        except FOREIGN_ERRORS as error:
            if connection.is_lost(error):
                raise
            raise HostProtocolError("its sshd has no SFTP") from error
        yield sftp


def _push_over_sftp(sftp: paramiko.SFTPClient, source: BinaryIO, remote: str) -> None:
    destination = _remote_destination(sftp, remote)
    temporary = posixpath.join(posixpath.dirname(destination), temporary_name())
    try:
        upload(sftp, source, temporary)
        sftp.posix_rename(temporary, destination)
    except BaseException:
        with suppress(*FOREIGN_ERRORS):
            sftp.remove(temporary)
        raise


def _pull_content(connection: Connection, remote: str, target: BinaryIO) -> None:
    if connection.sftp_works:
        try:
            with sftp_session(connection) as sftp:
                download(sftp, remote, target)
            return
        except HostProtocolError as error:
            _note_no_sftp(connection, error)
    _note_noise(connection, stream_transfer.pull(connection, remote, target))


def _note_no_sftp(connection: Connection, error: HostProtocolError) -> None:
    connection.sftp_works = False
    logger.info("%s: %s; transferring files through cat instead", connection.target, error)


def _note_noise(connection: Connection, program: RemoteProgram) -> None:
    if program.noise and not connection.is_known_as_noisy:
        connection.is_known_as_noisy = True
        logger.warning(
            "the login shell of %s prints %s before every command; do so in interactive shells only",
            connection.target,
            shown(program.noise),
        )


def upload(sftp: paramiko.SFTPClient, source: BinaryIO, path: str) -> None:
    """Write an open file to a new file of the host, with its permission bits.

    Args:
        sftp: an open session.
        source: the file, read to its end.
        path: the path of the new file.
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
                # paramiko checks the responses to pipelined writes only during a write that is not pipelined.
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
        remote: the file on the host.
        target: the file to write to.
    """
    attributes = sftp.stat(remote)
    if not stat.S_ISREG(attributes.st_mode or 0):
        mode = attributes.st_mode or 0
        raise RefusedError(f"{remote} is {_kind(mode)}, not a regular file", _number(mode), remote)
    expected = attributes.st_size or 0
    # Close only after success: an error leaves unread responses in the session.
    source = sftp.open(remote, "rb")
    received = SFTPReader(sftp, source, target).read(expected)
    source.close()
    if received < expected:
        raise RefusedError(f"it has {expected} bytes, and {received} arrived")


def _remote_destination(sftp: paramiko.SFTPClient, remote: str) -> str:
    try:
        mode = sftp.stat(remote).st_mode or 0
    except FileNotFoundError:
        return remote
    if not stat.S_ISREG(mode):
        why = f"{remote} is {_kind(mode)}; give the whole path of the file to write"
        raise RefusedError(why, _number(mode), remote)
    return sftp.normalize(remote)


def _local_destination(path: Path) -> Path:
    if path.exists() and not path.is_file():
        mode = path.stat().st_mode
        raise RefusedError(f"{path} is {_kind(mode)}; give the whole path of the file to write", _number(mode), path)
    return path.resolve()


def _source(path: Path) -> BinaryIO:
    if path.exists() and not path.is_file():
        mode = path.stat().st_mode
        raise RefusedError(f"{path} is {_kind(mode)}, not a regular file", _number(mode), path)
    return path.open("rb")


def temporary_name() -> str:
    """Return a unique name for an incomplete file."""
    return f".{secrets.token_hex(8)}.part"


def _new_file(path: Path) -> BinaryIO:
    # The kernel applies the umask; reading it would change it for every thread.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, NEW_FILE_MODE), "wb")


def _kind(mode: int) -> str:
    return "a directory" if stat.S_ISDIR(mode) else "a special file"


def _number(mode: int) -> int | None:
    return errno.EISDIR if stat.S_ISDIR(mode) else None
