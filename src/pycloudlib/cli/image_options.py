"""The shared options for the image of a release."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pycloudlib import EC2, ImageType

IMAGE_TYPES = ("generic", "minimal", "pro", "pro-fips", "pro-fips-updates")
ARCHITECTURES = ("x86_64", "arm64")

architecture_option = click.option(
    "--arch", type=click.Choice(ARCHITECTURES), default=ARCHITECTURES[0], show_default=True
)

_OPTIONS = (
    click.option("--daily", is_flag=True, help="The daily build; default: the released image."),
    architecture_option,
    click.option("--image-type", type=click.Choice(IMAGE_TYPES), default=IMAGE_TYPES[0], show_default=True),
)


def image_options(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the image of a release to a command."""
    for option in reversed(_OPTIONS):
        callback = option(callback)
    return callback


def image_kind(name: str) -> ImageType:
    """Return the image type of a value of `--image-type`."""
    from pycloudlib import ImageType

    return ImageType[name.upper().replace("-", "_")]


def newest_image(ec2: EC2, image: str, *, daily: bool, arch: str, image_type: str) -> str:
    """Return the AMI id of an image.

    Args:
        ec2: the EC2 session.
        image: an AMI id, a release, or the name of an image.
        daily: whether to use the daily build of a release.
        arch: the architecture of a release.
        image_type: the image type of a release; one of IMAGE_TYPES.

    Raises:
        InvalidArgumentError: there is neither a release nor an image of that name.
        ImageNotFoundError: no image of the release matches.
    """
    from pycloudlib.ec2.images.lookup import image_id_of

    find = partial(ec2.daily_image if daily else ec2.released_image, arch=arch, image_type=image_kind(image_type))
    return image_id_of(image, by_release=find, by_name=ec2.get_image_id_from_name)
