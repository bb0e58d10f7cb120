"""`pycloudlib local image`: the disk images that a local EC2 offers as AMIs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pycloudlib.cli.examples import examples

if TYPE_CHECKING:
    from pycloudlib.local.images import Catalogue

GIB = 1024**3


@click.group()
def image() -> None:
    """Build, add, list and remove the images that a local EC2 offers."""


@image.command(epilog=examples("pycloudlib local image build"))
@click.option("--release", default="bookworm", show_default=True, help="Debian release.")
@click.option("--force", is_flag=True, help="Build it again even if there is one.")
def build(release: str, force: bool) -> None:
    """Build the default image from Debian's packages; takes a minute or two and needs no download again."""
    from pycloudlib.local.image_builder import build as build_image

    built = build_image(_catalogue(), release=release, progress=click.echo, force=force)
    click.echo(f"{built.image_id}  {built.name}")


@image.command("list", epilog=examples("pycloudlib local image list --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_images(as_json: bool) -> None:
    """List the images, as the AMIs that they are offered as."""
    images = _catalogue().images()
    if as_json:
        rows = [
            {"image_id": one.image_id, "name": one.name, "owner_id": one.owner_id, "disk": str(one.disk)}
            for one in images
        ]
        click.echo(json.dumps(rows, indent=2))
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
def add(release: str, disk_file: Path, name: str | None) -> None:
    """Offer any other disk image, under the owner and name pattern of its distribution.

    \b
    Example:
      pycloudlib local image add --release noble --file noble-server-cloudimg-amd64.img
    """  # noqa: D301  (click takes a backspace for: leave the next paragraph as it is)
    added = _catalogue().add(disk_file, release=release, name=name)
    click.echo(f"{added.image_id}  {added.name}")


@image.command(epilog=examples("pycloudlib local image remove ami-0123456789abcdef0"))
@click.argument("image", metavar="IMAGE")
def remove(image: str) -> None:
    """Remove an image, by AMI id or name, and its disk."""
    _catalogue().remove(image)
    click.echo(f"Removed {image}.")


def _catalogue() -> Catalogue:
    from pycloudlib.local import paths
    from pycloudlib.local.images import Catalogue

    return Catalogue(paths.images_dir())
