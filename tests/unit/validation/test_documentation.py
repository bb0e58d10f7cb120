from __future__ import annotations

from support.document_checks import BEGIN, END, PAGE, documented


def test_every_check_is_documented_with_reason_and_remedy() -> None:
    _, _, rest = PAGE.read_text().partition(BEGIN)
    written, end, _ = rest.partition(END)
    assert end
    assert written.strip() == documented().strip(), "run: PYTHONPATH=tests python tests/support/document_checks.py"
