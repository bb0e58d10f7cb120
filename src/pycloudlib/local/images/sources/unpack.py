"""Convert a verified download to a disk: qcow2 and raw unchanged, compressed ones as sparse files."""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pycloudlib.errors import ImageError
from pycloudlib.local import qemu_img
from pycloudlib.local.images.sources.content import DISKS, Content, share
from pycloudlib.local.images.sources.web import no_space

BLOCK = 64 * 1024
ZEROS = bytes(BLOCK)


def make_disk(content: Content, name: str, check_stopped: Callable[[], None] = lambda: None) -> Path:
    """Convert the download of a content to its disk, and remove the download.

    Args:
        content: the content.
        name: the file name of the download, whose suffix names the format.
        check_stopped: called repeatedly while unpacking; an exception aborts it. Default no-op.

    Raises:
        ImageError: the download is not a disk image, or needs another file.
        LocalEC2Error: the disk is full.
    """
    temporary = content.directory / "disk.partial"
    try:
        _write(content.download, temporary, name, check_stopped)
        info = qemu_img.inspect(temporary)
        if info.backing is not None:
            raise ImageError(f"{name} is an overlay on {info.backing}: only standalone disks can be pulled")
        if info.format not in DISKS:
            converted = content.directory / "disk.converted"
            qemu_img.convert(temporary, converted, source_format=info.format)
            converted.replace(temporary)
        disk = content.directory / DISKS.get(info.format, DISKS["qcow2"])
        temporary.replace(disk)
    except ImageError:
        content.download.unlink(missing_ok=True)
        raise
    except OSError as error:
        raise no_space(error, content.directory) from error
    finally:
        for leftover in ("disk.partial", "disk.converted"):
            (content.directory / leftover).unlink(missing_ok=True)
    content.download.unlink(missing_ok=True)
    return disk


def _write(download: Path, disk: Path, name: str, check_stopped: Callable[[], None]) -> None:
    if not name.endswith(".xz"):
        share(download, disk)
        return
    try:
        with _opened(download, name) as packed, disk.open("wb") as file:
            _copy_sparsely(packed, file, check_stopped)
    # tarfile raises ValueError for malformed numbers.
    except (lzma.LZMAError, tarfile.TarError, EOFError, ValueError) as error:
        raise ImageError(f"{name} cannot be unpacked: {error}") from error


@contextmanager
def _opened(download: Path, name: str) -> Iterator[IO[bytes]]:
    if not name.endswith(".tar.xz"):
        with lzma.open(download) as raw:
            yield raw
        return
    with tarfile.open(download, "r|xz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() and member.name.endswith(".raw") else None
            if file is not None:
                yield file
                return
    raise ImageError(f"{name} has no disk: an archive with a file disk.raw was expected")


def _copy_sparsely(source: IO[bytes], file: IO[bytes], check_stopped: Callable[[], None]) -> None:
    """Copy a file, with holes for blocks of zeros."""
    while block := source.read(BLOCK):
        check_stopped()
        if block == ZEROS[: len(block)]:
            file.seek(len(block), 1)
        else:
            file.write(block)
    file.truncate()
