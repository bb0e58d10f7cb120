"""The page about dependencies has all of them, each with a reason and an allowed license."""

from __future__ import annotations

import runpy

import pytest

from support.documentation import ROOT

PROGRAM = runpy.run_path(str(ROOT / "docs" / "dependencies_page.py"))
PAGE = PROGRAM["PAGE"].read_text(encoding="utf-8")
EXTRAS = PROGRAM["FOR_USERS"]
AGAIN = "run: python docs/dependencies_page.py"


def test_every_direct_dependency_is_reviewed() -> None:
    listed = {name for names in PROGRAM["direct"]().values() for name in names}
    assert listed == {name for name, value in PROGRAM["review"]().items() if isinstance(value, dict)}


def test_page_has_the_reviews() -> None:
    assert PAGE.startswith(PROGRAM["tables"](PROGRAM["sizes_on_page"](PAGE))), AGAIN


@pytest.mark.parametrize("extra", EXTRAS, ids=lambda extra: extra or "core")
def test_every_installed_dependency_is_listed_with_its_license(extra: str) -> None:
    listed = PROGRAM["licenses_on_page"](PAGE)
    families = PROGRAM["families"]
    for name in PROGRAM["closure"](extra):
        assert name in listed, f"{name}: {AGAIN}"
        declared = PROGRAM["license_of"](name)
        assert families(declared) & families(listed[name]) or declared == listed[name], f"{name}: {declared}; {AGAIN}"


def test_every_listed_license_is_allowed() -> None:
    listed = PROGRAM["licenses_on_page"](PAGE)
    assert len(listed) > 20
    assert {name: text for name, text in listed.items() if not PROGRAM["families"](text) & PROGRAM["ALLOWED"]} == {}
