"""What `validate` and `timeline` are given as IMAGE: an AMI id, a release, or a disk file; and the EC2 that has it."""

from __future__ import annotations

import io
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pycloudlib.cli.cloud import Cloud, cloud_options, with_options
from pycloudlib.cli.progress import plain_step
from pycloudlib.errors import MissingPrerequisiteError

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2

AMI = "ami-"


@dataclass(frozen=True)
class Disk:
    """How a disk file boots.

    Args:
        release: whose login user and names it has; default none.
        kernel: the kernel to boot with; default the disk's own boot loader.
        initrd: what the kernel is started with; default none.
        kernel_arguments: the kernel's command line; default empty.
    """

    release: str = ""
    kernel: Path | None = None
    initrd: Path | None = None
    kernel_arguments: str = ""


@dataclass(frozen=True)
class Place:
    """Where images are launched.

    Args:
        cloud: which EC2; where it is local, one that lasts as long as the command. A disk file always is there.
        disk: how a disk file boots.
    """

    cloud: Cloud
    disk: Disk


_DISK_OPTIONS = (
    click.option("--release", default="", help="Of a disk file: code name or version; tells who logs in."),
    click.option(
        "--kernel",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Of a disk file without a boot loader.",
    ),
    click.option("--initrd", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The kernel's initrd."),
    click.option("--kernel-arguments", default="", help="The kernel's command line."),
)


def place_options(callback: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where an image is launched; it gets them as `place`."""

    @wraps(callback)
    def with_place(
        *, cloud: Cloud, release: str, kernel: Path | None, initrd: Path | None, kernel_arguments: str, **others: Any
    ) -> None:
        callback(place=Place(cloud, Disk(release, kernel, initrd, kernel_arguments)), **others)

    return with_options(cloud_options(with_place, own_local=True), _DISK_OPTIONS)


def require_extras(command: str, needed: Mapping[str, str]) -> None:
    """Refuse, before anything is launched, what cannot be done with what is installed.

    Args:
        command: the command's name.
        needed: the extra that brings each module.

    Raises:
        MissingPrerequisiteError: one is not installed.
    """
    for module, extra in needed.items():
        if find_spec(module) is None:
            raise MissingPrerequisiteError(f"{command} needs {module}: pip install 'pycloudlib-ec2[{extra}]'")


def check_writing(paths: Iterable[Path | None]) -> None:
    """Refuse before anything is launched, rather than when there is something to write."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise click.UsageError(f"cannot write {path}: there is no directory {path.parent}")


def is_disk(image: str) -> bool:
    """Whether IMAGE names a disk file, by being one or by looking like a path."""
    return not image.startswith(AMI) and ("/" in image or Path(image).is_file())


@contextmanager
def connected(place: Place, tag: str, *, needs_local: bool, own_key: bool = True) -> Iterator[EC2]:
    """An EC2; all that it made is deleted in the end.

    Args:
        place: where.
        tag: names what is created.
        needs_local: whether there is a disk file among the images.
        own_key: whether it has a key that nobody but this command has; default yes, otherwise that of the settings.
    """
    from pycloudlib import EC2, KeyPair

    with ExitStack() as undo:
        if place.cloud.local or needs_local:
            ec2 = undo.enter_context(EC2(tag, config_file=_local_settings(undo)))
        else:
            ec2 = undo.enter_context(place.cloud.open(tag))
        if own_key:
            directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="pycloudlib-")))
            ec2.use_key(KeyPair.generate(directory).public_key_path)
        yield ec2


def _local_settings(undo: ExitStack) -> io.StringIO:
    from pycloudlib.local import LocalEC2

    # From the beginning, as on EC2: a boot that goes on from a saved one is not the image's own.
    with plain_step("starting a local EC2"):
        local = undo.enter_context(LocalEC2(warm_start=False))
    return io.StringIO(local.info.settings_toml())


@dataclass(frozen=True)
class Launchable:
    """What IMAGE turned out to be.

    Args:
        image_id: the AMI.
        label: what it is called in pictures.
        username: who logs in; None where the AMI tells.
    """

    image_id: str
    label: str
    username: str | None = None


@contextmanager
def offered_disks(images: Iterable[str], disk: Disk) -> Iterator[dict[str, Launchable]]:
    """The disk files among images, offered by every local EC2 of this user as long as the context lasts.

    It is entered before `connected`: a disk is not taken away from under a machine. No look-up of a release finds it.

    Args:
        images: AMI ids, releases and disk files.
        disk: how a disk file boots.
    """
    with ExitStack() as undo:
        yield {image: undo.enter_context(_offered(Path(image), disk)) for image in images if is_disk(image)}


def launchable(ec2: EC2, image: str, offered: Mapping[str, Launchable]) -> Launchable:
    """The AMI that IMAGE names.

    Args:
        ec2: where it is launched.
        image: an AMI id, a release, or a disk file.
        offered: what offered_disks() gave.
    """
    if image in offered:
        return offered[image]
    return Launchable(image if image.startswith(AMI) else ec2.daily_image(image), image)


@contextmanager
def _offered(disk_file: Path, disk: Disk) -> Iterator[Launchable]:
    from pycloudlib.local import paths
    from pycloudlib.local.images.catalog import Catalog

    catalogue = Catalog(paths.images_dir())
    with plain_step(f"copying {disk_file}"):
        added = catalogue.add(
            disk_file,
            release=disk.release or disk_file.stem,
            name=f"{disk_file.stem}-{secrets.token_hex(4)}",
            kernel=disk.kernel,
            initrd=disk.initrd,
            kernel_arguments=disk.kernel_arguments,
        )
    try:
        # The name of this AMI tells nobody who logs in.
        yield Launchable(added.image_id, disk_file.stem, added.username or None)
    finally:
        catalogue.remove(added.image_id)
