"""Which image of a release is meant: the options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pycloudlib import EC2, ImageType

IMAGE_TYPES = ("generic", "minimal", "pro", "pro-fips", "pro-fips-updates")
ARCHITECTURES = ("x86_64", "arm64")

_OPTIONS = (
    click.option("--daily", is_flag=True, help="The daily build; default: the released image."),
    click.option("--arch", type=click.Choice(ARCHITECTURES), default=ARCHITECTURES[0], show_default=True),
    click.option("--image-type", type=click.Choice(IMAGE_TYPES), default=IMAGE_TYPES[0], show_default=True),
)


def image_options(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which image of a release is meant."""
    for option in reversed(_OPTIONS):
        callback = option(callback)
    return callback


def image_kind(name: str) -> ImageType:
    """What `--image-type` calls by this name."""
    from pycloudlib import ImageType

    return ImageType[name.upper().replace("-", "_")]


def newest_image(ec2: EC2, image: str, *, daily: bool, arch: str, image_type: str) -> str:
    """Give the AMI that is meant.

    Args:
        ec2: where.
        image: an AMI id, or a release.
        daily: whether the daily build of a release is meant.
        arch: of a release.
        image_type: of a release; one of IMAGE_TYPES.

    Raises:
        InvalidArgumentError: there is no such release.
        ImageNotFoundError: there is no image of it.
    """
    if image.startswith("ami-"):
        return image
    find = ec2.daily_image if daily else ec2.released_image
    return find(image, arch=arch, image_type=image_kind(image_type))
