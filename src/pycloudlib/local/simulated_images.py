"""The images of a simulated cloud: what Debian and Ubuntu publish, without the disks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from pycloudlib.local.distributions import DEBIAN, UBUNTU, distribution
from pycloudlib.local.images import Image

GIB = 1024**3
PUBLISHED = (datetime(2026, 1, 5, 6, 0, tzinfo=timezone.utc), datetime(2026, 2, 2, 6, 0, tzinfo=timezone.utc))
"""Every release has an older and a newer image."""


class ImageSource(Protocol):
    """Whatever has images to offer: a catalogue of disks, or a simulated one."""

    def images(self) -> list[Image]:
        """The images as they are now."""


class SimulatedCatalogue:
    """A catalogue of images that simulated machines boot from."""

    def __init__(self) -> None:
        self._images = tuple(_images())

    def images(self) -> list[Image]:
        """Every AMI: dailies and releases of all that Debian and Ubuntu releases are known."""
        return list(self._images)


def _images() -> Iterator[Image]:
    for release in (*DEBIAN, *UBUNTU):
        for published in PUBLISHED:
            yield from _offered(release, published)


def _offered(release: str, published: datetime) -> Iterator[Image]:
    known = distribution(release)
    for offer in known.offers(published):
        yield Image(
            image_id=f"ami-{hashlib.sha256(offer.name.encode()).hexdigest()[:17]}",
            name=offer.name,
            owner_id=offer.owner_id,
            description=offer.description,
            architecture="x86_64",
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
        )
