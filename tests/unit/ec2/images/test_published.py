"""Which image is found, in a catalogue of several dates, types and architectures, with other people's images in it."""

from __future__ import annotations

import pytest

from pycloudlib.cloud import ImageType
from pycloudlib.ec2.cloud import EC2
from pycloudlib.errors import ImageNotFoundError

GENERIC, MINIMAL, PRO = ImageType.GENERIC, ImageType.MINIMAL, ImageType.PRO
FIPS, FIPS_UPDATES = ImageType.PRO_FIPS, ImageType.PRO_FIPS_UPDATES


def named(ec2: EC2, image_id: str) -> str:
    return ec2.image(image_id).name


@pytest.mark.parametrize(
    ("release", "arch", "image_type", "name"),
    [
        ("noble", "x86_64", GENERIC, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20250110.1"),
        ("24.04", "arm64", GENERIC, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-20250111"),
        ("noble", "x86_64", MINIMAL, "ubuntu-minimal/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-minimal-20250120"),
        ("jammy", "x86_64", GENERIC, "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20250111"),
        ("jammy", "aarch64", GENERIC, "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-arm64-server-20250112"),
        ("jammy", "x86_64", MINIMAL, "ubuntu-minimal/images/hvm-ssd/ubuntu-jammy-22.04-amd64-minimal-20250113"),
        ("jammy", "x86_64", PRO, "ubuntu-pro-server/images/hvm-ssd/ubuntu-jammy-22.04-amd64-pro-server-20250115"),
        ("focal", "x86_64", PRO, "ubuntu-pro-server/images/hvm-ssd/ubuntu-focal-20.04-amd64-pro-server-20250116"),
        (
            "focal",
            "x86_64",
            FIPS,
            "ubuntu-pro-fips-server/images/hvm-ssd/ubuntu-focal-20.04-amd64-pro-fips-server-20250117-1a2b",
        ),
        (
            "focal",
            "x86_64",
            FIPS_UPDATES,
            "ubuntu-pro-fips-updates-server/images/hvm-ssd/"
            "ubuntu-focal-20.04-amd64-pro-fips-updates-server-20250118-3c4d",
        ),
        ("bookworm", "x86_64", GENERIC, "debian-12-amd64-20250101-1000"),
        ("trixie", "amd64", GENERIC, "debian-13-amd64-20250120-2"),
        ("13", "arm64", GENERIC, "debian-13-arm64-20250115-3"),
    ],
)
def test_the_newest_released_image_of_the_type_and_architecture_is_found(
    ec2: EC2, release: str, arch: str, image_type: ImageType, name: str
) -> None:
    assert named(ec2, ec2.released_image(release, arch=arch, image_type=image_type)) == name


@pytest.mark.parametrize(
    ("release", "arch", "image_type", "name"),
    [
        ("noble", "x86_64", GENERIC, "ubuntu/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-amd64-server-20250114"),
        ("noble", "arm64", GENERIC, "ubuntu/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-arm64-server-20250113"),
        (
            "noble",
            "x86_64",
            MINIMAL,
            "ubuntu-minimal/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-amd64-minimal-20250121",
        ),
        ("jammy", "x86_64", PRO, "ubuntu-pro-server/images/hvm-ssd/ubuntu-jammy-22.04-amd64-pro-server-20250115"),
        ("bookworm", "x86_64", GENERIC, "debian-12-amd64-daily-20250104-1003"),
        ("bookworm", "arm64", GENERIC, "debian-12-arm64-daily-20250105-1004"),
        ("trixie", "arm64", GENERIC, "debian-13-arm64-daily-20250122-4"),
    ],
)
def test_the_newest_daily_image_of_the_type_and_architecture_is_found(
    ec2: EC2, release: str, arch: str, image_type: ImageType, name: str
) -> None:
    assert named(ec2, ec2.daily_image(release, arch=arch, image_type=image_type)) == name


@pytest.mark.parametrize(
    ("release", "arch", "image_type"),
    [
        ("focal", "x86_64", GENERIC),  # only Pro ones are there
        ("focal", "x86_64", MINIMAL),
        ("jammy", "x86_64", FIPS),
        ("jammy", "x86_64", FIPS_UPDATES),
        ("focal", "arm64", FIPS),
        ("noble", "arm64", MINIMAL),
        ("noble", "x86_64", PRO),
    ],
)
def test_no_image_of_another_type_or_architecture_stands_in(
    ec2: EC2, release: str, arch: str, image_type: ImageType
) -> None:
    with pytest.raises(ImageNotFoundError, match=r"owners .*; filters name="):
        ec2.released_image(release, arch=arch, image_type=image_type)
    with pytest.raises(ImageNotFoundError):
        ec2.daily_image(release, arch=arch, image_type=image_type)


def test_images_are_listed_by_owner_and_filter(ec2: EC2) -> None:
    canonicals = ec2.images(owner="099720109477", name="ubuntu/images/*", architecture="arm64")
    assert [image.name for image in canonicals] == [
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-20250111",
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-arm64-server-20250112",
    ]
    both = ec2.images(owner=["136693071363", "903794441882"], name="debian-13-*")
    assert {image.owner_id for image in both} == {"136693071363", "903794441882"}
    assert any(image.owner_id == "111111111111" for image in ec2.images(owner=None, name="*"))
