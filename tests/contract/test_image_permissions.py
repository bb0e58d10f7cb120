"""Who may launch an image: read back after each change."""

from __future__ import annotations

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.images.image import Image
from pycloudlib.ec2.images.launch_permissions import LaunchPermissions
from pycloudlib.errors import InvalidArgumentError

ONE, OTHER = "210987654321", "111122223333"


@pytest.fixture
def image(ec2: EC2) -> Image:
    return ec2.image(ec2.register_image(ec2.create_volume(1).snapshot(), f"{ec2.tag} shared"))


def test_an_image_is_private_in_the_beginning(image: Image) -> None:
    assert image.launch_permissions() == LaunchPermissions()
    assert image.launch_permissions().private


def test_an_image_is_shared_with_accounts_and_unshared(image: Image) -> None:
    image.share(ONE)
    assert image.launch_permissions().account_ids == (ONE,)
    image.share([ONE, OTHER])
    assert image.launch_permissions().account_ids == (OTHER, ONE)
    assert not image.launch_permissions().private
    image.unshare([ONE])
    assert image.launch_permissions().account_ids == (OTHER,)
    image.unshare([ONE, OTHER])
    assert image.launch_permissions().private


def test_an_image_is_shared_with_everybody_and_unshared(image: Image) -> None:
    image.share("all")
    assert image.launch_permissions() == LaunchPermissions(everybody=True)
    image.unshare("all")
    assert image.launch_permissions().private


def test_a_private_image_is_shared_with_nobody(image: Image) -> None:
    image.share("all")
    image.share([ONE, OTHER])
    assert image.launch_permissions() == LaunchPermissions(everybody=True, account_ids=(OTHER, ONE))
    image.make_private()
    assert image.launch_permissions().private
    image.make_private()
    assert image.launch_permissions().private


@pytest.mark.parametrize("wrong", ["12345678901", "1234567890123", "12345678901x", "", [], [ONE, "ALL"], 210987654321])
def test_what_is_no_account_is_refused_and_nothing_is_changed(image: Image, wrong: object) -> None:
    for change in (image.share, image.unshare):
        with pytest.raises(InvalidArgumentError, match="12 digits"):
            change(wrong)
    assert image.launch_permissions().private
