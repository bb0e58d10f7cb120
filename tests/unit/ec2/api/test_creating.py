from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pycloudlib.ec2.api import retries
from pycloudlib.ec2.api.creating import CreateRequest, create, create_several
from pycloudlib.errors import CloudError, IllegalStateError
from pycloudlib.lifecycle import Ledger, UndoOrder

LOST = CloudError("the line went dead", code="ConnectionFault")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(retries, "LOOK_FOR_LOST", 0.0)


class Account:
    """The resources in it, by idempotency tag; and what goes wrong."""

    def __init__(self, *raised: BaseException, acts: bool = False) -> None:
        self.raised = list(raised)
        self.acts = acts
        self.made: list[dict[str, Any]] = []
        self.refuses_to_show: list[CloudError] = []
        self.calls = 0

    @property
    def ids(self) -> list[str]:
        return [record["Id"] for record in self.made]

    def creation(self, *, count: int = 1) -> CreateRequest:
        return CreateRequest("thing", "Id", UndoOrder.VOLUME, self.call, self.find, self.delete, count)

    def call(self, tag: str) -> Sequence[dict[str, Any]]:
        self.calls += 1
        error = self.raised.pop(0) if self.raised else None
        if error is None or self.acts:
            self.made.append({"Id": f"thing-{self.calls}", "tag": tag})
        if error is not None:
            raise error
        return self.made[-1:]

    def find(self, filters: Any) -> list[dict[str, Any]]:
        if self.refuses_to_show:
            raise self.refuses_to_show.pop(0)
        return [record for record in self.made if record["tag"] in filters[0]["Values"]]

    def delete(self, record: dict[str, Any]) -> None:
        self.made.remove(record)


def test_what_is_made_is_recorded() -> None:
    ledger = Ledger()
    assert create(ledger, Account().creation())["Id"] == "thing-1"
    assert ledger.ids("thing") == ["thing-1"]
    assert len(ledger) == 1


def test_the_ledger_keeps_the_abridged_record() -> None:
    ledger = Ledger()
    deleted: list[object] = []
    creation = replace(
        Account().creation(), delete=deleted.append, abridged=lambda record: {"Id": record["Id"], "abridged": True}
    )
    assert "tag" in create(ledger, creation)
    assert ledger.undo_all() == []
    assert deleted == [{"Id": "thing-1", "abridged": True}]


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


def test_a_resource_that_shows_only_later_is_deleted_by_the_clean_up() -> None:
    ledger = Ledger()
    account = Account(LOST, acts=True)
    account.refuses_to_show = [LOST]
    assert create(ledger, account.creation())["Id"] == "thing-2"
    assert account.ids == ["thing-1", "thing-2"]
    assert ledger.undo_all() == []
    assert account.ids == []


def test_a_refusal_after_a_lost_response_leaves_the_clean_up_to_look() -> None:
    ledger = Ledger()
    account = Account(LOST, IllegalStateError("no", code="IncorrectState"), acts=True)
    account.refuses_to_show = [LOST]
    with pytest.raises(IllegalStateError):
        create(ledger, account.creation())
    assert ledger.undo_all() == []
    assert account.ids == []


def test_a_kept_resource_is_kept_even_if_a_response_was_lost() -> None:
    ledger = Ledger()
    account = Account(LOST)
    kept = create(ledger, account.creation())
    ledger.forget(kept["Id"])
    assert ledger.undo_all() == []
    assert account.made == [kept]


def test_a_resource_is_found_before_the_call_is_made_again() -> None:
    account = Account(LOST, acts=True)
    assert create(Ledger(), account.creation())["Id"] == "thing-1"
    assert account.calls == 1


def test_several_resources_are_waited_for_until_all_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "LOOK_FOR_LOST", 60.0)
    account = Account(LOST, acts=True)
    shown = iter([1, 2])
    creation = replace(
        account.creation(count=2),
        find=lambda filters: [{"Id": f"thing-{number}"} for number in range(next(shown))],
    )
    assert [record["Id"] for record in create_several(Ledger(), creation)] == ["thing-0", "thing-1"]


def test_cleanup_is_incomplete_while_lookups_fail() -> None:
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


def test_all_attempts_have_the_same_tag() -> None:
    account = Account(LOST, LOST, acts=True)
    account.refuses_to_show = [LOST, LOST]
    create(Ledger(), account.creation())
    assert len({record["tag"] for record in account.made}) == 1


def test_nothing_is_created_while_the_ledger_is_undone() -> None:
    ledger, account, refused = Ledger(), Account(), []

    def undo() -> None:
        with pytest.raises(IllegalStateError, match=r"clean\(\) is running") as caught:
            create(ledger, account.creation())
        refused.append(caught.value)

    ledger.record("thing", "thing-0", undo, order=1)
    assert ledger.undo_all() == []
    assert (len(refused), account.calls) == (1, 0)
    assert create(ledger, account.creation())
