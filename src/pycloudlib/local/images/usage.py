"""Locks on images, shared by all processes: a disk must not be removed while a machine's overlay depends on it.

The lock is on the image's directory. The kernel drops it when its process ends for any reason.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pycloudlib.errors import ImageError


@contextmanager
def in_use(disk: Path) -> Iterator[None]:
    """Protect the image of a disk from removal, until the context or this process ends.

    Args:
        disk: the image's disk.

    Raises:
        ImageError: the image was removed.
    """
    with ExitStack() as undo:
        try:
            fcntl.flock(undo.enter_context(_opened(disk.parent)), fcntl.LOCK_SH)
        except OSError as error:
            raise ImageError(f"the image of {disk} cannot be used: {error.strerror}") from error
        if not disk.exists():
            raise ImageError(f"the image of {disk} was removed")
        yield


@contextmanager
def unused(entry: Path, name: str) -> Iterator[None]:
    """Protect an image from use.

    Args:
        entry: the image's directory.
        name: the id or name that the user gave, for the error message.

    Raises:
        ImageError: the image is in use.
    """
    with _opened(entry) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImageError(
                f"image {name!r} is in use: delete the instances that were launched from it first"
            ) from None
        yield


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
