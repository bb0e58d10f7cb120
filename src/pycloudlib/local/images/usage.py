"""Who uses an image, among all processes: its disk must not go while a machine's disk is an overlay on it.

What is locked is the image's directory itself; such a lock ends with its process, however that ends.
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
    """Keep the image of a disk from being removed, until the context or this process ends.

    Args:
        disk: the image's disk.

    Raises:
        ImageError: it was removed.
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
    """Keep an image from being used.

    Args:
        entry: its directory.
        name: what the user calls it.

    Raises:
        ImageError: it is in use.
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
