"""One image of each publisher, pulled from its own server: `tox -e pull`, which needs the internet and some 4 GB."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.images.sources.published import Wanted
from pycloudlib.local.images.sources.pull import SOURCES, Puller, source_of
from pycloudlib.local.prerequisites import find

IMAGES = (
    Wanted("trixie"),
    Wanted("trixie", daily=True, architecture="arm64"),
    Wanted("noble"),
    Wanted("noble", daily=True, image_type="minimal"),
    Wanted("fedora-43"),
    Wanted("centos-stream-10"),
    Wanted("almalinux-10"),
    Wanted("rocky-9"),
    Wanted("opensuse-leap-15.6"),
    Wanted("al2023"),
)


@pytest.mark.skipif(find("qemu-img") is None, reason="needs qemu-img to look at disks")
@pytest.mark.skipif(not os.environ.get("PYCLOUDLIB_PULL_REAL"), reason="downloads from the internet: tox -e pull")
@pytest.mark.parametrize("wanted", IMAGES, ids=str)
def test_the_newest_build_is_pulled(wanted: Wanted, tmp_path: Path) -> None:
    puller = Puller(Catalog(tmp_path))
    newest = puller.serials(wanted)[0]
    (image,) = puller.pull([wanted])
    assert newest in image.origin
    assert image.architecture == wanted.architecture
    assert image.virtual_size > 2**30


def test_every_publisher_is_tried() -> None:
    assert {source_of(wanted.release) for wanted in IMAGES} == set(SOURCES)
