"""Push a directory to the host, and pull one from it: as one tar archive, or over SFTP where the host has no tar."""

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
from pycloudlib.ssh.local_tree import Entry, LocalTree, entries, warn_left_out
from pycloudlib.ssh.remote_program import PIECE_SIZE, RemoteProgram, ask, copy, running
from pycloudlib.ssh.transfer_faults import HostProtocolError, RefusedError, translated

logger = logging.getLogger(__name__)

END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)

HAS_TAR = "if command -v tar >/dev/null 2>&1; then echo tar; fi"

# One line each, for a csh takes no more between quotes.
BEFORE_PUSH = (
    f'if [ -d "$1" ]; then echo old; elif LC_ALL=C mkdir -p -- "$1"; then echo new; else exit 1; fi; {HAS_TAR}'
)
BEFORE_PULL = (
    'if [ -d "$1" ]; then :; elif [ -e "$1" ]; then echo "Not a directory" >&2; exit 1; '
    f'else echo "No such directory" >&2; exit 1; fi; {HAS_TAR}'
)

TELL = r'printf "%s\n" "$said" | head -n 3 >&2'

# What tar says is kept until its end, so that nobody has to listen to it meanwhile; and what it does not read any more
# after an error is read in its place, for sshd would close the channel under what is still being sent.
UNPACK = (
    'keep=--keep-directory-symlink; tar $keep --version </dev/null >/dev/null 2>&1 || keep=; '
    'said=$(LC_ALL=C tar $keep -C "$1" -xpof - 2>&1); status=$?; cat >/dev/null; '
    f'if [ $status = 0 ] && [ -n "$2" ]; then chmod "$2" "$1"; status=$?; fi; {TELL}; exit $status'
)  # fmt: skip

# With 1, GNU tar says that files changed as they were read, as logs do; with busybox, that is any error.
PACK = (
    'exec 3>&1; said=$(LC_ALL=C tar -C "$1" -cf - . 2>&1 >&3 3>&-); status=$?; '
    f"if [ $status = 1 ] && tar --version 2>/dev/null | grep -q GNU; then status=0; fi; {TELL}; exit $status"
)


def push_tree(connection: Connection, local: str | os.PathLike[str], remote: str) -> None:
    """Copy what is in a local directory into a directory of the host.

    Args:
        connection: where; opened again first, if it was lost.
        local: the directory whose content is copied.
        remote: the directory that gets it, made with its parents if missing; a relative one starts in the user's home.

    Raises:
        TransferError: a path that is missing, no directory, or not permitted; no room; with both paths.
        SSHConnectionError: there is no connection, or it was lost.
        SSHError: as for Connection.open().
    """
    root = Path(local)
    logger.debug("push the directory %s to %s:%s", root, connection.target, remote)
    with translated(connection, f"cannot push {root} to {connection.target}:{remote}", remote):
        if not stat.S_ISDIR(root.stat().st_mode):
            raise RefusedError(f"{root} is no directory", errno.ENOTDIR, root)
        answers = ask(connection, BEFORE_PUSH, remote)
        mode = stat.S_IMODE(root.stat().st_mode) if "new" in answers else None
        if "tar" in answers:
            _push_archive(connection, root, remote, mode)
        else:
            with _no_tar():
                sftp_tree.push(connection, root, remote, mode)


def pull_tree(connection: Connection, remote: str, local: str | os.PathLike[str]) -> None:
    """Copy what is in a directory of the host into a local one.

    Args:
        connection: where; opened again first, if it was lost.
        remote: the directory whose content is copied; a relative one starts in the user's home.
        local: the directory that gets it, made with its parents if missing. Nothing is written outside of it.

    Raises:
        TransferError: a path that is missing, no directory, or not permitted; no room; with both paths.
        SSHConnectionError: there is no connection, or it was lost.
        SSHError: as for Connection.open().
    """
    logger.debug("pull the directory %s:%s to %s", connection.target, remote, local)
    with translated(connection, f"cannot pull {connection.target}:{remote} to {local}", remote):
        answers = ask(connection, BEFORE_PULL, remote)
        tree = LocalTree(Path(local))
        if "tar" in answers:
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
        _look_at_outcome(program)


def _pack(entry: Entry, program: RemoteProgram) -> None:
    """Send one member, straight away: a tarfile.TarFile would remember them all."""
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
    # GNU's format takes any bytes as a name, of any length.
    return member.tobuf(tarfile.GNU_FORMAT, tarfile.ENCODING, "surrogateescape")


def _pull_archive(connection: Connection, remote: str, tree: LocalTree) -> None:
    with running(connection, PACK, remote) as program:
        try:
            with tarfile.open(mode="r|", fileobj=_Source(program), bufsize=PIECE_SIZE) as archive:
                while member := archive.next():
                    # It remembers all members, in memory that grows with their number.
                    archive.members = []  # type: ignore[attr-defined]
                    _extract(archive, member, tree)
        except tarfile.TarError as error:
            # What tar itself says is the better reason.
            _look_at_outcome(program)
            raise RefusedError(f"what came is no proper archive: {error}") from error
        _look_at_outcome(program)


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
        warn_left_out(member.name, "it is no file, directory or link")


def _look_at_outcome(program: RemoteProgram) -> None:
    words = program.outcome()
    if words:
        logger.warning("the host says: %s", words)


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
