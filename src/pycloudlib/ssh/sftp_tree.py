"""Directory transfers over SFTP, file by file: slow, and only for names in UTF-8, but supported by every host."""

from __future__ import annotations

import errno
import posixpath
import stat
from contextlib import suppress
from pathlib import Path

import paramiko

from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.connection_faults import FOREIGN_ERRORS
from pycloudlib.ssh.local_tree import Entry, LocalTree, entries, warn_skipped
from pycloudlib.ssh.transfer import download, sftp_session, temporary_name, upload
from pycloudlib.ssh.transfer_faults import RefusedError


def push(connection: Connection, root: Path, remote: str, mode: int | None) -> None:
    """Copy the contents of a local directory to an existing directory of the host.

    Args:
        connection: the connection.
        root: the local directory.
        remote: the host's directory.
        mode: the permission bits to set on the host's directory at the end; None to keep them.
    """
    folders: list[tuple[str, int]] = [] if mode is None else [(remote, mode)]
    with sftp_session(connection) as sftp:
        for entry in entries(root):
            path = posixpath.join(remote, entry.name)
            if entry.is_directory:
                _make_folder(sftp, path)
                folders.append((path, entry.mode))
            else:
                _replace(sftp, entry, path)
        # Last, and innermost first: a read-only directory accepts no files.
        for path, folder_mode in reversed(folders):
            sftp.chmod(path, folder_mode)


def pull(connection: Connection, remote: str, tree: LocalTree) -> None:
    """Copy the contents of a directory of the host to a local one.

    Args:
        connection: the connection.
        remote: the host's directory.
        tree: the local directory.
    """
    with sftp_session(connection) as sftp:
        _pull_folder(sftp, remote, ".", sftp.stat(remote), tree)


def _make_folder(sftp: paramiko.SFTPClient, path: str) -> None:
    try:
        mode = sftp.stat(path).st_mode or 0
    except FileNotFoundError:
        sftp.mkdir(path)
        return
    if not stat.S_ISDIR(mode):
        raise RefusedError(f"{path} is not a directory on the host, but it is one here", errno.ENOTDIR, path)


def _replace(sftp: paramiko.SFTPClient, entry: Entry, path: str) -> None:
    temporary = posixpath.join(posixpath.dirname(path), temporary_name())
    try:
        if entry.is_link:
            sftp.symlink(str(entry.path.readlink()), temporary)
        else:
            with entry.path.open("rb") as source:
                upload(sftp, source, temporary)
        sftp.posix_rename(temporary, path)
    except BaseException:
        with suppress(*FOREIGN_ERRORS):
            sftp.remove(temporary)
        raise


def _pull_folder(
    sftp: paramiko.SFTPClient, remote: str, name: str, status: paramiko.SFTPAttributes, tree: LocalTree
) -> None:
    tree.directory(name, stat.S_IMODE(status.st_mode or 0), status.st_mtime or 0)
    for attributes in sftp.listdir_attr(remote):
        inner = posixpath.join(name, attributes.filename)
        path = posixpath.join(remote, attributes.filename)
        mode = attributes.st_mode or 0
        if stat.S_ISDIR(mode):
            _pull_folder(sftp, path, inner, attributes, tree)
        elif stat.S_ISLNK(mode):
            tree.link(inner, sftp.readlink(path) or "")
        elif stat.S_ISREG(mode):
            with tree.file(inner, stat.S_IMODE(mode), attributes.st_mtime or 0) as target:
                download(sftp, path, target)
        else:
            warn_skipped(path, "it is not a file, a directory, or a link")
