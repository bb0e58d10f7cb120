"""Images that users name by AMI id, release, or name."""

from __future__ import annotations

from typing import NoReturn

import pytest

from pycloudlib.ec2.images.lookup import image_id_of
from pycloudlib.errors import ImageNotFoundError, InvalidArgumentError


def of_release(release: str) -> str:
    return f"newest of {release}"


def of_name(name: str) -> str:
    return f"named {name}"


def missing(name: str) -> NoReturn:
    raise ImageNotFoundError(resource_name=name)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("ami-0123456789abcdef0", "ami-0123456789abcdef0"),
        ("noble", "newest of noble"),
        ("12", "newest of 12"),
        ("Bookworm", "newest of Bookworm"),
        ("my-debian", "named my-debian"),
        ("ami-of-mine", "named ami-of-mine"),
    ],
)
def test_image_is_named_by_id_release_or_name(image: str, found: str) -> None:
    assert image_id_of(image, by_release=of_release, by_name=of_name) == found


def test_missing_image_of_a_release_is_not_looked_up_by_name() -> None:
    with pytest.raises(ImageNotFoundError):
        image_id_of("noble", by_release=missing, by_name=of_name)


@pytest.mark.parametrize(
    ("image", "advice"), [("nobel", r"did you mean 'noble'\? There"), ("my-debian", "known ones: trusty .*; there")]
)
def test_unknown_name_is_refused_with_the_releases(image: str, advice: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^unknown release '{image}'.*{advice}.*no image of this name"):
        image_id_of(image, by_release=of_release, by_name=missing)
