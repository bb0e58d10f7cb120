"""Disk images: inspected, copied, and layered with qemu-img, with one-line errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycloudlib.errors import ImageError, InvalidArgumentError, LocalEC2Error
from pycloudlib.local.prerequisites import require

GIB = 2**30
MIB = 2**20

DISK_FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc")
"""The formats of bootable disks, as qemu-img names them."""

SIGNATURES = (
    (510, b"\x55\xaa"),  # a partition table: MBR, and GPT behind its protective MBR
    (1080, b"\x53\xef"),  # ext2, ext3, ext4
    (0, b"XFSB"),
    (0x10040, b"_BHRfS_M"),  # btrfs
)
"""The signatures (offset and bytes) of raw disks: qemu-img reports any unknown file as raw."""

SECTOR = 512

_UNREADABLE = "cannot read the disk"

NO_SPACE = "No space left on device"


@dataclass(frozen=True)
class DiskInfo:
    """The properties of a disk image.

    Args:
        format: the format in QEMU's terms: "raw", "qcow2", ...
        virtual_size: the size in bytes, as the guest sees it.
        backing: the backing file; None without one.
    """

    format: str
    virtual_size: int
    backing: Path | None


def inspect(path: Path) -> DiskInfo:
    """Inspect a disk image, and reject other files.

    Args:
        path: a file that no machine is writing to.

    Raises:
        ImageError: the file is missing, unreadable, empty, damaged, in use, or not a disk.
        MissingPrerequisiteError: qemu-img is not installed.
    """
    _require_file(path)
    info = json.loads(_qemu_img("info", "--output=json", str(path), what=f"cannot read {path}"))
    if info["format"] not in DISK_FORMATS:
        raise ImageError(f"{path} is not a usable disk image: it is {info['format']}")
    external = _other_file(info)
    if external is not None:
        raise ImageError(f"{path} is not a usable disk image: its data is in another file, {external}")
    if info["format"] == "raw":
        _require_signature(path)
    if info["format"] == "qcow2":
        _require_complete(path)
    backing = info.get("full-backing-filename") or info.get("backing-filename")
    return DiskInfo(
        format=info["format"], virtual_size=info["virtual-size"], backing=Path(backing) if backing else None
    )


def _other_file(info: Mapping[str, Any]) -> str | None:
    """Return an external file that contains data of a disk image; None without one.

    A qcow2 disk may have a data file, and a VMDK disk extents: an untrusted image could reference any file of the host.
    """
    data = info.get("format-specific", {}).get("data", {})
    names = (data.get("data-file"), *(extent.get("filename") for extent in data.get("extents", ())))
    return next((name for name in names if name not in (None, info["filename"])), None)


def create_overlay(base: Path, overlay: Path, *, base_format: str, size_gb: float | None = None) -> None:
    """Create a copy-on-write overlay of a disk.

    Args:
        base: the backing file, which must not change while the overlay exists.
        overlay: the qcow2 file to create.
        base_format: the format of the base. It is never probed: a guest could write a header that turns its raw disk
            into an overlay of any file of the host.
        size_gb: the size in GiB, as the guest sees it; default the size of the base.

    Raises:
        InvalidArgumentError: the size is smaller than the base's.
        LocalEC2Error: the disk cannot be created, for example for lack of space.
    """
    size = [] if size_gb is None else [str(_size_at_least(base, base_format, size_gb))]
    _qemu_img(
        *("create", "-q", "-f", "qcow2", "-F", base_format, "-b", str(base.absolute()), str(overlay), *size),
        what=f"cannot create the disk {overlay}",
    )


def create_volume(path: Path, size_gb: float) -> None:
    """Create an empty qcow2 disk.

    Args:
        path: the file to create.
        size_gb: the size in GiB, as the guest sees it.

    Raises:
        InvalidArgumentError: the size is not positive.
        LocalEC2Error: the disk cannot be created.
    """
    if size_gb <= 0:
        raise InvalidArgumentError(f"a disk of {size_gb:g} GiB is impossible: give a size above 0")
    size = str(int(size_gb * GIB))
    _qemu_img("create", "-q", "-f", "qcow2", str(path), size, what=f"cannot create the disk {path}")


def grow(path: Path, size_gb: float) -> None:
    """Grow a qcow2 disk that is not in use.

    Args:
        path: the file of the disk.
        size_gb: the new size in GiB, as the guest sees it.

    Raises:
        LocalEC2Error: the disk is larger already, or there is too little space.
    """
    _qemu_img("resize", "-q", "-f", "qcow2", str(path), str(int(size_gb * GIB)), what=f"cannot grow {path}")


def convert(source: Path, destination: Path, *, source_format: str) -> None:
    """Write a disk and its backing files to a single new qcow2 file.

    Args:
        source: the file of the disk.
        destination: the file to create.
        source_format: the format of the disk.

    Raises:
        LocalEC2Error: the file cannot be written, for example for lack of space.
    """
    _qemu_img(
        *("convert", "-q", "-f", source_format, "-O", "qcow2", str(source), str(destination)),
        what=f"cannot write {destination}",
    )


def export(source: Path, destination: Path, *, source_format: str, destination_format: str) -> None:
    """Write a disk to a new file that no other one belongs to; an interrupted export leaves no file.

    Args:
        source: the file of the disk.
        destination: the file to create.
        source_format: the format of the disk.
        destination_format: the format of the new file.

    Raises:
        ImageError: the new file exists, possibly by a concurrent export, or cannot be written.
        LocalEC2Error: the disk has too little space.
    """
    try:
        # An empty file reserves the name, also among concurrent exports.
        destination.touch(exist_ok=False)
    except FileExistsError:
        raise ImageError(f"{destination} exists already: remove it, or choose another name") from None
    except OSError as error:
        raise ImageError(f"cannot write {destination}: {error.strerror}") from error
    part = destination.with_name(f".{destination.name}.part")
    formats = ("-f", source_format, "-O", destination_format)
    try:
        _qemu_img("convert", "-q", *formats, str(source), str(part), what=f"cannot write {destination}")
        part.replace(destination)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    finally:
        part.unlink(missing_ok=True)


def copy(source: Path, destination: Path) -> None:
    """Copy a disk sparsely, and without copying data if the file system can share blocks.

    Args:
        source: the file to read.
        destination: the file to create.

    Raises:
        LocalEC2Error: the file cannot be written, for example for lack of space.
    """
    command = ["cp", "--reflink=auto", "--sparse=always", "--", str(source), str(destination)]
    _run(command, what=f"cannot copy {source} to {destination}")


@dataclass(frozen=True)
class Layers:
    """A disk and the disks below it.

    Args:
        disk: the file of the topmost disk.
        files: the files of all disks, the topmost first.
    """

    disk: Path
    files: tuple[Path, ...]

    @classmethod
    def of(cls, disk: Path) -> Layers:
        """Return the layers of a qcow2 disk, which a machine may use.

        Raises:
            ImageError: it cannot be read.
        """
        chain = _qemu_img("info", "-U", "--backing-chain", "--output=json", "-f", "qcow2", str(disk), what=_UNREADABLE)
        return cls(disk, tuple(Path(layer["filename"]) for layer in json.loads(chain)))

    @property
    def bottom(self) -> Path:
        """The file of the lowest disk."""
        return self.files[-1]

    def wrote(self, offset: int, length: int) -> bool:
        """Return whether a disk above the lowest one has data of its own in a range of bytes.

        Raises:
            ImageError: it cannot be read.
        """
        part = (f"--start-offset={offset}", f"--max-length={length}")
        extents = _qemu_img("map", "-U", *part, "--output=json", "-f", "qcow2", str(self.disk), what=_UNREADABLE)
        lowest = len(self.files) - 1
        return any(extent["depth"] != lowest for extent in json.loads(extents))


def read(path: Path, length: int, *, source_format: str) -> bytes:
    """Read the first bytes that the guest of a disk sees.

    Args:
        path: the file of the disk.
        length: the number of bytes, a multiple of 512.
        source_format: the format of the disk.

    Raises:
        ImageError: it cannot be read.
    """
    if source_format == "raw":
        with path.open("rb") as file:
            return file.read(length)
    with tempfile.TemporaryDirectory(prefix="pycloudlib-") as directory:
        part = Path(directory) / "part"
        _qemu_img(
            *("dd", "-U", "-f", source_format, "-O", "raw", f"bs={SECTOR}", f"count={length // SECTOR}"),
            *(f"if={path}", f"of={part}"),
            what=_UNREADABLE,
        )
        return part.read_bytes()


def used_bytes(path: Path) -> int:
    """Return the allocated size of a file in bytes, without its holes."""
    return path.stat().st_blocks * 512


def free_bytes(path: Path) -> int:
    """Return the free bytes of the file system of a path, which need not exist."""
    existing = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    try:
        return shutil.disk_usage(existing).free
    except OSError as error:
        raise LocalEC2Error(f"cannot determine the free space in {existing}: {error.strerror}") from error


def ensure_space(path: Path, needed_bytes: int) -> None:
    """Require free space on a file system.

    Args:
        path: the directory to write to, which need not exist.
        needed_bytes: the number of bytes to write.

    Raises:
        LocalEC2Error: there is too little space.
    """
    free = free_bytes(path)
    if free < needed_bytes:
        raise LocalEC2Error(
            f"no space left on the disk: {path} has {free // MIB} MiB free, {-(-needed_bytes // MIB)} MiB are needed"
        )


def _size_at_least(base: Path, base_format: str, size_gb: float) -> int:
    """Return the requested size in bytes; raise if the base is larger."""
    requested = int(size_gb * GIB)
    # Open the base shared, because other machines use it.
    info = _qemu_img("info", "-U", "--output=json", "-f", base_format, str(base), what=f"cannot read {base}")
    smallest: int = json.loads(info)["virtual-size"]
    if requested < smallest:
        raise InvalidArgumentError(
            f"a disk of {size_gb:g} GiB is too small for its image, which has {smallest / GIB:g} GiB"
        )
    return requested


def _require_file(path: Path) -> None:
    if not path.exists():
        raise ImageError(f"there is no file {path}")
    if not path.is_file():
        raise ImageError(f"{path} is not a disk image: it is not a file")
    if not os.access(path, os.R_OK):
        raise ImageError(f"{path} cannot be read: permission denied")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is not a disk image: it is empty")


def _require_signature(path: Path) -> None:
    """Require the signature of a partition table or a file system in a raw disk."""
    try:
        with path.open("rb") as disk:
            if any(_bytes_at(disk.fileno(), offset, len(magic)) == magic for offset, magic in SIGNATURES):
                return
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}") from error
    raise ImageError(f"{path} is not a disk image: it has neither a partition table nor a known file system")


def _bytes_at(descriptor: int, offset: int, length: int) -> bytes:
    return os.pread(descriptor, length, offset)


def _require_complete(path: Path) -> None:
    """Reject a truncated qcow2 file, whose tables point beyond its end."""
    checked = subprocess.run(
        [str(require("qemu-img", "to check disks")), "check", "-q", str(path)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if checked.returncode in (0, 3):  # 3: leaked clusters, which are harmless
        return
    if "lock" in checked.stderr:
        raise ImageError(f"{path} is in use: stop the virtual machine that uses it first")
    raise ImageError(f"{path} is damaged: qemu-img check finds errors in it; was it downloaded completely?")


def _qemu_img(*arguments: str, what: str) -> str:
    return _run([str(require("qemu-img", "to make disks")), *arguments], what=what)


def _run(command: Sequence[str], *, what: str) -> str:
    """Run a program, and return its output; raise its error message in one line."""
    # The error message is parsed, so it must not be localized.
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=environment)
    if done.returncode == 0:
        return done.stdout
    if NO_SPACE in done.stderr:
        raise LocalEC2Error(f"{what}: no space left on the disk")
    raise ImageError(f"{what}: {_reason(done.stderr) or f'exit status {done.returncode}'}")


def _reason(stderr: str) -> str:
    """Return the first line of an error message, without the names of the program and the file."""
    first = next((line for line in stderr.splitlines() if line.strip()), "")
    return first.rsplit(": ", 1)[-1].strip() if ": " in first else first.strip()
