"""Remove pulled images that newer ones replace, and contents that no image uses."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from pycloudlib.errors import ImageError
from pycloudlib.local import qemu_img
from pycloudlib.local.images.catalog import PULLED, Catalog, Image
from pycloudlib.local.images.sources.content import ContentStore


@dataclass(frozen=True)
class Pruned:
    """The result of a prune.

    Args:
        removed: the names of the removed images.
        in_use: the names of replaced images that were kept because instances use them.
        freed: the number of freed bytes.
    """

    removed: list[str]
    in_use: list[str]
    freed: int


def prune(catalog: Catalog, *, keep: int = 1) -> Pruned:
    """Remove pulled images that newer builds replace, and unused contents. Keep built and added images.

    Args:
        catalog: the catalog.
        keep: the number of builds of each image to keep; default 1, the newest.

    Raises:
        LocalEC2Error: the directory is not writable.
    """
    removed, in_use = [], []
    freed = 0
    for image in _replaced(catalog.images(), keep):
        used = _unshared_bytes(image)
        try:
            remove(catalog, image)
            removed.append(image.name)
            freed += used
        except ImageError:
            in_use.append(image.name)
    return Pruned(removed, in_use, freed + ContentStore(catalog.directory).prune())


def remove(catalog: Catalog, image: Image) -> None:
    """Remove an image and its disk, including a pulled one in the content store.

    Args:
        catalog: the catalog.
        image: the image.

    Raises:
        ImageError: running or stopped instances use the image.
        LocalEC2Error: the directory is not writable.
    """
    disk = image.disk.stat()
    catalog.remove(image.image_id)
    ContentStore(catalog.directory).release(disk)


def _replaced(images: list[Image], keep: int) -> list[Image]:
    """Return all but the newest builds of each image.

    Args:
        images: all images, the newest first.
        keep: the number of builds to keep.
    """
    builds: defaultdict[tuple[str, ...], list[Image]] = defaultdict(list)
    for image in images:
        if image.source == PULLED:
            builds[_series(image)].append(image)
    return [image for series in builds.values() for image in series[keep:]]


def _unshared_bytes(image: Image) -> int:
    """Return the number of bytes that removing an image frees: 0 if another image shares its disk."""
    own_and_stored = 2
    return qemu_img.used_bytes(image.disk) if image.disk.stat().st_nlink <= own_and_stored else 0


def _series(image: Image) -> tuple[str, ...]:
    """Return the key that all builds of an image share: the name without build numbers, and the release."""
    return (image.owner_id, image.release, image.architecture, re.sub(r"[\d.]+", "", image.name))
