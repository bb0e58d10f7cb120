"""The directory on this side of a transfer: what is in it, and a way to fill it that never leads out of it."""

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
"""What is kept of a mode that comes from a host: a set-user-ID program of the host is none here."""

ROOT = PurePosixPath()


@dataclass(frozen=True)
class Entry:
    """A file, directory or symbolic link in a directory.

    Args:
        name: its path below the directory.
        path: its whole path.
        status: what lstat() says about it.
    """

    name: str
    path: Path
    status: os.stat_result

    @property
    def mode(self) -> int:
        """Its permission bits, with set-user-ID and the like."""
        return stat.S_IMODE(self.status.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.status.st_mode)


def entries(root: Path) -> Iterator[Entry]:
    """Give what is in a directory, a directory before what is in it; links are not followed.

    Args:
        root: the directory.

    Yields:
        Files, directories and symbolic links; anything else is left out with a warning.

    Raises:
        OSError: something cannot be looked at.
    """
    for folder, folders, files in os.walk(root, onerror=_give_up):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            entry = Entry(str(path.relative_to(root)), path, path.lstat())
            if entry.is_directory or entry.is_link or stat.S_ISREG(entry.status.st_mode):
                yield entry
            else:
                warn_left_out(str(path), "it is no file, directory or link")


def warn_left_out(name: str, why: str) -> None:
    """Log that something is not copied, and why.

    Args:
        name: of what is left out.
        why: the reason.
    """
    logger.warning("%s is left out: %s", name, why)


class LocalTree:
    """A directory here that is filled with what comes from a host.

    Nothing is ever written outside of it: names that lead out are refused, and so are symbolic links where a directory
    is expected. What is there already stays, or is replaced by what has the same name.

    Args:
        root: the directory; made if missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._is_new = not root.exists()
        root.mkdir(parents=True, exist_ok=True)
        self._folders = {ROOT}
        self._attributes: list[tuple[Path, int, float]] = []

    def directory(self, name: str, mode: int, modified: float) -> None:
        """Make a directory; it gets its mode and time in finish().

        Args:
            name: its path below the root, or "." for the root itself, which keeps its mode unless it is new.
            mode: its permission bits.
            modified: when it was changed last, in seconds.
        """
        inner = _inner(name)
        path = self._real_folder(inner)
        if inner != ROOT or self._is_new:
            self._attributes.append((path, mode, modified))

    @contextmanager
    def file(self, name: str, mode: int, modified: float) -> Iterator[BinaryIO]:
        """Make a file, or replace one in one step at the end.

        Args:
            name: its path below the root.
            mode: its permission bits.
            modified: when it was changed last, in seconds.

        Yields:
            What its content is written to.
        """
        with self._replaced(name) as temporary:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                yield target
            temporary.chmod(mode & PERMISSIONS)
            os.utime(temporary, (modified, modified))

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link; one that leads out of the directory is left out, for it means another file here.

        Args:
            name: its path below the root.
            target: where it leads.
        """
        if _leads_out(name, target):
            warn_left_out(name, f"it is a link that leads out of the directory, to {target}")
            return
        with self._replaced(name) as temporary:
            temporary.symlink_to(target)

    def hard_link(self, name: str, other: str) -> None:
        """Give a file that came before a second name.

        Args:
            name: the second name's path below the root.
            other: the first name's.
        """
        source = self._place(other)
        with self._replaced(name) as temporary:
            os.link(source, temporary, follow_symlinks=False)

    def finish(self) -> None:
        """Give every directory its mode and time, which until now would have been in the way."""
        for path, mode, modified in reversed(self._attributes):
            path.chmod(mode & PERMISSIONS)
            os.utime(path, (modified, modified))

    @contextmanager
    def _replaced(self, name: str) -> Iterator[Path]:
        path = self._place(name)
        if path.is_dir() and not path.is_symlink():
            raise RefusedError(f"{path} is a directory here, and none on the host", errno.EISDIR, path)
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
            raise RefusedError(f"the host sent something that is no directory as {name!r}")
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
                raise RefusedError(f"{path} is no directory here, and one on the host", errno.ENOTDIR, path) from None
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
