"""Debian's images: a directory per build, each with its checksums.

The paths: https://cloud.debian.org/images/cloud/, as `PublicInfo` of
https://salsa.debian.org/cloud-team/debian-cloud-images composes them. The "ec2" builds are the ones that are uploaded
as AMIs: https://wiki.debian.org/Cloud/AmazonEC2Image. Their checksum files are not signed.
"""

from __future__ import annotations

import re

from pycloudlib.local.images.boot_mode import LEGACY_BIOS, UEFI, UEFI_PREFERRED
from pycloudlib.local.images.distributions import NAMED, Distribution, distribution
from pycloudlib.local.images.sources.checksums import checksum_of, parse_listing
from pycloudlib.local.images.sources.published import (
    PublishedDisk,
    Wanted,
    chosen_serial,
    created_at,
)
from pycloudlib.local.images.sources.signature import UNSIGNED
from pycloudlib.local.images.sources.site import Site
from pycloudlib.local.images.sources.web import Web
from pycloudlib.releases import DEBIAN, DEBIAN_RELEASE_VERSION_MAP

CHECKSUMS = "SHA512SUMS"
SERIAL = re.compile(r"\d{8}-\d+")
FIRST_UEFI_PREFERRED = 12
"""The first release whose x86_64 AMIs boot by UEFI where the instance type has it."""


class Debian:
    """Debian's cloud images."""

    name = "debian"
    base = "https://cloud.debian.org/images/cloud"

    def releases(self) -> list[str]:
        """Return the code names, newest last."""
        return [*DEBIAN_RELEASE_VERSION_MAP]

    def publishes(self, release: str) -> bool:
        """Return whether a name is a code name or a version number."""
        known = distribution(release).known
        return known is not None and known.distribution == DEBIAN

    def serials(self, web: Web, site: Site, wanted: Wanted) -> list[str]:
        """Return the serials of all builds, newest first."""
        names = parse_listing(web.read(self._directory(site, wanted)))
        return sorted((name for name in names if SERIAL.fullmatch(name)), key=_order, reverse=True)

    def disk(self, web: Web, site: Site, wanted: Wanted) -> PublishedDisk:
        """Return the disk of a build."""
        published = distribution(wanted.release)
        published.require_type(wanted.image_type)
        serial = chosen_serial(self.serials(web, site, wanted), wanted)
        offers = published.offers_of(serial, image_type=wanted.image_type, architecture=wanted.architecture)
        directory = f"{self._directory(site, wanted)}{serial}/"
        daily = "-daily" if wanted.daily else ""
        name = f"debian-{published.version}-ec2-{NAMED[wanted.architecture]}{daily}-{serial}.tar.xz"
        checksums = f"{directory}{CHECKSUMS}"
        return PublishedDisk(
            url=f"{directory}{name}",
            checksum=checksum_of(name, web.read(checksums), checksums),
            verification=UNSIGNED,
            serial=serial,
            created=created_at(serial),
            offer=offers[0] if wanted.daily else offers[-1],
            release=published.release,
            username=published.username,
            root_device_name=published.root_device_name,
            architecture=wanted.architecture,
            boot_mode=_boot_mode(published, wanted.architecture),
        )

    @staticmethod
    def _directory(site: Site, wanted: Wanted) -> str:
        release = distribution(wanted.release).release
        return f"{site.base}/{release}/daily/" if wanted.daily else f"{site.base}/{release}/"


def _boot_mode(published: Distribution, architecture: str) -> str:
    if architecture == "arm64":
        return UEFI
    return UEFI_PREFERRED if int(published.version) >= FIRST_UEFI_PREFERRED else LEGACY_BIOS


def _order(serial: str) -> tuple[int, ...]:
    return tuple(int(part) for part in serial.split("-"))
