"""The default images in the user's catalog: those of `pycloudlib local image build` without a name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycloudlib.local import paths
from pycloudlib.local.images.catalog import Catalog, Image
from pycloudlib.local.images.distributions import DEBIAN_DAILIES


def default_images() -> list[Image]:
    """Return the daily AMIs of the default images, the newest first."""
    images = Catalog(paths.images_dir()).images()
    return [image for image in images if image.source == "built" and image.owner_id == DEBIAN_DAILIES]


def default_image(release: str) -> Image:
    """Return the newest default image of a release for x86-64.

    Args:
        release: the code name.
    """
    for image in default_images():
        if (image.release, image.architecture) == (release, "x86_64"):
            return image
    raise LookupError(f"no image of {release}: build it with `pycloudlib local image build --release {release}`")


@contextmanager
def only_default_images(home: Path) -> Iterator[None]:
    """Replace the user's catalog by links to its default images, within the context.

    Args:
        home: the data directory for the links.
    """
    entries = {image.disk.parent for image in default_images()}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_DATA_HOME", str(home))
        for entry in entries:
            (paths.images_dir() / entry.name).symlink_to(entry)
        yield
