"""The documentation's page is made from the table."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_actions_is_current() -> None:
    module = runpy.run_path(str(DOCS / "audit_page.py"))
    assert module["PAGE"].read_text(encoding="utf-8") == module["page"](), "run: python docs/audit_page.py"
