"""Push a directory to the host, and pull one from it: as one tar archive, or over SFTP where the host has no tar."""

from __future__ import annotations

import io
import logging
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import paramiko

from pycloudlib.ssh import sftp_tree
from pycloudlib.ssh.command import NO_EXIT_STATUS, WRITE_SIZE, command_line, run
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.local_tree import Entry, LocalTree, entries, warn_left_out
from pycloudlib.ssh.transfer_faults import IDLE_TIMEOUT, RefusedError, translated

logger = logging.getLogger(__name__)

PIECE_SIZE = 256 * 1024
"""Bytes read, packed and written at once."""

END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)

HAS_TAR = "if command -v tar >/dev/null 2>&1; then echo tar; fi"

# One line each, for a csh takes no more between quotes.
BEFORE_PUSH = f'if [ -d "$1" ]; then echo old; elif mkdir -p -- "$1"; then echo new; else exit 1; fi; {HAS_TAR}'
BEFORE_PULL = (
    'if [ -d "$1" ]; then :; elif [ -e "$1" ]; then echo "it is no directory" >&2; exit 1; '
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
    with translated(connection, f"cannot push {root} to {connection.target}:{remote}"):
        if not stat.S_ISDIR(root.stat().st_mode):
            raise RefusedError(f"{root} is no directory")
        answers = _asked(connection, BEFORE_PUSH, remote)
        mode = stat.S_IMODE(root.stat().st_mode) if "new" in answers else None
        if "tar" in answers:
            _push_archive(connection, root, remote, mode)
        else:
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
    with translated(connection, f"cannot pull {connection.target}:{remote} to {local}"):
        answers = _asked(connection, BEFORE_PULL, remote)
        tree = LocalTree(Path(local))
        if "tar" in answers:
            _pull_archive(connection, remote, tree)
        else:
            sftp_tree.pull(connection, remote, tree)
        tree.finish()


def _asked(connection: Connection, script: str, remote: str) -> list[str]:
    answer = run(connection, ["sh", "-c", script, "sh", remote])
    if answer.failed:
        raise RefusedError(f"{answer.stderr or f'exit status {answer.return_code}'} (on the host)")
    return answer.split()


def _push_archive(connection: Connection, root: Path, remote: str, mode: int | None) -> None:
    with _running(connection, UNPACK, remote, "" if mode is None else f"{mode:o}") as channel:
        sink = _Sink(channel)
        for entry in entries(root):
            _pack(entry, sink)
        sink.write(END_OF_ARCHIVE)
        sink.flush()
        channel.shutdown_write()
        _look_at_outcome(channel)


def _pack(entry: Entry, sink: _Sink) -> None:
    """Send one member, straight away: a tarfile.TarFile would remember them all."""
    member = tarfile.TarInfo(entry.name)
    member.mode, member.mtime = entry.mode, int(entry.status.st_mtime)
    if entry.is_directory:
        member.type = tarfile.DIRTYPE
        sink.write(_header(member))
    elif entry.is_link:
        member.type, member.linkname = tarfile.SYMTYPE, str(entry.path.readlink())
        sink.write(_header(member))
    else:
        with entry.path.open("rb") as source:
            member.size = os.fstat(source.fileno()).st_size
            sink.write(_header(member))
            _pack_content(source, member.size, entry, sink)


def _pack_content(source: BinaryIO, size: int, entry: Entry, sink: _Sink) -> None:
    left = size
    while left:
        piece = source.read(min(left, PIECE_SIZE))
        if not piece:
            raise RefusedError(f"{entry.path} became shorter while it was read")
        sink.write(piece)
        left -= len(piece)
    sink.write(bytes(-size % tarfile.BLOCKSIZE))


def _header(member: tarfile.TarInfo) -> bytes:
    # GNU's format takes any bytes as a name, of any length.
    return member.tobuf(tarfile.GNU_FORMAT, tarfile.ENCODING, "surrogateescape")


def _pull_archive(connection: Connection, remote: str, tree: LocalTree) -> None:
    with _running(connection, PACK, remote) as channel:
        try:
            with tarfile.open(mode="r|", fileobj=_Source(channel), bufsize=PIECE_SIZE) as archive:
                while member := archive.next():
                    # It remembers all members, in memory that grows with their number.
                    archive.members = []  # type: ignore[attr-defined]
                    _extract(archive, member, tree)
            _read_to_end(channel)
        except tarfile.TarError as error:
            # What tar itself says is the better reason.
            _read_to_end(channel)
            _look_at_outcome(channel)
            raise RefusedError(f"what came is no proper archive: {error}") from error
        _look_at_outcome(channel)


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


@contextmanager
def _running(connection: Connection, script: str, *arguments: str) -> Iterator[paramiko.Channel]:
    line = command_line(["sh", "-c", script, "sh", *arguments])
    with connection.session() as channel:
        channel.settimeout(IDLE_TIMEOUT)
        channel.exec_command(line.encode(errors="surrogateescape"))
        yield channel


def _look_at_outcome(channel: paramiko.Channel) -> None:
    said = b""
    while piece := channel.recv_stderr(PIECE_SIZE):
        said += piece
    status = channel.recv_exit_status()
    if status == NO_EXIT_STATUS:
        raise EOFError
    words = "; ".join(said.decode(errors="replace").split("\n")).strip("; ")
    if status:
        raise RefusedError(f"{words or f'exit status {status}'} (on the host)")
    if words:
        logger.warning("the host says: %s", words)


def _read_to_end(channel: paramiko.Channel) -> None:
    while channel.recv(PIECE_SIZE):
        pass


class _Sink:
    """The standard input of the program on the host; small pieces are sent together."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._pending = bytearray()

    def write(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) >= PIECE_SIZE:
            self.flush()

    def flush(self) -> None:
        data = bytes(self._pending)
        self._pending.clear()
        sent = 0
        while sent < len(data):
            accepted = self._channel.send(data[sent : sent + WRITE_SIZE])
            if not accepted:
                raise EOFError
            sent += accepted


class _Source(io.RawIOBase):
    """The standard output of the program on the host."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def read(self, size: int = -1, /) -> bytes:
        return self._channel.recv(size)
