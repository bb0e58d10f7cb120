"""Lookup of an image that a user names: by AMI id, release, or name."""

from __future__ import annotations

import re
from collections.abc import Callable

from pycloudlib.errors import ImageNotFoundError, InvalidArgumentError
from pycloudlib.releases import is_release, unknown_release

_AMI_ID = re.compile(r"ami-[0-9a-f]+")

Lookup = Callable[[str], str]
"""Returns the AMI id for a release, or for a name."""


def image_id_of(image: str, *, by_release: Lookup, by_name: Lookup) -> str:
    """Return the AMI id of an image.

    Args:
        image: an AMI id, a release, or the name of an image.
        by_release: looks up the newest image of a release, such as `EC2.released_image`.
        by_name: looks up the newest image of a name, such as `EC2.get_image_id_from_name`.

    Raises:
        ImageNotFoundError: the release has no image.
        InvalidArgumentError: there is neither a release nor an image of that name.
    """
    if _AMI_ID.fullmatch(image):
        return image
    if is_release(image):
        return by_release(image)
    try:
        return by_name(image)
    except ImageNotFoundError as error:
        message = unknown_release(image)
        start = " There" if message.endswith("?") else "; there"
        raise InvalidArgumentError(f"{message}{start} is no image of this name either") from error
