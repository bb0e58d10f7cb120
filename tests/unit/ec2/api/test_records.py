from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.records import Records
from pycloudlib.ec2.api.retries import NOT_YET_VISIBLE
from pycloudlib.errors import (
    CloudError,
    IllegalStateError,
    PycloudlibTimeoutError,
    ResourceNotFoundError,
    ThrottledError,
)
from support.fake_clock import FakeClock

NOT_FOUND = "InvalidThing.NotFound"


@dataclass(frozen=True)
class Thing:
    state: str
    state_reason: str = ""
    id: str = "thing-1"


class Server:
    """Says one after the other; the last one again and again."""

    def __init__(self, *answers: str | Thing | CloudError) -> None:
        self.answers = list(answers)
        self.asked = 0

    def ask(self, _: str) -> Thing:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, CloudError):
            raise answer
        return Thing(answer) if isinstance(answer, str) else answer


def missing() -> ResourceNotFoundError:
    return ResourceNotFoundError(message="no such thing", code=NOT_FOUND)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def records(server: Server, clock: FakeClock) -> Records[Thing]:
    return Records(server.ask, not_found=NOT_FOUND, clock=clock)


def test_what_was_just_created_may_be_unknown_for_a_while(clock: FakeClock) -> None:
    known = records(Server(missing(), missing(), "pending"), clock)
    known.created("thing-1")
    assert known.get("thing-1").state == "pending"


def test_what_was_seen_once_is_gone_when_ec2_does_not_know_it(clock: FakeClock) -> None:
    server = Server("pending", missing())
    known = records(server, clock)
    known.created("thing-1")
    known.get("thing-1")
    with pytest.raises(ResourceNotFoundError):
        known.get("thing-1")
    assert (server.asked, clock.time) == (2, 0.0)


def test_what_was_not_created_here_is_not_waited_for(clock: FakeClock) -> None:
    with pytest.raises(ResourceNotFoundError):
        records(Server(missing()), clock).get("thing-1")
    assert clock.time == 0.0


def test_what_is_never_seen_is_given_up_after_a_while(clock: FakeClock) -> None:
    known = records(Server(missing()), clock)
    known.created("thing-1")
    with pytest.raises(ResourceNotFoundError):
        known.wait_for("thing-1", "ready", hopeless=(), deadline=Deadline.after(3600, clock))
    assert clock.time < 2 * NOT_YET_VISIBLE


def test_wait_returns_in_the_state_and_reports_each_description(clock: FakeClock) -> None:
    looks: list[str] = []
    known = records(Server("new", "half", "ready"), clock)
    found = known.wait_for(
        "thing-1",
        "ready",
        hopeless=(),
        deadline=Deadline.after(60, clock),
        observe=lambda thing: looks.append(thing.state),
    )
    assert (found.state, looks) == ("ready", ["new", "half", "ready"])


def test_throttling_does_not_end_the_waiting(clock: FakeClock) -> None:
    known = records(Server("new", ThrottledError("slow down", code="RequestLimitExceeded"), "ready"), clock)
    assert known.wait_for("thing-1", "ready", hopeless=(), deadline=Deadline.after(60, clock)).state == "ready"


def test_a_refusal_ends_the_waiting(clock: FakeClock) -> None:
    with pytest.raises(CloudError, match="not you"):
        records(Server("new", CloudError("not you", code="Blocked")), clock).wait_for(
            "thing-1", "ready", hopeless=(), deadline=Deadline.after(60, clock)
        )


def test_a_hopeless_state_ends_the_waiting_with_its_reason(clock: FakeClock) -> None:
    known = records(Server("new", Thing("error", "no room")), clock)
    with pytest.raises(IllegalStateError, match=r"thing-1 cannot become ready: it is error \(no room\)"):
        known.wait_for("thing-1", "ready", hopeless={"error"}, deadline=Deadline.after(3600, clock))


def test_timeout_contains_the_last_state(clock: FakeClock) -> None:
    with pytest.raises(PycloudlibTimeoutError, match=r"waited 10 s for thing-1 to be ready; last seen: new"):
        records(Server("new"), clock).wait_for("thing-1", "ready", hopeless=(), deadline=Deadline.after(10, clock))


def test_deleting_a_missing_resource_returns_false(clock: FakeClock) -> None:
    def call() -> None:
        raise missing()

    assert records(Server("new"), clock).delete(call, "thing-1") is False


def test_deleting_is_tried_again_while_something_in_the_way_goes_away(clock: FakeClock) -> None:
    refusals = [IllegalStateError("in use", code="InUse")] * 3

    def call() -> None:
        if refusals:
            raise refusals.pop()

    assert records(Server("new"), clock).delete(call, "thing-1", passing={"InUse"}, patience=60) is True
    assert refusals == []


def test_deleting_what_stays_in_use_is_an_error(clock: FakeClock) -> None:
    def call() -> None:
        raise IllegalStateError("in use", code="InUse")

    with pytest.raises(IllegalStateError, match="in use"):
        records(Server("new"), clock).delete(call, "thing-1", passing={"InUse"}, patience=10)


def test_a_malformed_id_is_an_error_and_not_gone(clock: FakeClock) -> None:
    def call() -> None:
        raise ResourceNotFoundError(message="no id", code="InvalidThing.Malformed")

    with pytest.raises(ResourceNotFoundError, match="no id"):
        records(Server("new"), clock).delete(call, "thing-1")


def test_waiting_until_it_is_gone_takes_either_sign(clock: FakeClock) -> None:
    for last in (missing(), Thing("deleted")):
        records(Server("deleting", last), clock).wait_until_gone(
            "thing-1", gone={"deleted"}, deadline=Deadline.after(60, clock)
        )
    with pytest.raises(PycloudlibTimeoutError, match="thing-1 to be deleted; last seen: deleting"):
        records(Server("deleting"), clock).wait_until_gone(
            "thing-1", gone={"deleted"}, deadline=Deadline.after(5, clock)
        )


def test_a_wait_ends_at_its_deadline_although_a_call_has_not_been_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycloudlib.ec2.api.faults.LAST_RESPONSE", 0.05)
    answered = threading.Event()

    def ask(_: str) -> Thing:
        answered.wait(60)
        return Thing("ready")

    known = Records(ask, not_found=NOT_FOUND)
    with pytest.raises(PycloudlibTimeoutError, match="last seen: EC2 did not respond within"):
        known.wait_for("thing-1", "ready", hopeless=(), deadline=Deadline.after(0.1))
    assert not answered.is_set()
    answered.set()
