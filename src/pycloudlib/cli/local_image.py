"""`pycloudlib local image`: the disk images that a local EC2 offers as AMIs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pycloudlib.cli.cloud import json_option
from pycloudlib.cli.command_words import SuggestingGroup
from pycloudlib.cli.examples import examples
from pycloudlib.cli.output import print_json
from pycloudlib.errors import ImageError, ImageNotFoundError

if TYPE_CHECKING:
    from pycloudlib.local.images.catalog import Catalog, Image

GIB = 1024**3


@click.group(cls=SuggestingGroup)
def image() -> None:
    """Build, add, list, and remove the images that a local EC2 offers."""


@image.command(epilog=examples("pycloudlib local image build"))
@click.option("--release", default="bookworm", show_default=True, help="Debian release.")
@click.option("--force", is_flag=True, help="Build it again even if there is one.")
@json_option
def build(release: str, force: bool, as_json: bool) -> None:
    """Build the default image from Debian's packages in a minute or two. Later builds need no downloads."""
    from pycloudlib.local.images.builder import build as build_image

    progress = partial(click.echo, err=as_json)
    _tell(build_image(_catalogue(), release=release, progress=progress, force=force), as_json=as_json)


@image.command("list", epilog=examples("pycloudlib local image list --json"))
@json_option
def list_images(as_json: bool) -> None:
    """List the images with their AMI ids."""
    images = _catalogue().images()
    if as_json:
        print_json([_facts(one) for one in images])
        return
    for one in images:
        click.echo(f"{one.image_id}  {one.owner_id}  {one.virtual_size / GIB:6.1f} GiB  {one.name}")
    if not images:
        click.echo("There is no image yet: pycloudlib local image build", err=True)


@image.command()
@click.option("--release", required=True, help="Code name or version, such as noble, 24.04 or bookworm.")
@click.option(
    "--file",
    "disk_file",
    required=True,
    type=click.Path(path_type=Path),
    help="The disk: raw or qcow2, with a boot loader of its own.",
)
@click.option("--name", help="AMI name; default: as the distribution names its own.")
@click.option(
    "--image-type",
    default="generic",
    show_default=True,
    help="Ubuntu: generic, minimal, pro, pro-fips, or pro-fips-updates.",
)
@json_option
def add(release: str, disk_file: Path, name: str | None, image_type: str, as_json: bool) -> None:
    """Add a disk image, under its distribution's owner and name pattern.

    \b
    Example:
      pycloudlib local image add --release noble --file noble-server-cloudimg-amd64.img
      pycloudlib local image add --release noble --image-type minimal --file noble-minimal-cloudimg-amd64.img
    """  # noqa: D301  (click takes a backspace for: leave the next paragraph as it is)
    _tell(_catalogue().add(disk_file, release=release, name=name, image_type=image_type), as_json=as_json)


@image.command(epilog=examples("pycloudlib local image remove ami-0123456789abcdef0"))
@click.argument("image", metavar="IMAGE")
def remove(image: str) -> None:
    """Remove an image and its disk, by AMI id or name."""
    catalogue = _catalogue()
    try:
        catalogue.find(image)
    except ImageError as error:
        raise ImageNotFoundError(image, message=str(error)) from error
    catalogue.remove(image)
    click.echo(f"Removed {image}.")


def _tell(image: Image, *, as_json: bool) -> None:
    if as_json:
        print_json(_facts(image))
    else:
        click.echo(f"{image.image_id}  {image.name}")


def _facts(image: Image) -> dict[str, str]:
    """Return the attributes of an image for `--json`."""
    return {"image_id": image.image_id, "name": image.name, "owner_id": image.owner_id, "disk": str(image.disk)}


def _catalogue() -> Catalog:
    from pycloudlib.local import paths
    from pycloudlib.local.images.catalog import Catalog

    return Catalog(paths.images_dir())
