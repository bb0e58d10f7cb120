"""The store of pulled disks, addressed by the checksums of their downloads, safe for concurrent processes.

The store is a subdirectory of the catalog. Images are hard links to its disks, so that images with the same content
share a disk. A process locks the directory of a content while using it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.errors import ImageError, LocalEC2Error
from pycloudlib.local import qemu_img
from pycloudlib.local.images.sources.published import Checksum
from pycloudlib.waiting import Deadline, wait_until

DIRECTORY = ".content"
DOWNLOAD = "download"
PARTIAL = "partial"
DISKS = {"raw": "disk.raw", "qcow2": "disk.qcow2"}
"""The file name of a disk by its format."""


@dataclass(frozen=True)
class Content:
    """The content of one download.

    Args:
        directory: its directory.
    """

    directory: Path

    @property
    def partial(self) -> Path:
        """The file of a partial download."""
        return self.directory / PARTIAL

    @property
    def download(self) -> Path:
        """The verified download, which is deleted once the disk is complete."""
        return self.directory / DOWNLOAD

    @property
    def disk(self) -> Path | None:
        """The disk; None until it is complete."""
        disks = (self.directory / name for name in DISKS.values())
        return next((disk for disk in disks if disk.exists()), None)

    def remove_damaged_disk(self) -> None:
        """Remove the disk if it is damaged, so that it is downloaded again. No-op without a disk.

        Images that share the disk keep their own links.
        """
        disk = self.disk
        if disk is None:
            return
        try:
            qemu_img.inspect(disk)
        except ImageError:
            disk.unlink()


def share(disk: Path, place: Path) -> None:
    """Create a hard link to a disk, or a copy if the file system does not support hard links.

    Args:
        disk: the disk.
        place: the new path, on the same file system.

    Raises:
        LocalEC2Error: the disk cannot be copied.
    """
    try:
        place.hardlink_to(disk)
    except OSError:
        qemu_img.copy(disk, place)


class ContentStore:
    """The store of a catalog.

    Args:
        catalog: the directory of the catalog.
    """

    def __init__(self, catalog: Path) -> None:
        self.directory = catalog / DIRECTORY

    @contextmanager
    def locked(
        self, checksum: Checksum, on_wait: Callable[[], None], check_stopped: Callable[[], None] = lambda: None
    ) -> Iterator[Content]:
        """Hold the lock on a content while the context is active, and create its directory.

        Args:
            checksum: the checksum of the download.
            on_wait: called once if another thread or process holds the lock.
            check_stopped: called repeatedly while waiting; an exception ends the wait. Default no-op.

        Raises:
            LocalEC2Error: the directory cannot be created.
        """
        directory = self.directory / str(checksum)
        lock = _lock(directory, on_wait, check_stopped)
        try:
            yield Content(directory)
        finally:
            # No-op unless it is empty: a failed download leaves no directory.
            with suppress(OSError):
                directory.rmdir()
            os.close(lock)

    def release(self, disk: os.stat_result) -> None:
        """Remove the content of a removed image's disk. No-op if another image or download uses it.

        Args:
            disk: the result of stat() for the image's disk, from before its removal.
        """
        if not self.directory.is_dir():
            return
        for directory in self.directory.iterdir():
            stored = Content(directory).disk
            if stored is not None and os.path.samestat(stored.stat(), disk):
                _remove_if_unused(directory)

    def prune(self) -> int:
        """Remove unused contents.

        Returns:
            The number of freed bytes.
        """
        if not self.directory.is_dir():
            return 0
        return sum(_remove_if_unused(directory) for directory in self.directory.iterdir())


def _lock(directory: Path, on_wait: Callable[[], None], check_stopped: Callable[[], None]) -> int:
    """Wait for the lock on a directory; return the file descriptor that holds it."""

    def attempt() -> tuple[int, ...]:
        check_stopped()
        return _try_lock(directory)

    try:
        locked = _try_lock(directory)
        if not locked:
            on_wait()
            locked = wait_until(
                attempt, what=f"the lock on {directory}", deadline=Deadline.never(), interval=0.05, max_interval=1.0
            )
    except OSError as error:
        raise LocalEC2Error(f"cannot write to {directory}: {error.strerror}") from error
    return locked[0]


def _try_lock(directory: Path) -> tuple[int, ...]:
    """Return the file descriptor that holds the lock; empty if another pull holds it."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # another pull has removed it
        return ()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The directory may have been removed or replaced meanwhile.
        if _is_same(directory, descriptor):
            return (descriptor,)
    except BlockingIOError:
        pass
    os.close(descriptor)
    return ()


def _is_same(directory: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(directory.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_if_unused(directory: Path) -> int:
    """Remove a content unless it is in use; return the number of freed bytes."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # another process removed it
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_same(directory, descriptor):  # another pull has replaced it
            return 0
        files = [path for path in directory.iterdir() if path.is_file()]
        if any(path.stat().st_nlink > 1 for path in files):
            return 0
        freed = sum(qemu_img.used_bytes(path) for path in files)
        shutil.rmtree(directory, ignore_errors=True)
        return freed
    except OSError:  # in use
        return 0
    finally:
        os.close(descriptor)
