from __future__ import annotations

import pytest

from pycloudlib.validation.verdicts import Advice, advice_of, check, fail, listed, not_applicable, title


def test_a_check_carries_its_reason_and_its_remedy() -> None:
    @check(reason="because", remedy="do this")
    def test_it() -> None: ...

    assert advice_of(test_it) == Advice("because", "do this")
    assert advice_of(lambda: None) == Advice()
    assert advice_of(None) == Advice()


def test_verdicts_are_pytests() -> None:
    with pytest.raises(pytest.fail.Exception, match="found this"):
        fail("found this")
    with pytest.raises(pytest.skip.Exception, match="no such thing"):
        not_applicable("no such thing")


def test_titles_are_words() -> None:
    assert title("test_no_failed_units") == "no failed units"
    assert title("check_agent[a-b]") == "agent [a-b]"


def test_lists_are_cut_where_nobody_reads_on() -> None:
    assert listed(["a", "b"]) == "  a\n  b"
    assert listed([str(number) for number in range(10)], limit=2) == "  0\n  1\n  and 8 more"
