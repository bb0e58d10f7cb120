from __future__ import annotations

import pytest

from pycloudlib.cloud import ImageType
from pycloudlib.ec2.images import MARKETPLACE_OWNER, Image, Images, release_query
from pycloudlib.errors import ImageNotFoundError, InvalidArgumentError
from support.moto_server import BOOKWORM_DAILY, DEBIAN, DEBIAN_DAILY, NOBLE_DAILY, UBUNTU


@pytest.mark.parametrize(
    ("release", "daily", "image_type", "owner", "name"),
    [
        ("bookworm", False, ImageType.GENERIC, DEBIAN, "debian-12-amd64-*"),
        ("12", True, ImageType.GENERIC, DEBIAN_DAILY, "debian-12-amd64-daily-*"),
        ("jammy", False, ImageType.GENERIC, UBUNTU, "ubuntu/images/hvm-ssd/ubuntu-jammy-*-server-*"),
        ("jammy", True, ImageType.GENERIC, UBUNTU, "ubuntu/images-testing/hvm-ssd/ubuntu-jammy-daily-*-server-*"),
        ("noble", False, ImageType.GENERIC, UBUNTU, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-*-server-*"),
        (
            "24.04",
            True,
            ImageType.MINIMAL,
            UBUNTU,
            "ubuntu-minimal/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-*-minimal-*",
        ),
        ("jammy", False, ImageType.PRO, UBUNTU, "ubuntu-pro-server/images/hvm-ssd/ubuntu-jammy-*"),
        ("focal", True, ImageType.PRO_FIPS, MARKETPLACE_OWNER, "ubuntu-pro-fips-server/images/hvm-ssd/ubuntu-focal-*"),
        (
            "focal",
            False,
            ImageType.PRO_FIPS_UPDATES,
            MARKETPLACE_OWNER,
            "ubuntu-pro-fips-updates-server/images/hvm-ssd/ubuntu-focal-*",
        ),
    ],
)
def test_each_release_has_its_owner_and_name(
    release: str, daily: bool, image_type: ImageType, owner: str, name: str
) -> None:
    query = release_query(release, daily=daily, image_type=image_type)
    assert (query.owners, query.filters["name"]) == ((owner,), name)


@pytest.mark.parametrize(
    ("arch", "ec2s_name", "debians_name"),
    [
        ("x86_64", "x86_64", "amd64"),
        ("amd64", "x86_64", "amd64"),
        ("arm64", "arm64", "arm64"),
        ("aarch64", "arm64", "arm64"),
    ],
)
def test_architectures_go_by_either_name(arch: str, ec2s_name: str, debians_name: str) -> None:
    query = release_query("trixie", daily=False, arch=arch)
    assert query.filters["architecture"] == ec2s_name
    assert query.filters["name"] == f"debian-13-{debians_name}-*"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"release_name": "bookwurm"}, "did you mean 'bookworm'"),
        ({"release_name": "noble", "arch": "mips"}, "unknown architecture 'mips'"),
        ({"release_name": "bookworm", "image_type": ImageType.MINIMAL}, "Debian has no minimal images"),
    ],
)
def test_what_there_is_not_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        release_query(daily=True, **arguments)


def test_the_newest_image_of_the_right_owner_is_found(moto_client) -> None:
    assert Images(moto_client).newest(release_query("bookworm", daily=True)).image_id == BOOKWORM_DAILY
    assert Images(moto_client).newest(release_query("noble", daily=True)).image_id == NOBLE_DAILY


def test_when_nothing_matches_the_filters_are_named(moto_client) -> None:
    with pytest.raises(ImageNotFoundError, match=r"us-east-1.*owners 099720109477.*name=.*ubuntu-focal"):
        Images(moto_client).newest(release_query("focal", daily=False))


def test_an_image_is_found_by_its_name_among_known_owners_only(moto_client) -> None:
    images = Images(moto_client)
    assert images.named("debian-12-amd64-daily-2025010*").image_id == BOOKWORM_DAILY
    assert images.named("debian-12-arm64-daily-20250105-1004").image_id == "ami-00000000000000014"


def test_an_image_is_asked_for_once(moto_client) -> None:
    calls: list[str] = []
    moto_client.meta.events.register("before-call.ec2.*", lambda model, **_: calls.append(model.name))
    images = Images(moto_client)
    assert images.get(BOOKWORM_DAILY) is images.get(BOOKWORM_DAILY)
    assert calls == ["DescribeImages"]


def test_an_image_knows_its_root_volume(moto_client) -> None:
    image = Images(moto_client).get(BOOKWORM_DAILY)
    assert (image.root_device_name, image.root_size_gb) == ("/dev/xvda", 15)


@pytest.mark.parametrize("image_id", ["ami-0123456789abcdef0", "nonsense"])
def test_an_unknown_image_is_named(moto_client, image_id: str) -> None:
    with pytest.raises(ImageNotFoundError, match=image_id):
        Images(moto_client).get(image_id)


@pytest.mark.parametrize(
    ("name", "serial"),
    [
        ("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20240423", "20240423"),
        ("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20240423.1", "20240423.1"),
        ("debian-12-amd64-daily-20240423-1726", "20240423-1726"),
        ("ubuntu-pro-fips-server/images/hvm-ssd/ubuntu-focal-20.04-amd64-x-20240423-1234abcd-12ab", "20240423"),
        ("mine", None),
    ],
)
def test_the_serial_is_in_the_name(name: str, serial: str | None) -> None:
    assert Image("ami-1", name=name).serial == serial


@pytest.mark.parametrize(
    ("owner_id", "name", "username"),
    [
        (UBUNTU, "whatever", "ubuntu"),
        (DEBIAN, "whatever", "admin"),
        (DEBIAN_DAILY, "whatever", "admin"),
        ("1", "ubuntu-pro-server/x", "ubuntu"),
        ("1", "debian-12-copy", "admin"),
        ("1", "al2023-ami-x", "ec2-user"),
        ("1", "mine", None),
    ],
)
def test_owner_or_name_tells_the_login_user(owner_id: str, name: str, username: str | None) -> None:
    assert Image("ami-1", name=name, owner_id=owner_id).username == username
