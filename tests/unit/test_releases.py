from __future__ import annotations

import re

import pytest

from pycloudlib.errors import InvalidArgumentError
from pycloudlib.releases import (
    DEBIAN_RELEASE_VERSION_MAP,
    LTS_RELEASES,
    RELEASES,
    UBUNTU_RELEASE_VERSION_MAP,
    Release,
    find_release,
)


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("noble", Release("ubuntu", "noble", "24.04")),
        ("24.04", Release("ubuntu", "noble", "24.04")),
        ("bookworm", Release("debian", "bookworm", "12")),
        ("12", Release("debian", "bookworm", "12")),
        (" Noble ", Release("ubuntu", "noble", "24.04")),
    ],
)
def test_a_release_is_found_by_code_name_and_by_version(name: str, release: Release) -> None:
    assert find_release(name) == release


def test_every_release_is_found_by_both_of_its_names() -> None:
    assert [find_release(release.code_name) for release in RELEASES] == list(RELEASES)
    assert [find_release(release.version) for release in RELEASES] == list(RELEASES)


@pytest.mark.parametrize(("name", "nearest"), [("nobel", "noble"), ("bokworm", "bookworm"), ("24.4", "24.04")])
def test_find_release_suggests_the_nearest_in_one_line(name: str, nearest: str) -> None:
    message = f"unknown release '{name}'; did you mean '{nearest}'?"
    with pytest.raises(InvalidArgumentError, match=f"^{re.escape(message)}$"):
        find_release(name)


def test_a_release_that_resembles_none_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgumentError, match=r"unknown release '\?\?\?'; known ones: .*trixie \(13\)"):
        find_release("???")


def test_long_term_releases_are_those_of_april_in_even_years() -> None:
    versions = UBUNTU_RELEASE_VERSION_MAP.items()
    assert tuple(name for name, version in versions if re.fullmatch(r"\d[02468]\.04", version)) == LTS_RELEASES
    assert [release.code_name for release in RELEASES if release.is_lts] == list(LTS_RELEASES)


def test_ubuntu_versions_follow_one_another_every_half_year() -> None:
    expected = [f"{year}.{month}" for year in range(14, 27) for month in ("04", "10")]
    assert list(UBUNTU_RELEASE_VERSION_MAP.values()) == expected


def test_debian_versions_follow_one_another() -> None:
    *versions, unstable = DEBIAN_RELEASE_VERSION_MAP.values()
    assert unstable == "sid"
    numbers = [int(version) for version in versions]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
