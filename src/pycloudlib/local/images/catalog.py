"""The catalogue of disk images: a directory with one entry for each, safe for several processes at once.

An entry is a directory with the disk, perhaps a kernel and an initrd, and image.json, which describes them. It is put
together in a directory whose name starts with ".partial-" and appears under its own name in one step, so nobody ever
sees half an entry.
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
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from pycloudlib.errors import ImageError, LocalEC2Error
from pycloudlib.local import qemu_img
from pycloudlib.local.images.distributions import GENERIC, SELF, Distribution, Offer, distribution
from pycloudlib.local.images.usage import unused

logger = logging.getLogger(__name__)

DESCRIPTION_FILE = "image.json"
LOCK_FILE = ".lock"
PARTIAL = ".partial-"
AMI_DIGITS = 17


@dataclass(frozen=True)
class Image:
    """One AMI of the catalogue; several can share a disk.

    Args:
        image_id: "ami-" and 17 hexadecimal digits; the same for as long as the image is in the catalogue.
        name: the AMI's name.
        owner_id: the account that publishes it.
        description: the AMI's description.
        architecture: "x86_64".
        creation_date: ISO 8601 in UTC, as DescribeImages gives it.
        disk: the disk's file.
        format: its format, as QEMU names it.
        virtual_size: bytes that a guest sees.
        kernel: the kernel to boot with; None for a disk with a boot loader of its own.
        initrd: what the kernel is started with; None for none.
        kernel_arguments: the kernel's command line.
        root_device_name: the AMI's root device.
        release: the code name, or whatever the user called it.
        username: the login user; empty when unknown.
        source: "built" or "added".
        deprecation_time: from when on it is hidden from who does not ask for it, as creation_date; empty for never.
        recipe: tells by what a built one was built; empty for others.
        warm_initrd: the initramfs in which its machines can be saved; None where they cannot.
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


@dataclass(frozen=True)
class Entry:
    """What image.json says; the files are names in the same directory.

    Args:
        release: the code name, or whatever the user called it.
        created: ISO 8601 in UTC.
        disk: the disk's file name.
        format: its format.
        virtual_size: bytes that a guest sees.
        kernel: the kernel's file name; empty for none.
        initrd: the initrd's file name; empty for none.
        kernel_arguments: the kernel's command line.
        root_device_name: the AMI's root device.
        username: the login user; empty when unknown.
        source: "built" or "added".
        architecture: "x86_64".
        recipe: tells by what a built one was built; empty for others.
        warm_initrd: the file name of the initramfs in which its machines can be saved; empty for none.
        offers: the AMIs under which it is offered.
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
    offers: tuple[Offer, ...] = ()


class Catalog:
    """The images of one directory.

    Args:
        directory: where they are; made when the first one is added.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def images(self) -> list[Image]:
        """Every AMI of the catalogue, the newest first; an entry that cannot be read is logged and left out."""
        found = [image for key in self._keys() for image in self._read(key)]
        return sorted(found, key=lambda image: image.creation_date, reverse=True)

    def find(self, image_id_or_name: str) -> Image:
        """The AMI of that id or name.

        Raises:
            ImageError: there is none.
        """
        for image in self.images():
            if image_id_or_name in (image.image_id, image.name):
                return image
        raise ImageError(f"no image {image_id_or_name!r} in {self.directory}: `pycloudlib local image list` shows them")

    def newest(self, release: str, *, source: str | None = None) -> Image | None:
        """The newest AMI of a release; None when there is none.

        Args:
            release: a code name or a version number, or the name that an image was added under.
            source: "built" or "added"; default either.
        """
        wanted = distribution(release).release
        of_release = (image for image in self.images() if image.release == wanted)
        return next((image for image in of_release if source in (None, image.source)), None)

    def add(
        self,
        disk_file: Path,
        *,
        release: str,
        name: str | None = None,
        image_type: str = GENERIC,
        kernel: Path | None = None,
        initrd: Path | None = None,
        kernel_arguments: str = "",
        username: str | None = None,
    ) -> Image:
        """Copy a disk into the catalogue, and offer it as its distribution's AMIs.

        Args:
            disk_file: a disk image; a whole disk with its own boot loader, unless a kernel is given.
            release: a code name or version number of Debian or Ubuntu; anything else is offered under that name by
                account 123456789012.
            name: the AMI's name; then it is offered under this one alone, by account 123456789012.
            image_type: the type that it is offered as, one of `distributions.IMAGE_TYPES`; default "generic".
            kernel: the kernel to boot with; default the disk's own boot loader.
            initrd: what the kernel is started with; default none.
            kernel_arguments: the kernel's command line; default empty.
            username: the login user; default the distribution's.

        Returns:
            The AMI; of those for a daily and a release, the daily.

        Raises:
            ImageError: the file is no disk, there is an AMI of that name, or both a name and a type were given.
            InvalidArgumentError: the release has no images of that type.
            LocalEC2Error: there is no room on the disk, or the directory cannot be written.
        """
        info = qemu_img.inspect(disk_file)
        qemu_img.ensure_space(self.directory, qemu_img.used_bytes(disk_file))
        published = distribution(release)
        if not published.release:
            raise ImageError("an image needs a release: a code name, a version number, or a name of your own")
        published.require_type(image_type)
        if name and image_type != GENERIC:
            raise ImageError(f"an image named {name!r} is offered under that name alone: leave out its type")
        with self.new_entry() as partial:
            entry = Entry(
                release=published.release,
                created=timestamp(),
                disk=_take_disk(disk_file, partial, info),
                format="raw" if info.format == "raw" else "qcow2",
                virtual_size=info.virtual_size,
                kernel=_take_file(kernel, partial, "vmlinuz"),
                initrd=_take_file(initrd, partial, "initrd"),
                kernel_arguments=kernel_arguments,
                root_device_name=published.root_device_name,
                username=published.username if username is None else username,
                source="added",
            )
            return self.commit(partial, entry, name=name, image_type=image_type)

    def remove(self, image_id_or_name: str) -> None:
        """Remove an image with every AMI that is offered from it.

        Raises:
            ImageError: there is none of that id or name, or instances are running on it or can be started again.
            LocalEC2Error: the directory cannot be written.
        """
        with self._locked():
            entry = self.find(image_id_or_name).disk.parent
            self._remove_stale()
            # Renaming needs no room, of which there may be none.
            doomed = entry.with_name(f"{PARTIAL}{entry.name}")
            with unused(entry, image_id_or_name):
                try:
                    entry.rename(doomed)
                except OSError as error:
                    raise LocalEC2Error(f"cannot remove {entry}: {error.strerror}") from error
                shutil.rmtree(doomed, ignore_errors=True)

    @contextmanager
    def new_entry(self) -> Iterator[Path]:
        """A directory to put an entry together in; gone afterwards, unless `commit` made an entry of it.

        Also when it is interrupted or terminated; what a killed process left is removed here by the next one.

        Raises:
            LocalEC2Error: it cannot be made, or there is no room for what is written into it.
        """
        try:
            with _terminable(), self._partial() as partial:
                yield partial
        except BrokenPipeError:
            # That was no file, but whoever is told of the progress.
            raise
        except OSError as error:
            raise LocalEC2Error(f"cannot write an image to {self.directory}: {error.strerror}") from error

    def commit(self, partial: Path, entry: Entry, *, name: str | None = None, image_type: str = GENERIC) -> Image:
        """Make an entry of what was put together.

        Args:
            partial: the directory that `new_entry` gave.
            entry: its description, without offers.
            name: the AMI's name; default those of its distribution.
            image_type: the type of which it has the distribution's names; default "generic".

        Returns:
            The first AMI that it is offered as.

        Raises:
            ImageError: there is an AMI of that name.
        """
        with self._locked():
            taken = {image.name for image in self.images()}
            offers = _own_offer(name, taken) if name else _free_offers(entry, image_type, taken)
            (partial / DESCRIPTION_FILE).write_text(json.dumps(asdict(replace(entry, offers=offers)), indent=2) + "\n")
            key = self._free_key(offers[-1].name)
            partial.rename(self.directory / key)
        return self._read(key)[0]

    def _keys(self) -> list[str]:
        if not self.directory.is_dir():
            return []
        return sorted(path.parent.name for path in self.directory.glob(f"[!.]*/{DESCRIPTION_FILE}"))

    def _read(self, key: str) -> list[Image]:
        directory = self.directory / key
        try:
            told: dict[str, Any] = json.loads((directory / DESCRIPTION_FILE).read_text())
            offers = tuple(Offer(**offer) for offer in told.pop("offers"))
            entry = Entry(**told)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("image %s is left out: its description cannot be used: %s", directory, error)
            return []
        names = (entry.disk, entry.kernel, entry.initrd, entry.warm_initrd)
        missing = [name for name in names if name and not (directory / name).exists()]
        if missing:
            logger.warning("image %s is left out: %s is missing", directory, ", ".join(missing))
            return []
        return [_image(directory, entry, offer) for offer in offers]

    def _free_key(self, name: str) -> str:
        key = re.sub(r"[^a-zA-Z0-9.]+", "-", name).strip("-.") or "image"
        candidates = (key if number == 0 else f"{key}-{number}" for number in range(len(self._keys()) + 2))
        return next(candidate for candidate in candidates if not (self.directory / candidate).exists())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among all processes for what must not happen twice at once."""
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
            # The lock on the directory itself ends with this process, however it ends: so others know it is in use.
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
    """The time as DescribeImages gives it: ISO 8601 in UTC, with milliseconds."""
    return f"{now or datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.000Z}"


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
    )


def _image_id(key: str, name: str) -> str:
    return "ami-" + hashlib.sha256(f"{key}\0{name}".encode()).hexdigest()[:AMI_DIGITS]


def _own_offer(name: str, taken: set[str]) -> tuple[Offer, ...]:
    if name in taken:
        raise ImageError(f"there is an image {name!r} already: remove it first, or give another name")
    return (Offer(name, SELF, f"{name}, added to the local EC2"),)


def _free_offers(entry: Entry, image_type: str, taken: set[str]) -> tuple[Offer, ...]:
    """The distribution's names, numbered on when they were given to an image of the same time already."""
    published: Distribution = distribution(entry.release)
    created = datetime.strptime(entry.created, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    tries = (published.offers(created, image_type=image_type, repeat=repeat) for repeat in range(len(taken) + 1))
    return next(offers for offers in tries if not taken & {offer.name for offer in offers})


def _take_disk(disk_file: Path, partial: Path, info: qemu_img.DiskInfo) -> str:
    """Copy a disk as it is; what is not raw or qcow2, or is an overlay, becomes a qcow2 disk that stands alone."""
    if info.format == "raw":
        qemu_img.copy(disk_file, partial / "disk.raw")
        return "disk.raw"
    if info.format == "qcow2" and info.backing is None:
        qemu_img.copy(disk_file, partial / "disk.qcow2")
    else:
        qemu_img.convert(disk_file, partial / "disk.qcow2", source_format=info.format)
    return "disk.qcow2"


def _take_file(source: Path | None, partial: Path, name: str) -> str:
    if source is None:
        return ""
    try:
        shutil.copyfile(source, partial / name)
    except OSError as error:
        raise ImageError(f"cannot copy {source}: {error.strerror}") from error
    return name


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that what was begun is cleaned up; only where nobody else handles it."""
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
