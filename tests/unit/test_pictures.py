"""The pictures of the documentation are drawn from the contract of the layers."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def module() -> dict:
    return runpy.run_path(str(DOCS / "pictures.py"))


@pytest.mark.parametrize("name", ["layers.svg", "launch.svg"])
def test_picture_is_current(module: dict, name: str) -> None:
    assert (DOCS / name).read_text() == module["PICTURES"][name](), "run: python docs/pictures.py"


def test_every_layer_is_in_the_picture(module: dict) -> None:
    picture = (DOCS / "layers.svg").read_text()
    assert [name for layer in module["layers"]() for name in layer if name not in picture] == []


def test_lanes_of_a_launch_name_modules(module: dict) -> None:
    source = DOCS.parent / "src/pycloudlib"
    modules = [module for _, module in module["LANES"][:-1]]
    assert [name for name in modules if not (source / name).is_file()] == []
