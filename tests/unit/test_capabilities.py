"""The page that names what proves each capability names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "capabilities.md"


def named_tests() -> list[tuple[str, str]]:
    linked = re.findall(r"\[`([^`]+)`\]\(\.\./tests/([^)]+)\)", PAGE.read_text())
    return [(path, "" if "/" in text else text) for text, path in linked]


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| (\d| \|)", line)]
    assert len(rows) >= 22
    assert [row for row in rows if "tests/" not in row] == []


def test_every_test_that_is_named_exists() -> None:
    named = named_tests()
    assert named
    missing = [f"{path}::{name}" for path, name in named if name not in (TESTS / path).read_text()]
    assert missing == []
