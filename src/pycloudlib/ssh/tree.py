"""Push a directory to the host, or pull one from it: as a tar archive, or over SFTP if the host has no tar."""

from __future__ import annotations

import errno
import io
import logging
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pycloudlib.ssh import sftp_tree
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.local_tree import Entry, LocalTree, entries, warn_skipped
from pycloudlib.ssh.remote_program import PIECE_SIZE, RemoteProgram, copy, output_words, running
from pycloudlib.ssh.transfer_faults import HostProtocolError, RefusedError, translated

logger = logging.getLogger(__name__)

END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)

HAS_TAR = "if command -v tar >/dev/null 2>&1; then echo tar; fi"

# One line each: csh accepts no newline between quotes.
BEFORE_PUSH = (
    f'if [ -d "$1" ]; then echo old; elif LC_ALL=C mkdir -p -- "$1"; then echo new; else exit 1; fi; {HAS_TAR}'
)
BEFORE_PULL = (
    'if [ -d "$1" ]; then :; elif [ -e "$1" ]; then echo "Not a directory" >&2; exit 1; '
    f'else echo "No such directory" >&2; exit 1; fi; {HAS_TAR}'
)

TELL = r'printf "%s\n" "$said" | head -n 3 >&2'

# Buffer tar's messages until its end, so that nobody must read them meanwhile. Drain the input after an error, because
# sshd would close the channel during the transfer.
UNPACK = (
    'keep=--keep-directory-symlink; tar $keep --version </dev/null >/dev/null 2>&1 || keep=; '
    'said=$(LC_ALL=C tar $keep -C "$1" -xpof - 2>&1); status=$?; cat >/dev/null; '
    f'if [ $status = 0 ] && [ -n "$2" ]; then chmod "$2" "$1"; status=$?; fi; {TELL}; exit $status'
)  # fmt: skip

# With GNU tar, exit status 1 means that files changed while they were read, such as logs; with busybox, any error.
PACK = (
    'exec 3>&1; said=$(LC_ALL=C tar -C "$1" -cf - . 2>&1 >&3 3>&-); status=$?; '
    f"if [ $status = 1 ] && tar --version 2>/dev/null | grep -q GNU; then status=0; fi; {TELL}; exit $status"
)


def push_tree(connection: Connection, local: str | os.PathLike[str], remote: str) -> None:
    """Copy the contents of a local directory to a directory of the host.

    Args:
        connection: the connection, which is reopened first if it was lost.
        local: the local directory.
        remote: the destination directory, which is created with its parents if missing; a relative path starts in the
            home directory.

    Raises:
        TransferError: a path is missing, not a directory, or not permitted, or the disk is full; the message has both
            paths.
        SSHConnectionError: the connection failed or was lost.
        SSHError: see `Connection.open()`.
    """
    root = Path(local)
    logger.debug("push the directory %s to %s:%s", root, connection.target, remote)
    with translated(connection, f"cannot push {root} to {connection.target}:{remote}", remote):
        if not stat.S_ISDIR(root.stat().st_mode):
            raise RefusedError(f"{root} is not a directory", errno.ENOTDIR, root)
        words = output_words(connection, BEFORE_PUSH, remote)
        mode = stat.S_IMODE(root.stat().st_mode) if "new" in words else None
        if "tar" in words:
            _push_archive(connection, root, remote, mode)
        else:
            with _no_tar():
                sftp_tree.push(connection, root, remote, mode)


def pull_tree(connection: Connection, remote: str, local: str | os.PathLike[str]) -> None:
    """Copy the contents of a directory of the host to a local directory.

    Args:
        connection: the connection, which is reopened first if it was lost.
        remote: the directory on the host; a relative path starts in the home directory.
        local: the destination directory, which is created with its parents if missing. Nothing is written outside of
            it.

    Raises:
        TransferError: a path is missing, not a directory, or not permitted, or the disk is full; the message has both
            paths.
        SSHConnectionError: the connection failed or was lost.
        SSHError: see `Connection.open()`.
    """
    logger.debug("pull the directory %s:%s to %s", connection.target, remote, local)
    with translated(connection, f"cannot pull {connection.target}:{remote} to {local}", remote):
        words = output_words(connection, BEFORE_PULL, remote)
        tree = LocalTree(Path(local))
        if "tar" in words:
            _pull_archive(connection, remote, tree)
        else:
            with _no_tar():
                sftp_tree.pull(connection, remote, tree)
        tree.finish()


def _push_archive(connection: Connection, root: Path, remote: str, mode: int | None) -> None:
    with running(connection, UNPACK, remote, "" if mode is None else f"{mode:o}") as program:
        for entry in entries(root):
            _pack(entry, program)
        program.write(END_OF_ARCHIVE)
        program.end_input()
        _log_messages(program)


def _pack(entry: Entry, program: RemoteProgram) -> None:
    """Send one member immediately: a tarfile.TarFile would keep all members in memory."""
    member = tarfile.TarInfo(entry.name)
    member.mode, member.mtime = entry.mode, int(entry.status.st_mtime)
    if entry.is_directory:
        member.type = tarfile.DIRTYPE
        program.write(_header(member))
    elif entry.is_link:
        member.type, member.linkname = tarfile.SYMTYPE, str(entry.path.readlink())
        program.write(_header(member))
    else:
        with entry.path.open("rb") as source:
            member.size = os.fstat(source.fileno()).st_size
            program.write(_header(member))
            if copy(source, member.size, program):
                raise RefusedError(f"{entry.path} became shorter while it was read")
            program.write(bytes(-member.size % tarfile.BLOCKSIZE))


def _header(member: tarfile.TarInfo) -> bytes:
    # GNU's format supports names of any bytes and length.
    return member.tobuf(tarfile.GNU_FORMAT, tarfile.ENCODING, "surrogateescape")


def _pull_archive(connection: Connection, remote: str, tree: LocalTree) -> None:
    with running(connection, PACK, remote) as program:
        try:
            with tarfile.open(mode="r|", fileobj=_Source(program), bufsize=PIECE_SIZE) as archive:
                while member := archive.next():
                    # Drop the list of members, whose memory would grow with their number.
                    archive.members = []  # type: ignore[attr-defined]
                    _extract(archive, member, tree)
        except tarfile.TarError as error:
            # tar's own message is the better reason.
            _log_messages(program)
            raise RefusedError(f"the archive is invalid: {error}") from error
        _log_messages(program)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, tree: LocalTree) -> None:
    if member.isdir():
        tree.directory(member.name, member.mode, member.mtime)
    elif member.issym():
        tree.link(member.name, member.linkname)
    elif member.islnk():
        tree.hard_link(member.name, member.linkname)
    elif member.isreg():
        source = archive.extractfile(member)
        with tree.file(member.name, member.mode, member.mtime) as target:
            while source and (piece := source.read(PIECE_SIZE)):
                target.write(piece)
    else:
        warn_skipped(member.name, "it is not a file, a directory, or a link")


def _log_messages(program: RemoteProgram) -> None:
    words = program.outcome()
    if words:
        logger.warning("the host reported: %s", words)


@contextmanager
def _no_tar() -> Iterator[None]:
    try:
        yield
    except HostProtocolError as error:
        raise HostProtocolError(f"the host has no tar, and {error}") from error


class _Source(io.RawIOBase):
    """The standard output of the program on the host."""

    def __init__(self, program: RemoteProgram) -> None:
        self._program = program

    def read(self, size: int = -1, /) -> bytes:
        return self._program.read(size)
