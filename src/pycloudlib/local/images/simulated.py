"""The images of a simulated cloud: the AMIs of Debian and Ubuntu, without disks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from pycloudlib.local.images.boot_mode import LEGACY_BIOS, UEFI
from pycloudlib.local.images.catalog import Image
from pycloudlib.local.images.distributions import Distribution, Offer, distribution
from pycloudlib.releases import DEBIAN, RELEASES, Release

GIB = 1024**3
ARCHITECTURES = ("x86_64", "arm64")
PUBLISHED = (
    datetime(2025, 12, 1, 6, 0, tzinfo=timezone.utc),
    datetime(2026, 1, 5, 6, 0, tzinfo=timezone.utc),
    datetime(2026, 2, 2, 6, 0, tzinfo=timezone.utc),
)
"""The publication times of the images; Ubuntu's interim releases have the last one only."""
WITHDRAWN = {"focal": datetime(2026, 2, 16, 6, 0, tzinfo=timezone.utc)}
"""Releases whose newest images are deprecated although older ones are not."""
OUT_OF_SUPPORT = ("buster", "oracular")
"""Releases with deprecated images only."""
DEPRECATED = "2026-03-01T00:00:00.000Z"


class ImageSource(Protocol):
    """A source of images: a catalog of disks, or a simulated one."""

    def images(self) -> list[Image]:
        """Return the current images."""


class SimulatedCatalog:
    """A catalog of images for simulated machines."""

    def __init__(self) -> None:
        self._images = tuple(_images())

    def images(self) -> list[Image]:
        """Return all AMIs: dailies and releases, of all types and architectures, of all known releases."""
        return list(self._images)


def _images() -> Iterator[Image]:
    for release in RELEASES:
        name = release.code_name
        for published in _days(release):
            yield from _published(name, published, deprecated=name in OUT_OF_SUPPORT)
        if name in WITHDRAWN:
            yield from _published(name, WITHDRAWN[name], deprecated=True)


def _days(release: Release) -> tuple[datetime, ...]:
    return PUBLISHED if release.is_lts or release.distribution == DEBIAN else PUBLISHED[-1:]


def _published(release: str, published: datetime, *, deprecated: bool) -> Iterator[Image]:
    known = distribution(release)
    for architecture in ARCHITECTURES:
        for offer in (
            *known.offers(published, architecture=architecture),
            *known.further_offers(published, architecture=architecture),
        ):
            yield _image(known, offer, published, architecture, DEPRECATED if deprecated else "")


def _image(known: Distribution, offer: Offer, published: datetime, architecture: str, deprecation_time: str) -> Image:
    return Image(
        image_id=f"ami-{hashlib.sha256(offer.name.encode()).hexdigest()[:17]}",
        name=offer.name,
        owner_id=offer.owner_id,
        description=offer.description,
        architecture=architecture,
        creation_date=f"{published:%Y-%m-%dT%H:%M:%S.000Z}",
        disk=Path(os.devnull),
        format="raw",
        virtual_size=8 * GIB,
        kernel=None,
        initrd=None,
        kernel_arguments="",
        root_device_name=known.root_device_name,
        release=known.release,
        username=known.username,
        source="simulated",
        deprecation_time=deprecation_time,
        boot_mode=UEFI if architecture == "arm64" else LEGACY_BIOS,
    )
