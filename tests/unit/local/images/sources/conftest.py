from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.images.sources.pull import Reporter
from pycloudlib.local.prerequisites import find
from support.image_server import ImageServer, image_server
from support.signing import Signer


@pytest.fixture(autouse=True)
def _needs_qemu_img() -> None:
    if find("qemu-img") is None:
        pytest.skip("needs qemu-img to look at disks")


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with image_server() as server:
        yield server


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    signer = Signer.generate(tmp_path_factory.mktemp("gnupg") / "home")
    yield signer
    signer.stop()


class Listener(Reporter):
    """Keeps the lines of all steps."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def said(listener: Listener) -> list[str]:
    return listener.said


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "images")
