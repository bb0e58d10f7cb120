"""The IMAGE argument of `validate` and `timeline`: an AMI, a release, or a disk file; and the EC2 session for it."""

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
from pycloudlib.cli.files import INPUT_FILE
from pycloudlib.cli.on_demand import check_pull, found_or_pulled, pull_option
from pycloudlib.cli.progress import plain_step
from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.installation import install_extras

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2

AMI = "ami-"
DISK_SUFFIXES = frozenset({".img", ".qcow2", ".raw", ".vdi", ".vhd", ".vhdx", ".vmdk"})
"""Suffixes of disk files, to recognize the name of a file that does not exist."""


@dataclass(frozen=True)
class Disk:
    """The boot options of a disk file.

    Args:
        release: the release, which determines the login user and names; default none.
        kernel: the kernel; default the disk's own boot loader.
        initrd: the initrd of the kernel; default none.
        kernel_arguments: the kernel's command line; default empty.
    """

    release: str = ""
    kernel: Path | None = None
    initrd: Path | None = None
    kernel_arguments: str = ""


@dataclass(frozen=True)
class Place:
    """The place of launches.

    Args:
        cloud: the EC2 endpoint. A local one lasts as long as the command. Disk files always use a local one.
        disk: the boot options of disk files.
        may_pull: whether to pull images of releases that the local EC2 does not have; default no.
    """

    cloud: Cloud
    disk: Disk
    may_pull: bool = False


_DISK_OPTIONS = (
    pull_option,
    click.option(
        "--release", default="", help="The release of a disk file: code name or version; it determines the login user."
    ),
    click.option(
        "--kernel",
        type=INPUT_FILE,
        help="The kernel of a disk file without a boot loader.",
    ),
    click.option("--initrd", type=INPUT_FILE, help="The kernel's initrd."),
    click.option("--kernel-arguments", default="", help="The kernel's command line."),
)


def place_options(callback: Callable[..., None]) -> Callable[..., None]:
    """Add the options for the place of launches to a command, which receives them as `place`."""

    @wraps(callback)
    def with_place(
        *,
        cloud: Cloud,
        release: str,
        kernel: Path | None,
        initrd: Path | None,
        kernel_arguments: str,
        may_pull: bool,
        **kwargs: Any,
    ) -> None:
        check_pull(may_pull=may_pull, local=cloud.local)
        callback(place=Place(cloud, Disk(release, kernel, initrd, kernel_arguments), may_pull), **kwargs)

    return with_options(cloud_options(with_place, own_local=True), _DISK_OPTIONS)


def require_extras(command: str, needed: Mapping[str, str]) -> None:
    """Raise, before launching anything, if an extra is not installed.

    Args:
        command: the name of the command.
        needed: the extra of each required module.

    Raises:
        MissingPrerequisiteError: an extra is not installed.
    """
    for module, extra in needed.items():
        if find_spec(module) is None:
            raise MissingPrerequisiteError(f"{command} needs {module}: {install_extras(extra)}")


def is_disk(image: str) -> bool:
    """Return whether IMAGE is a disk file: an existing file, a path, or a name with a disk's suffix."""
    if image.startswith(AMI):
        return False
    return "/" in image or Path(image).suffix.lower() in DISK_SUFFIXES or Path(image).is_file()


@contextmanager
def connected(place: Place, tag: str, *, needs_local: bool, own_key: bool = True) -> Iterator[EC2]:
    """Open an EC2 session, and delete all created resources on exit.

    Args:
        place: the place of launches.
        tag: the name prefix of created resources.
        needs_local: whether an image is a disk file.
        own_key: whether to generate a key pair for this command; default yes, otherwise use the settings'.
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

    # Boot from scratch, as on EC2: a warm start is not the image's own boot.
    with plain_step("starting a local EC2"):
        local = undo.enter_context(LocalEC2(warm_start=False))
    return io.StringIO(local.info.settings_toml())


@dataclass(frozen=True)
class Launchable:
    """A resolved IMAGE argument.

    Args:
        image_id: the AMI id.
        label: the label in pictures.
        username: the login user; default the AMI's.
    """

    image_id: str
    label: str
    username: str | None = None


@contextmanager
def offered_disks(images: Iterable[str], disk: Disk) -> Iterator[dict[str, Launchable]]:
    """Offer disk files as AMIs on every local EC2 of this user while the context is active.

    Enter this context before `connected`, so that a disk is not removed from under an instance. Lookups of releases do
    not find these AMIs.

    Args:
        images: AMI ids, releases, and disk files.
        disk: the boot options of disk files.

    Yields:
        The AMIs by disk file.
    """
    with ExitStack() as undo:
        yield {image: undo.enter_context(_offered(Path(image), disk)) for image in images if is_disk(image)}


def launchable(ec2: EC2, image: str, offered: Mapping[str, Launchable], place: Place) -> Launchable:
    """Return the AMI of an IMAGE argument.

    Args:
        ec2: the EC2 session.
        image: an AMI id, a release, the name of an image, or a disk file.
        offered: the result of `offered_disks()`.
        place: the place of launches.
    """
    if image in offered:
        return offered[image]
    if image.startswith(AMI):
        return Launchable(image, image)
    if not place.cloud.local:
        return Launchable(_newest(ec2, image), image)
    from pycloudlib.local.images.sources.published import Wanted

    image_id = found_or_pulled(
        lambda: _newest(ec2, image),
        Wanted(image, daily=True),
        may_pull=place.may_pull,
        config_file=place.cloud.config_file,
    )
    return Launchable(image_id, image)


def _newest(ec2: EC2, image: str) -> str:
    from pycloudlib.ec2.images.lookup import image_id_of

    return image_id_of(image, by_release=ec2.daily_image, by_name=ec2.get_image_id_from_name)


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
        # The name of this AMI does not reveal the login user.
        yield Launchable(added.image_id, disk_file.stem, added.username or None)
    finally:
        catalogue.remove(added.image_id)
