"""Every route to the images of a release takes the releases from one table."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import pycloudlib
from pycloudlib.cloud import ImageType
from pycloudlib.ec2.images.queries import ImageQuery, release_query
from pycloudlib.local.images.catalog import Image
from pycloudlib.local.images.distributions import OWNER_ALIASES, Offer, distribution
from pycloudlib.local.images.simulated import OUT_OF_SUPPORT, SimulatedCatalog
from pycloudlib.releases import RELEASES, UBUNTU, Release

DAY = datetime(2026, 1, 5, tzinfo=timezone.utc)

by_code_name = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.code_name)


@pytest.fixture(scope="module")
def simulated() -> list[Image]:
    return SimulatedCatalog().images()


def kinds(release: Release) -> list[ImageType]:
    if release.distribution != UBUNTU:
        return [ImageType.GENERIC]
    return list(ImageType) if release.is_lts else [ImageType.GENERIC, ImageType.MINIMAL]


def queries(release: Release) -> list[ImageQuery]:
    return [
        release_query(name, daily=daily, arch=arch, image_type=kind)
        for name in (release.code_name, release.version)
        for daily in (False, True)
        for arch in ("x86_64", "arm64")
        for kind in kinds(release)
    ]


def matches(query: ImageQuery, found: Image | Offer) -> bool:
    owner = OWNER_ALIASES.get(found.owner_id, found.owner_id)
    return owner in query.owners and fnmatchcase(found.name, query.filters["name"])


@by_code_name
def test_daily_and_released_image_find_what_the_simulated_driver_publishes(
    release: Release, simulated: list[Image]
) -> None:
    for query in queries(release):
        found = [one for one in simulated if one.architecture == query.filters["architecture"] and matches(query, one)]
        assert found, str(query)
        assert {one.release for one in found} == {release.code_name}
        assert all(one.deprecation_time for one in found) == (release.code_name in OUT_OF_SUPPORT)


@by_code_name
def test_daily_and_released_image_find_a_disk_that_was_added(release: Release) -> None:
    for name in (release.code_name, release.version):
        known = distribution(name)
        assert known.release == release.code_name
        for daily in (False, True):
            query = release_query(name, daily=daily)
            assert [offer for offer in known.offers(DAY) if matches(query, offer)]


def test_util_has_every_release_of_ubuntu() -> None:
    assert dict(pycloudlib.util.UBUNTU_RELEASE_VERSION_MAP) == {
        release.code_name: release.version for release in RELEASES if release.distribution == UBUNTU
    }
    assert list(pycloudlib.util.LTS_RELEASES) == [release.code_name for release in RELEASES if release.is_lts]


def test_no_other_module_has_a_table_of_releases() -> None:
    sources = Path(pycloudlib.__file__).parent
    tables = [
        str(path.relative_to(sources))
        for path in sorted(sources.rglob("*.py"))
        if len(set(re.findall(r'"(xenial|bionic|focal|jammy|noble|buster|bullseye|trixie)"', path.read_text()))) > 2
    ]
    assert tables == ["releases.py"]
