"""DescribeImages, through EC2."""

from __future__ import annotations

import pytest

from pycloudlib.cloud import ImageType
from pycloudlib.ec2.cloud import EC2
from pycloudlib.errors import ImageNotFoundError, InvalidArgumentError


def test_the_daily_image_is_the_newest_one(ec2: EC2) -> None:
    found = ec2.client.describe_images(
        Owners=["903794441882"], Filters=[{"Name": "name", "Values": ["debian-12-amd64-daily-*"]}]
    )["Images"]
    newest = max(found, key=lambda image: image["CreationDate"])
    assert ec2.daily_image("bookworm") == newest["ImageId"]


def test_a_release_goes_by_its_version_number_too(ec2: EC2) -> None:
    assert ec2.daily_image("12") == ec2.daily_image("bookworm")


def test_an_image_tells_its_serial(ec2: EC2, image_id: str) -> None:
    assert ec2.image_serial(image_id)[:8].isdigit()


def test_an_image_is_found_by_its_name(ec2: EC2, image_id: str) -> None:
    (image,) = ec2.client.describe_images(ImageIds=[image_id])["Images"]
    assert ec2.get_image_id_from_name(image["Name"]) == image_id


def test_a_name_that_no_image_has_is_not_found(ec2: EC2) -> None:
    with pytest.raises(ImageNotFoundError, match="no-such-image"):
        ec2.get_image_id_from_name("no-such-image")


def test_when_there_is_no_image_the_filters_are_named(ec2: EC2) -> None:
    with pytest.raises(ImageNotFoundError, match=r"aws-marketplace.*ubuntu-pro-fips-server"):
        ec2.released_image("focal", image_type=ImageType.PRO_FIPS)


def test_an_unknown_release_is_refused(ec2: EC2) -> None:
    with pytest.raises(InvalidArgumentError, match="bookworm"):
        ec2.daily_image("bookwurm")
