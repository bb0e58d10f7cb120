from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pycloudlib.ec2.api import retries
from pycloudlib.ec2.api.creating import Creation, create
from pycloudlib.errors import CloudError, IllegalStateError
from pycloudlib.lifecycle import Ledger, UndoOrder

LOST = CloudError("the line went dead", code="ConnectionFault")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(retries, "LOOK_FOR_LOST", 0.0)


class Account:
    """What is in it, by mark; and what goes wrong."""

    def __init__(self, *raised: BaseException, acts: bool = False) -> None:
        self.raised = list(raised)
        self.acts = acts
        self.made: dict[str, dict[str, Any]] = {}
        self.refuses_to_show: list[CloudError] = []
        self.calls = 0

    def creation(self, *, has_token: bool = False) -> Creation:
        return Creation("thing", "Id", UndoOrder.VOLUME, self.call, self.find, self.delete, has_token)

    def call(self, mark: str) -> Sequence[dict[str, Any]]:
        self.calls += 1
        error = self.raised.pop(0) if self.raised else None
        if error is None or self.acts:
            self.made[mark] = {"Id": f"thing-{self.calls}"}
        if error is not None:
            raise error
        return [self.made[mark]]

    def find(self, filters: Any) -> list[dict[str, Any]]:
        if self.refuses_to_show:
            raise self.refuses_to_show.pop(0)
        return [record for mark, record in self.made.items() if mark in filters[0]["Values"]]

    def delete(self, record: dict[str, Any]) -> None:
        self.made = {mark: one for mark, one in self.made.items() if one is not record}


def test_what_is_made_is_recorded() -> None:
    ledger = Ledger()
    assert create(ledger, Account().creation()) == {"Id": "thing-1"}
    assert ledger.ids("thing") == ["thing-1"]
    assert len(ledger) == 1


def test_what_is_refused_is_not_recorded() -> None:
    ledger = Ledger()
    with pytest.raises(IllegalStateError):
        create(ledger, Account(IllegalStateError("no", code="IncorrectState")).creation())
    assert len(ledger) == 0


def test_an_answer_that_cannot_be_understood_leaves_nothing_behind() -> None:
    ledger = Ledger()
    account = Account(KeyError("VpcId"), acts=True)
    with pytest.raises(KeyError):
        create(ledger, account.creation())
    assert account.made
    assert ledger.undo_all() == []
    assert not account.made


def test_ctrl_c_in_the_middle_of_the_call_leaves_nothing_behind() -> None:
    ledger = Ledger()
    account = Account(KeyboardInterrupt(), acts=True)
    with pytest.raises(KeyboardInterrupt):
        create(ledger, account.creation())
    assert account.made
    assert ledger.undo_all() == []
    assert not account.made


def test_what_shows_itself_only_later_is_deleted_by_the_clean_up() -> None:
    ledger = Ledger()
    account = Account(LOST, acts=True)
    account.refuses_to_show = [LOST]
    assert create(ledger, account.creation()) == {"Id": "thing-2"}
    assert len(account.made) == 2
    assert ledger.undo_all() == []
    assert not account.made


def test_as_long_as_ec2_does_not_tell_the_clean_up_does_not_call_it_done() -> None:
    ledger = Ledger()
    account = Account(KeyboardInterrupt(), acts=True)
    with pytest.raises(KeyboardInterrupt):
        create(ledger, account.creation())
    account.refuses_to_show = [LOST]
    (error,) = ledger.undo_all()
    assert "thing that may have been made" in str(error)
    assert ledger.undo_all() == []
    assert not account.made


def test_what_is_lost_again_and_again_is_an_error() -> None:
    account = Account(*[LOST] * 9)
    with pytest.raises(CloudError, match="went dead"):
        create(Ledger(), account.creation())
    assert account.calls == retries.ATTEMPTS


def test_what_takes_a_token_was_repeated_already() -> None:
    account = Account(LOST)
    with pytest.raises(CloudError, match="went dead"):
        create(Ledger(), account.creation(has_token=True))
    assert account.calls == 1
