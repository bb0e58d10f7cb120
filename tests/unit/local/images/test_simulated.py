"""The catalogue of a simulated cloud: names, kinds, days and architectures as the publishers have them."""

from __future__ import annotations

import re
from itertools import product

import pytest

from pycloudlib.local.images.catalog import Image
from pycloudlib.local.images.distributions import CANONICAL, MARKETPLACE
from pycloudlib.local.images.simulated import ARCHITECTURES, OUT_OF_SUPPORT, PUBLISHED, WITHDRAWN, SimulatedCatalog
from pycloudlib.releases import LTS_RELEASES, UBUNTU_RELEASE_VERSION_MAP

ARCH = {"x86_64": "amd64", "arm64": "arm64"}


@pytest.fixture(scope="module")
def images() -> list[Image]:
    return SimulatedCatalog().images()


def named(images: list[Image], pattern: str) -> list[Image]:
    return [image for image in images if re.fullmatch(pattern, image.name)]


@pytest.mark.parametrize(
    ("release", "architecture", "pattern", "owner_id"),
    [
        ("noble", "x86_64", r"ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24\.04-amd64-server-\d{8}", CANONICAL),
        ("jammy", "arm64", r"ubuntu/images-testing/hvm-ssd/ubuntu-jammy-daily-arm64-server-\d{8}", CANONICAL),
        ("jammy", "x86_64", r"ubuntu-minimal/images/hvm-ssd/ubuntu-jammy-22\.04-amd64-minimal-\d{8}", CANONICAL),
        (
            "noble",
            "arm64",
            r"ubuntu-minimal/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-arm64-minimal-\d{8}",
            CANONICAL,
        ),
        ("jammy", "x86_64", r"ubuntu-pro-server/images/hvm-ssd/ubuntu-jammy-.*-pro-server-\d{8}", CANONICAL),
        ("jammy", "x86_64", r"ubuntu-pro-fips-server/images/hvm-ssd/ubuntu-jammy-.*-\d{8}", MARKETPLACE),
        ("jammy", "x86_64", r"ubuntu-pro-fips-updates-server/images/hvm-ssd/ubuntu-jammy-.*-\d{8}", MARKETPLACE),
        ("bookworm", "arm64", r"debian-12-arm64-daily-\d{8}-\d{4}", "903794441882"),
        ("bookworm", "x86_64", r"debian-12-amd64-\d{8}-\d{4}", "136693071363"),
    ],
)
def test_each_kind_of_image_is_there_for_each_day(
    images: list[Image], release: str, architecture: str, pattern: str, owner_id: str
) -> None:
    found = [one for one in named(images, pattern) if one.architecture == architecture and one.release == release]
    assert len({one.creation_date for one in found}) == len(found) == len(PUBLISHED)
    assert {one.owner_id for one in found} == {owner_id}


def test_every_long_term_release_has_every_kind_for_every_architecture(images: list[Image]) -> None:
    folders = ("ubuntu", "ubuntu-minimal", "ubuntu-pro-server", "ubuntu-pro-fips-server")
    for release, architecture, folder in product(
        LTS_RELEASES, ARCHITECTURES, (*folders, "ubuntu-pro-fips-updates-server")
    ):
        version = UBUNTU_RELEASE_VERSION_MAP[release]
        pattern = rf"{folder}/images/hvm-ssd(-gp3)?/ubuntu-{release}-{version}-{ARCH[architecture]}-.*"
        assert named(images, pattern), pattern


def test_only_long_term_releases_have_pro_images(images: list[Image]) -> None:
    assert {one.release for one in named(images, r"ubuntu-pro-.*")} == set(LTS_RELEASES)


def test_no_two_images_share_an_id_or_a_name(images: list[Image]) -> None:
    assert len({one.image_id for one in images}) == len({one.name for one in images}) == len(images)


def test_a_withdrawn_image_is_newer_than_those_that_are_not_deprecated(images: list[Image]) -> None:
    for release in WITHDRAWN:
        of_release = [one for one in images if one.release == release]
        newest = max(one.creation_date for one in of_release)
        assert all(bool(one.deprecation_time) == (one.creation_date == newest) for one in of_release)


def test_all_images_of_a_release_out_of_support_are_deprecated(images: list[Image]) -> None:
    for release in OUT_OF_SUPPORT:
        assert all(one.deprecation_time for one in images if one.release == release)
