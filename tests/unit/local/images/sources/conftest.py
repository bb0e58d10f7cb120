from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.prerequisites import find
from support.image_server import ImageServer, image_server


@pytest.fixture(autouse=True)
def _needs_qemu_img() -> None:
    if find("qemu-img") is None:
        pytest.skip("needs qemu-img to look at disks")


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with image_server() as server:
        yield server


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "images")
