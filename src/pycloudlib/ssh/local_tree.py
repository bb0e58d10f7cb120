"""The local directory of a transfer: its entries, and safe writes that never leave it."""

from __future__ import annotations

import errno
import logging
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pycloudlib.ssh.transfer import temporary_name
from pycloudlib.ssh.transfer_faults import RefusedError

logger = logging.getLogger(__name__)

PERMISSIONS = 0o777
"""The bits that are kept of a host's mode: a set-user-ID program of the host is not one here."""

ROOT = PurePosixPath()


@dataclass(frozen=True)
class Entry:
    """A file, directory, or symbolic link in a directory.

    Args:
        name: the path relative to the directory.
        path: the whole path.
        status: the result of lstat().
    """

    name: str
    path: Path
    status: os.stat_result

    @property
    def mode(self) -> int:
        """The permission bits, including set-user-ID and the like."""
        return stat.S_IMODE(self.status.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether the entry is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether the entry is a symbolic link."""
        return stat.S_ISLNK(self.status.st_mode)


def entries(root: Path) -> Iterator[Entry]:
    """Yield the entries of a directory, parents first, without following links.

    Args:
        root: the directory.

    Yields:
        Files, directories, and symbolic links; others are skipped with a warning.

    Raises:
        OSError: an entry is inaccessible.
    """
    for folder, folders, files in os.walk(root, onerror=_give_up):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            entry = Entry(str(path.relative_to(root)), path, path.lstat())
            if entry.is_directory or entry.is_link or stat.S_ISREG(entry.status.st_mode):
                yield entry
            else:
                warn_skipped(str(path), "it is not a file, a directory, or a link")


def warn_skipped(name: str, why: str) -> None:
    """Log that an entry is not copied, and why.

    Args:
        name: the name of the entry.
        why: the reason.
    """
    logger.warning("skipping %s: %s", name, why)


class LocalTree:
    """A local directory that receives entries from a host.

    Nothing is ever written outside of it: names that lead out are rejected, and so are symbolic links in place of a
    directory. Existing entries remain unless one of the same name replaces them.

    Args:
        root: the directory, which is created if missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._is_new = not root.exists()
        root.mkdir(parents=True, exist_ok=True)
        self._folders = {ROOT}
        self._attributes: list[tuple[Path, int, float]] = []

    def directory(self, name: str, mode: int, modified: float) -> None:
        """Create a directory; `finish()` sets its mode and time.

        Args:
            name: the path relative to the root, or "." for the root itself, which keeps its mode unless it is new.
            mode: the permission bits.
            modified: the modification time in seconds since the epoch.
        """
        inner = _inner(name)
        path = self._real_folder(inner)
        if inner != ROOT or self._is_new:
            self._attributes.append((path, mode, modified))

    @contextmanager
    def file(self, name: str, mode: int, modified: float) -> Iterator[BinaryIO]:
        """Create a file, or replace one atomically at the end.

        Args:
            name: the path relative to the root.
            mode: the permission bits.
            modified: the modification time in seconds since the epoch.

        Yields:
            The file to write to.
        """
        with self._replaced(name) as temporary:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                yield target
            temporary.chmod(mode & PERMISSIONS)
            os.utime(temporary, (modified, modified))

    def link(self, name: str, target: str) -> None:
        """Create a symbolic link. Skip one that leads out of the directory, because it means another file here.

        Args:
            name: the path relative to the root.
            target: the target of the link.
        """
        if _leads_out(name, target):
            warn_skipped(name, f"it is a link that leads out of the directory, to {target}")
            return
        with self._replaced(name) as temporary:
            temporary.symlink_to(target)

    def hard_link(self, name: str, target: str) -> None:
        """Create a hard link to an earlier file.

        Args:
            name: the path of the link relative to the root.
            target: the path of the earlier file, relative to the root.
        """
        source = self._place(target)
        with self._replaced(name) as temporary:
            os.link(source, temporary, follow_symlinks=False)

    def finish(self) -> None:
        """Set the mode and time of every directory last, since writes need permissions and change times."""
        for path, mode, modified in reversed(self._attributes):
            path.chmod(mode & PERMISSIONS)
            os.utime(path, (modified, modified))

    @contextmanager
    def _replaced(self, name: str) -> Iterator[Path]:
        path = self._place(name)
        if path.is_dir() and not path.is_symlink():
            raise RefusedError(f"{path} is a directory here, but not on the host", errno.EISDIR, path)
        temporary = path.with_name(temporary_name())
        try:
            yield temporary
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _place(self, name: str) -> Path:
        inner = _inner(name)
        if inner == ROOT:
            raise RefusedError(f"the host sent something other than a directory as {name!r}")
        return self._real_folder(inner.parent) / inner.name

    def _real_folder(self, inner: PurePosixPath) -> Path:
        path = self._root / inner
        if inner in self._folders:
            return path
        self._real_folder(inner.parent)
        try:
            path.mkdir()
        except FileExistsError:
            if path.is_symlink():
                raise RefusedError(f"{path} is a symbolic link here, which is not followed") from None
            if not path.is_dir():
                raise RefusedError(
                    f"{path} is not a directory here, but it is one on the host", errno.ENOTDIR, path
                ) from None
        self._folders.add(inner)
        return path


def _inner(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise RefusedError(f"the host sent {name!r}, which leads out of the directory")
    return path


def _leads_out(name: str, target: str) -> bool:
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return posixpath.isabs(target) or resolved == ".." or resolved.startswith("../")


def _give_up(error: OSError) -> None:
    raise error
