"""The catalog of disk images: a directory with one entry per image, safe for concurrent processes.

An entry is a directory with a disk, optionally a kernel and an initrd, and image.json, which describes them. The
catalog writes an entry to a directory with the prefix ".partial-", then renames it atomically. Other processes
therefore never see an incomplete entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from pycloudlib.errors import ImageError, InvalidArgumentError, LocalEC2Error
from pycloudlib.local import qemu_img
from pycloudlib.local.images.boot_mode import LEGACY_BIOS, UEFI, boot_mode_of
from pycloudlib.local.images.distributions import GENERIC, NAMED, SELF, Distribution, Offer, distribution
from pycloudlib.local.images.usage import unused
from pycloudlib.releases import similar_release

logger = logging.getLogger(__name__)

DESCRIPTION_FILE = "image.json"
LOCK_FILE = ".lock"
PARTIAL = ".partial-"
AMI_DIGITS = 17
PULLED = "pulled"
"""The source of images that were downloaded from their publishers."""
MISTYPED = 0.8
"""The minimum similarity to a known release of a mistyped one, such as "bookwrm", but not "my-noble"."""


@dataclass(frozen=True)
class Image:
    """An AMI of the catalog; several AMIs can share a disk.

    Args:
        image_id: "ami-" and 17 hexadecimal digits; stable as long as the image is in the catalog.
        name: the AMI's name.
        owner_id: the account that publishes the AMI.
        description: the AMI's description.
        architecture: the architecture: "x86_64" or "arm64".
        creation_date: the creation date in the format of DescribeImages: ISO 8601 in UTC.
        disk: the disk's file.
        format: the disk's format in QEMU's terms.
        virtual_size: the virtual size of the disk in bytes.
        kernel: the kernel for direct boot; None for a disk with a boot loader.
        initrd: the initrd of the kernel; None without one.
        kernel_arguments: the kernel command line.
        root_device_name: the AMI's root device.
        release: the code name, or the name that the user chose.
        username: the login user; empty if unknown.
        source: "built", "added", "pulled", or "simulated".
        deprecation_time: the deprecation time, in the format of `creation_date`; empty for never (default).
        recipe: the recipe hash of a built image; empty for others (default).
        warm_initrd: the initramfs for boot snapshots; None if unsupported (default).
        boot_mode: "legacy-bios" (default), "uefi", or "uefi-preferred".
        origin: the URL of a pulled image; empty for others (default).
        user_mode_arguments: kernel arguments to add on QEMU's user networking; empty for none (default).
        has_boot_loader: whether the disk of an image with a kernel has a boot loader that starts the same kernel;
            default no.
        uefi_data: the initial UEFI variables, as `UefiData`; empty for none (default).
    """

    image_id: str
    name: str
    owner_id: str
    description: str
    architecture: str
    creation_date: str
    disk: Path
    format: str
    virtual_size: int
    kernel: Path | None
    initrd: Path | None
    kernel_arguments: str
    root_device_name: str
    release: str
    username: str
    source: str
    deprecation_time: str = ""
    recipe: str = ""
    warm_initrd: Path | None = None
    boot_mode: str = LEGACY_BIOS
    origin: str = ""
    user_mode_arguments: str = ""
    has_boot_loader: bool = False
    uefi_data: str = ""


@dataclass(frozen=True)
class Entry:
    """The contents of image.json; file names are relative to its directory.

    Args:
        release: the code name, or the name that the user chose.
        created: the creation time, ISO 8601 in UTC.
        disk: the disk's file name.
        format: the disk's format in QEMU's terms.
        virtual_size: the virtual size of the disk in bytes.
        kernel: the kernel's file name; empty without one.
        initrd: the initrd's file name; empty without one.
        kernel_arguments: the kernel command line.
        root_device_name: the root device of the AMIs.
        username: the login user; empty if unknown.
        source: "built", "added", or "pulled".
        architecture: the architecture; default "x86_64".
        recipe: the recipe hash of a built image; empty for others (default).
        warm_initrd: the file name of the initramfs for boot snapshots; empty without one (default).
        boot_mode: "legacy-bios" (default), "uefi", or "uefi-preferred".
        origin: the URL of a pulled image; empty for others (default).
        user_mode_arguments: kernel arguments to add on QEMU's user networking; empty for none (default).
        has_boot_loader: whether the disk of an image with a kernel has a boot loader that starts the same kernel;
            default no.
        uefi_data: the initial UEFI variables, as `UefiData`; empty for none (default).
        offers: the AMIs that offer the disk.
    """

    release: str
    created: str
    disk: str
    format: str
    virtual_size: int
    kernel: str
    initrd: str
    kernel_arguments: str
    root_device_name: str
    username: str
    source: str
    architecture: str = "x86_64"
    recipe: str = ""
    warm_initrd: str = ""
    boot_mode: str = LEGACY_BIOS
    origin: str = ""
    user_mode_arguments: str = ""
    has_boot_loader: bool = False
    uefi_data: str = ""
    offers: tuple[Offer, ...] = ()


class Catalog:
    """The images of a directory.

    Args:
        directory: the catalog's directory, created with the first image.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def images(self) -> list[Image]:
        """Return all AMIs of the catalog, the newest first. Log unreadable entries, and leave them out."""
        found = [image for key in self._keys() for image in self._read(key)]
        return sorted(found, key=lambda image: image.creation_date, reverse=True)

    def find(self, image_id_or_name: str) -> Image:
        """Return an AMI by its id or name.

        Raises:
            ImageError: the AMI does not exist.
        """
        for image in self.images():
            if image_id_or_name in (image.image_id, image.name):
                return image
        raise ImageError(f"no image {image_id_or_name!r} in {self.directory}: `pycloudlib local image list` shows them")

    def add(
        self,
        disk_file: Path,
        *,
        release: str,
        name: str | None = None,
        image_type: str = GENERIC,
        architecture: str = "x86_64",
        kernel: Path | None = None,
        initrd: Path | None = None,
        kernel_arguments: str = "",
        username: str | None = None,
        uefi_data: str = "",
    ) -> Image:
        """Copy a disk to the catalog, and offer it as AMIs of its distribution.

        Args:
            disk_file: a disk image with a boot loader, or any disk image if `kernel` is given.
            release: a code name or version number of Debian or Ubuntu. Account 123456789012 offers any other release
                under that name.
            name: the name of a single AMI, offered by account 123456789012; default the distribution's names.
            image_type: the image type, one of `distributions.IMAGE_TYPES`; default "generic".
            architecture: "x86_64" (default) or "arm64".
            kernel: the kernel for direct boot; default the disk's boot loader.
            initrd: the initrd of the kernel; default none.
            kernel_arguments: the kernel command line; default empty.
            username: the login user; default the distribution's.
            uefi_data: the initial UEFI variables, as `UefiData`, with which the image boots by UEFI only; default none.

        Returns:
            The AMI; the daily one if there are a daily and a release.

        Raises:
            ImageError: the file is not a disk image, or has no boot loader while no kernel is given; the name is taken;
                or both a name and a type are given.
            InvalidArgumentError: the release has no images of the type, or it is almost a known release, and no name is
                given; or the architecture is unknown.
            LocalEC2Error: the disk has too little space, or the directory is not writable.
        """
        info = qemu_img.inspect(disk_file)
        qemu_img.ensure_space(self.directory, qemu_img.used_bytes(disk_file))
        published = distribution(release)
        if not published.release:
            raise ImageError("an image needs a release: a code name, a version number, or a name of your own")
        if published.known is None and name is None:
            _reject_mistyped_release(published.release)
        published.require_type(image_type)
        if architecture not in NAMED:
            raise InvalidArgumentError(f"unknown architecture {architecture!r}; allowed: {', '.join(NAMED)}")
        boot_mode = _boot_mode(disk_file, info.format, architecture, kernel)
        if uefi_data:
            if boot_mode == LEGACY_BIOS:
                raise ImageError(f"{disk_file} has no EFI system partition, from which Secure Boot starts")
            boot_mode = UEFI
        if name and image_type != GENERIC:
            raise ImageError(f"an image named {name!r} has only that name: omit the type")
        with self.new_entry() as partial:
            entry = Entry(
                release=published.release,
                created=timestamp(),
                disk=_copy_disk(disk_file, partial, info),
                format="raw" if info.format == "raw" else "qcow2",
                virtual_size=info.virtual_size,
                kernel=_copy_file(kernel, partial, "vmlinuz"),
                initrd=_copy_file(initrd, partial, "initrd"),
                kernel_arguments=kernel_arguments,
                root_device_name=published.root_device_name,
                username=published.username if username is None else username,
                source="added",
                architecture=architecture,
                boot_mode=boot_mode,
                uefi_data=uefi_data,
            )
            return self.commit(partial, entry, name=name, image_type=image_type)

    def remove(self, image_id_or_name: str) -> None:
        """Remove an image with all of its AMIs.

        Raises:
            ImageError: the image does not exist, or running or stopped instances use it.
            LocalEC2Error: the directory is not writable.
        """
        with self._locked():
            entry = self.find(image_id_or_name).disk.parent
            self._remove_stale()
            # Rename first, which needs no disk space.
            renamed = entry.with_name(f"{PARTIAL}{entry.name}")
            with unused(entry, image_id_or_name):
                try:
                    entry.rename(renamed)
                except OSError as error:
                    raise LocalEC2Error(f"cannot remove {entry}: {error.strerror}") from error
                shutil.rmtree(renamed, ignore_errors=True)

    @contextmanager
    def new_entry(self) -> Iterator[Path]:
        """Yield a directory for a new entry, and remove it on exit unless `commit` renamed it.

        SIGINT and SIGTERM also remove it. The next call removes the directories of killed processes.

        Raises:
            LocalEC2Error: the directory cannot be created, or the disk has too little space.
        """
        try:
            with _terminable(), self._partial() as partial:
                yield partial
        except BrokenPipeError:
            # The reader of the progress output has exited.
            raise
        except OSError as error:
            raise LocalEC2Error(f"cannot write an image to {self.directory}: {error.strerror}") from error

    def commit(self, partial: Path, entry: Entry, *, name: str | None = None, image_type: str = GENERIC) -> Image:
        """Convert a directory of `new_entry` to an entry.

        Args:
            partial: the directory from `new_entry`.
            entry: the description of the entry; with offers, their names are used unchanged.
            name: the AMI's name; default the names of its distribution.
            image_type: the image type of the distribution's names; default "generic".

        Returns:
            The first AMI that offers the disk.

        Raises:
            ImageError: the name is taken.
        """
        with self._locked():
            taken = {image.name for image in self.images()}
            offers = _offers(entry, name, image_type, taken)
            (partial / DESCRIPTION_FILE).write_text(json.dumps(asdict(replace(entry, offers=offers)), indent=2) + "\n")
            key = self._free_key(offers[-1].name)
            partial.rename(self.directory / key)
        return self._read(key)[0]

    def _keys(self) -> list[str]:
        if not self.directory.is_dir():
            return []
        return sorted(path.parent.name for path in self.directory.glob(f"[!.]*/{DESCRIPTION_FILE}"))

    def _read(self, key: str) -> list[Image]:
        # Boot snapshots depend on the path, so it must be the same in every catalog that links to the entry.
        directory = (self.directory / key).resolve()
        try:
            document: dict[str, Any] = json.loads((directory / DESCRIPTION_FILE).read_text())
            offers = tuple(Offer(**offer) for offer in document.pop("offers"))
            entry = Entry(**document)
            _require_types(entry)
            for offer in offers:
                _require_types(offer)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            logger.warning("skipping image %s: invalid description: %s", directory, error)
            return []
        names = (entry.disk, entry.kernel, entry.initrd, entry.warm_initrd)
        missing = [name for name in names if name and not (directory / name).exists()]
        if missing:
            logger.warning("skipping image %s: %s is missing", directory, ", ".join(missing))
            return []
        return [_image(directory, entry, offer) for offer in offers]

    def _free_key(self, name: str) -> str:
        key = re.sub(r"[^a-zA-Z0-9.]+", "-", name).strip("-.") or "image"
        candidates = (key if number == 0 else f"{key}-{number}" for number in range(len(self._keys()) + 2))
        return next(candidate for candidate in candidates if not (self.directory / candidate).exists())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the catalog's lock, exclusive among all processes."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LocalEC2Error(f"cannot write to {self.directory}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _partial(self) -> Iterator[Path]:
        with self._locked():
            self._remove_stale()
            partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self.directory))
            # This lock shows other processes that the directory is in use; the kernel drops it when this process ends.
            alive = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(alive, fcntl.LOCK_EX)
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            os.close(alive)

    def _remove_stale(self) -> None:
        for partial in self.directory.glob(f"{PARTIAL}*"):
            with suppress(OSError):
                probe = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(partial)
                finally:
                    os.close(probe)


def timestamp(now: datetime | None = None) -> str:
    """Return a time in the format of DescribeImages: ISO 8601 in UTC, with milliseconds; default now."""
    moment = now or datetime.now(timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _require_types(described: Entry | Offer) -> None:
    types = {"str": str, "int": int, "bool": bool}
    for field in fields(described):
        wanted = types.get(str(field.type))
        if wanted is not None and not isinstance(getattr(described, field.name), wanted):
            raise TypeError(f"{field.name} is not {wanted.__name__}")


def _image(directory: Path, entry: Entry, offer: Offer) -> Image:
    return Image(
        image_id=_image_id(directory.name, offer.name),
        name=offer.name,
        owner_id=offer.owner_id,
        description=offer.description,
        architecture=entry.architecture,
        creation_date=entry.created,
        disk=directory / entry.disk,
        format=entry.format,
        virtual_size=entry.virtual_size,
        kernel=directory / entry.kernel if entry.kernel else None,
        initrd=directory / entry.initrd if entry.initrd else None,
        kernel_arguments=entry.kernel_arguments,
        root_device_name=entry.root_device_name,
        release=entry.release,
        username=entry.username,
        source=entry.source,
        recipe=entry.recipe,
        warm_initrd=directory / entry.warm_initrd if entry.warm_initrd else None,
        boot_mode=entry.boot_mode,
        origin=entry.origin,
        user_mode_arguments=entry.user_mode_arguments,
        has_boot_loader=entry.has_boot_loader,
        uefi_data=entry.uefi_data,
    )


def _image_id(key: str, name: str) -> str:
    return "ami-" + hashlib.sha256(f"{key}\0{name}".encode()).hexdigest()[:AMI_DIGITS]


def _offers(entry: Entry, name: str | None, image_type: str, taken: set[str]) -> tuple[Offer, ...]:
    for offer in entry.offers:
        _require_free(offer.name, taken)
    if entry.offers:
        return entry.offers
    return _custom_offer(name, taken) if name else _free_offers(entry, image_type, taken)


def _reject_mistyped_release(release: str) -> None:
    """Reject a release that is probably mistyped."""
    similar = similar_release(release, similarity=MISTYPED)
    if similar:
        raise InvalidArgumentError(
            f"unknown release {release!r}; did you mean {similar!r}? A custom image also needs a name (--name)"
        )


def _custom_offer(name: str, taken: set[str]) -> tuple[Offer, ...]:
    _require_free(name, taken)
    return (Offer(name, SELF, f"{name}, added to the local EC2"),)


def _require_free(name: str, taken: set[str]) -> None:
    if name in taken:
        raise ImageError(f"there is an image {name!r} already: remove it first, or give another name")


def _free_offers(entry: Entry, image_type: str, taken: set[str]) -> tuple[Offer, ...]:
    """Return the distribution's offers, numbered if an image of the same time has their names."""
    published: Distribution = distribution(entry.release)
    created = datetime.strptime(entry.created, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    tries = (
        published.offers(created, image_type=image_type, repeat=repeat, architecture=entry.architecture)
        for repeat in range(len(taken) + 1)
    )
    return next(offers for offers in tries if not taken & {offer.name for offer in offers})


def _boot_mode(disk_file: Path, format_name: str, architecture: str, kernel: Path | None) -> str:
    """Return the boot mode of a disk to add.

    Raises:
        ImageError: the disk has no boot loader for its architecture, while no kernel is given.
    """
    if kernel:
        return UEFI if architecture == "arm64" else LEGACY_BIOS
    boot_mode = boot_mode_of(disk_file, format_name)
    if architecture != "arm64":
        return boot_mode
    if boot_mode == LEGACY_BIOS:
        raise ImageError(f"{disk_file} has no EFI system partition, by which arm64 boots: is it for x86_64?")
    return UEFI


def _copy_disk(disk_file: Path, partial: Path, info: qemu_img.DiskInfo) -> str:
    """Copy a disk; convert overlays, and formats other than raw and qcow2, to a standalone qcow2 disk."""
    if info.format == "raw":
        qemu_img.copy(disk_file, partial / "disk.raw")
        return "disk.raw"
    if info.format == "qcow2" and info.backing is None:
        qemu_img.copy(disk_file, partial / "disk.qcow2")
    else:
        qemu_img.convert(disk_file, partial / "disk.qcow2", source_format=info.format)
    return "disk.qcow2"


def _copy_file(source: Path | None, partial: Path, name: str) -> str:
    if source is None:
        return ""
    try:
        shutil.copyfile(source, partial / name)
    except OSError as error:
        raise ImageError(f"cannot copy {source}: {error.strerror}") from error
    return name


@contextmanager
def _terminable() -> Iterator[None]:
    """Unwind the stack on SIGTERM, for cleanup, unless the process handles SIGTERM itself."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
