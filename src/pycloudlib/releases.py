"""The Ubuntu and Debian releases: code names and version numbers, the single source for all modules.

The version numbers are from https://releases.ubuntu.com and https://www.debian.org/releases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from pycloudlib.errors import InvalidArgumentError

UBUNTU = "ubuntu"
DEBIAN = "debian"

UBUNTU_RELEASE_VERSION_MAP: Mapping[str, str] = MappingProxyType(
    {
        "trusty": "14.04",
        "utopic": "14.10",
        "vivid": "15.04",
        "wily": "15.10",
        "xenial": "16.04",
        "yakkety": "16.10",
        "zesty": "17.04",
        "artful": "17.10",
        "bionic": "18.04",
        "cosmic": "18.10",
        "disco": "19.04",
        "eoan": "19.10",
        "focal": "20.04",
        "groovy": "20.10",
        "hirsute": "21.04",
        "impish": "21.10",
        "jammy": "22.04",
        "kinetic": "22.10",
        "lunar": "23.04",
        "mantic": "23.10",
        "noble": "24.04",
        "oracular": "24.10",
        "plucky": "25.04",
        "questing": "25.10",
        "resolute": "26.04",
        "stonking": "26.10",
    }
)
"""Version numbers by code name, oldest first."""

DEBIAN_RELEASE_VERSION_MAP: Mapping[str, str] = MappingProxyType(
    {
        "stretch": "9",
        "buster": "10",
        "bullseye": "11",
        "bookworm": "12",
        "trixie": "13",
        "forky": "14",
        "sid": "sid",
    }
)
"""Version numbers by code name, oldest first. sid, the development release, has none."""

LTS_RELEASES = ("trusty", "xenial", "bionic", "focal", "jammy", "noble", "resolute")
"""Code names of Ubuntu's LTS releases, oldest first."""

DEFAULT_RELEASE = "trixie"
"""The release of images that is built, launched, and tested by default."""


@dataclass(frozen=True)
class Release:
    """A release of a distribution.

    Args:
        distribution: "ubuntu" or "debian".
        code_name: the code name, such as "noble".
        version: the version number, such as "24.04".
    """

    distribution: str
    code_name: str
    version: str

    @property
    def is_lts(self) -> bool:
        """Whether this is an Ubuntu LTS release."""
        return self.code_name in LTS_RELEASES


RELEASES = tuple(
    Release(distribution, code_name, version)
    for distribution, versions in ((UBUNTU, UBUNTU_RELEASE_VERSION_MAP), (DEBIAN, DEBIAN_RELEASE_VERSION_MAP))
    for code_name, version in versions.items()
)
"""All known releases."""

_BY_NAME = {name: release for release in RELEASES for name in (release.code_name, release.version)}


def find_release(name: str) -> Release:
    """Return a release by its code name or version number.

    Args:
        name: the case-insensitive name, such as "noble", "24.04", "bookworm", or "12".

    Raises:
        InvalidArgumentError: the release is unknown; the message suggests the closest one, or lists all.
    """
    requested = _key(name)
    if requested in _BY_NAME:
        return _BY_NAME[requested]
    raise InvalidArgumentError(unknown_release(name))


def is_release(name: str) -> bool:
    """Return whether a name is the code name or version number of a known release, in any case."""
    return _key(name) in _BY_NAME


def similar_release(name: str, *, similarity: float = 0.6) -> str | None:
    """Return the code name or version number that is most similar to a name; None without one.

    Args:
        name: the name.
        similarity: the ratio of matching characters that is required, from 0 to 1; default 0.6.
    """
    nearest = get_close_matches(_key(name), _BY_NAME, n=1, cutoff=similarity)
    return nearest[0] if nearest else None


def unknown_release(name: str) -> str:
    """Return the message for an unknown release: it suggests the most similar one, or lists all."""
    nearest = similar_release(name)
    if nearest:
        return f"unknown release {name!r}; did you mean {nearest!r}?"
    known = ", ".join(f"{release.code_name} ({release.version})" for release in RELEASES)
    return f"unknown release {name!r}; known ones: {known}"


def _key(name: str) -> str:
    return name.strip().lower() if isinstance(name, str) else repr(name)
