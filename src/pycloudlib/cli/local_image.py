"""`pycloudlib local image`: the disk images that a local EC2 offers as AMIs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pycloudlib.cli.cloud import config_option, json_option
from pycloudlib.cli.examples import examples
from pycloudlib.cli.files import INPUT_FILE, OUTPUT_FILE, check_writing
from pycloudlib.cli.image_options import architecture_option, image_options
from pycloudlib.cli.output import print_json, print_rows
from pycloudlib.cli.parsing import SuggestingGroup
from pycloudlib.errors import ImageError, ImageNotFoundError
from pycloudlib.releases import DEFAULT_RELEASE

if TYPE_CHECKING:
    from pycloudlib.local.images.catalog import Catalog, Image

MIB = 1024**2
GIB = 1024**3
AVAILABLE = "pycloudlib local image list --available noble"


@click.group(cls=SuggestingGroup)
def image() -> None:
    """Pull, build, add, export, list, and remove the images that a local EC2 offers."""


@image.command(
    epilog=examples(
        "pycloudlib local image build",
        "pycloudlib local image build --release bookworm",
        "pycloudlib local image build --arch arm64",
        "pycloudlib local image build --name with-nginx --include nginx --customize ./configure-nginx",
    )
)
@click.option(
    "--release", default=DEFAULT_RELEASE, show_default=True, help="The Debian release: trixie, bookworm, or sid."
)
@architecture_option
@click.option("--name", help="The AMI name of an image of your own; default: Debian's names.")
@click.option("--include", metavar="PACKAGE", multiple=True, help="A further package; repeatable. Needs --name.")
@click.option(
    "--customize",
    metavar="PROGRAM",
    type=INPUT_FILE,
    help="A program that runs in the image at the end of the build. Needs --name.",
)
@click.option("--force", is_flag=True, help="Rebuild an existing image.")
@click.option("--print-recipe", is_flag=True, help="Print the hash of the recipe, to name a cache by; build nothing.")
@json_option
def build(
    *,
    release: str,
    arch: str,
    name: str | None,
    include: tuple[str, ...],
    customize: Path | None,
    force: bool,
    print_recipe: bool,
    as_json: bool,
) -> None:
    """Build the default image from Debian's packages in a minute or two. Later builds need no downloads."""
    from pycloudlib.local.images.builder import build as build_image
    from pycloudlib.local.images.builder import recipe_of

    if (include or customize) and name is None:
        raise click.UsageError("--include and --customize need --name, for an image of your own")
    if print_recipe:
        recipe = recipe_of(release, architecture=arch, name=name, include=include, customize=customize)
        click.echo(recipe.digest)
        return
    built = build_image(
        _catalogue(),
        release=release,
        architecture=arch,
        name=name,
        include=include,
        customize=customize,
        progress=partial(click.echo, err=as_json),
        force=force,
    )
    _print_image(built, as_json=as_json)


@image.command(
    epilog=examples(
        "pycloudlib local image pull bookworm noble",
        "pycloudlib local image pull noble --daily --image-type minimal",
        "pycloudlib local image pull trixie --serial 20251006-2257",
    )
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@image_options
@click.option("--serial", help="The serial of the build, such as 20240423; default: the newest one.")
@click.option("--mirror", metavar="URL", help="A mirror of the publisher's server; default: from the settings.")
@config_option
@json_option
def pull(
    *,
    names: tuple[str, ...],
    daily: bool,
    arch: str,
    image_type: str,
    serial: str | None,
    mirror: str | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Download images of releases from their publishers, and verify them.

    NAME is a release, such as noble, 24.04, or bookworm. An image is offered under the owner and the name of its AMI on
    EC2. An interrupted download is resumed.
    """
    from pycloudlib.cli.image_sources import pull as pull_images
    from pycloudlib.local.images.sources.published import Wanted

    requested = [Wanted(name, daily, arch, image_type, serial) for name in names]
    images = pull_images(requested, config_file=config_file, mirror=mirror)
    if as_json:
        print_json([_facts(image) for image in images])
        return
    for image in images:
        _print_image(image, as_json=False)


@image.command(epilog=examples("pycloudlib local image prune", "pycloudlib local image prune --keep 3"))
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="The number of pulled builds to keep of each image.",
)
@json_option
def prune(keep: int, as_json: bool) -> None:
    """Remove pulled images that newer ones replace, and the remains of downloads.

    Images that were built or added remain, and so do images that instances use.
    """
    from pycloudlib.local.images.sources.prune import prune as prune_images

    pruned = prune_images(_catalogue(), keep=keep)
    if as_json:
        print_json({"removed": pruned.removed, "in_use": pruned.in_use, "freed_bytes": pruned.freed})
        return
    for name in pruned.removed:
        click.echo(f"Removed {name}.")
    for name in pruned.in_use:
        click.echo(f"{name} is in use.", err=True)
    click.echo(f"Freed {pruned.freed / MIB:.0f} MiB.")


@image.command("list", epilog=examples("pycloudlib local image list --json", AVAILABLE))
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--available", is_flag=True, help="List available images: the serials of NAME, or all releases.")
@image_options
@config_option
@json_option
def list_images(
    *,
    names: tuple[str, ...],
    available: bool,
    daily: bool,
    arch: str,
    image_type: str,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """List the images with their AMI ids, or with --available those that could be pulled."""
    if available:
        _list_available(names, config_file, as_json=as_json, daily=daily, architecture=arch, image_type=image_type)
        return
    if names:
        raise click.UsageError("NAME needs --available")
    images = _catalogue().images()
    if as_json:
        print_json([_facts(listed) for listed in images])
        return
    for listed in images:
        click.echo(f"{listed.image_id}  {listed.owner_id}  {listed.virtual_size / GIB:6.1f} GiB  {listed.name}")
    if not images:
        click.echo(
            "There is no image yet: run `pycloudlib local image build`, or `pycloudlib local image pull NAME`", err=True
        )


def _list_available(names: tuple[str, ...], config_file: Path | None, *, as_json: bool, **traits: Any) -> None:
    from pycloudlib.cli.image_sources import puller
    from pycloudlib.local.images.sources.published import Wanted
    from pycloudlib.local.images.sources.pull import SOURCES

    if not names:
        rows = [(source.name, release) for source in SOURCES for release in source.releases()]
        columns = ("publisher", "name")
    else:
        source = puller(config_file)
        rows = [(name, serial) for name in names for serial in source.serials(Wanted(name, **traits))]
        columns = ("name", "serial")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    print_rows(columns, [[*row] for row in rows])
    if not rows:
        click.echo("No build matches.", err=True)


@image.command()
@click.option("--release", required=True, help="The code name or version, such as noble, 24.04, or bookworm.")
@click.option(
    "--file",
    "disk_file",
    required=True,
    type=INPUT_FILE,
    help="The disk, raw or qcow2; without a boot loader, --kernel is required.",
)
@click.option("--name", help="The AMI name; default: the distribution's own scheme.")
@click.option(
    "--image-type",
    default="generic",
    show_default=True,
    help="The Ubuntu image type: generic, minimal, pro, pro-fips, or pro-fips-updates.",
)
@architecture_option
@click.option("--kernel", type=INPUT_FILE, help="The kernel of a disk without a boot loader.")
@click.option("--initrd", type=INPUT_FILE, help="The initrd of --kernel.")
@click.option("--append", default="", help="The kernel command line for --kernel.")
@click.option("--secure-boot", is_flag=True, help="Boot by UEFI with Secure Boot and Microsoft's keys.")
@json_option
def add(
    *,
    release: str,
    disk_file: Path,
    name: str | None,
    image_type: str,
    arch: str,
    kernel: Path | None,
    initrd: Path | None,
    append: str,
    secure_boot: bool,
    as_json: bool,
) -> None:
    """Add a disk image, under its distribution's owner and name pattern.

    \b
    Example:
      pycloudlib local image add --release noble --file noble-server-cloudimg-amd64.img
      pycloudlib local image add --release noble --image-type minimal --file noble-minimal-cloudimg-amd64.img
    """  # noqa: D301  (click takes a backspace for: leave the next paragraph as it is)
    if kernel is None and (initrd or append):
        raise click.UsageError("--initrd and --append need --kernel")
    if kernel is not None and secure_boot:
        raise click.UsageError("--secure-boot needs a disk with a boot loader: omit --kernel")
    added = _catalogue().add(
        disk_file,
        release=release,
        name=name,
        image_type=image_type,
        architecture=arch,
        kernel=kernel,
        initrd=initrd,
        kernel_arguments=append,
        uefi_data=_microsoft_keys(arch) if secure_boot else "",
    )
    _print_image(added, as_json=as_json)


@image.command(epilog=examples("pycloudlib local image export debian-12-amd64-20261120-1641 --file my-debian.qcow2"))
@click.argument("image", metavar="IMAGE")
@click.option(
    "--file",
    "disk_file",
    required=True,
    type=OUTPUT_FILE,
    help="The file to create: raw if it ends in .raw or .img, otherwise qcow2.",
)
def export(image: str, disk_file: Path) -> None:
    """Copy the disk of an image to a file, by AMI id or name, to change it and add it again."""
    from pycloudlib.local import qemu_img

    check_writing([disk_file])
    source = _find(_catalogue(), image)
    disk_format = "raw" if disk_file.suffix in (".raw", ".img") else "qcow2"
    qemu_img.export(source.disk, disk_file, source_format=source.format, destination_format=disk_format)
    click.echo(str(disk_file))


@image.command(epilog=examples("pycloudlib local image remove ami-0123456789abcdef0"))
@click.argument("image", metavar="IMAGE")
def remove(image: str) -> None:
    """Remove an image and its disk, by AMI id or name."""
    from pycloudlib.local.images.sources.prune import remove as remove_image

    catalogue = _catalogue()
    remove_image(catalogue, _find(catalogue, image))
    click.echo(f"Removed {image}.")


def _microsoft_keys(architecture: str) -> str:
    from pycloudlib.local.machines.firmware import microsoft_keys
    from pycloudlib.local.machines.platforms import PLATFORMS

    return microsoft_keys(PLATFORMS[architecture])


def _find(catalogue: Catalog, image: str) -> Image:
    try:
        return catalogue.find(image)
    except ImageError as error:
        raise ImageNotFoundError(image, message=str(error)) from error


def _print_image(image: Image, *, as_json: bool) -> None:
    if as_json:
        print_json(_facts(image))
    else:
        click.echo(f"{image.image_id}  {image.name}")


def _facts(image: Image) -> dict[str, str]:
    """Return the attributes of an image for `--json`."""
    return {
        "image_id": image.image_id,
        "name": image.name,
        "owner_id": image.owner_id,
        "disk": str(image.disk),
        "architecture": image.architecture,
        "boot_mode": image.boot_mode,
        "source": image.source,
    }


def _catalogue() -> Catalog:
    from pycloudlib.local import paths
    from pycloudlib.local.images.catalog import Catalog

    return Catalog(paths.images_dir())
