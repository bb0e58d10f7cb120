from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.instances.poller import (
    CALLS_PER_SECOND,
    CHUNK,
    MANY_IN_ONE_STATE,
    MAX_THROTTLED_PAUSE,
    WHOLE_RECORD_INTERVAL,
    InstanceDescription,
    InstanceState,
    Poller,
    _Request,
)
from pycloudlib.errors import CloudError, NoResponseError, PermissionDeniedError
from support.fake_clock import FakeClock
from support.scripted_ec2 import ScriptedEC2, instances_xml


def test_an_instance_is_described(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running")))
    description = Poller(scripted_client).describe("i-1")
    assert description is not None
    assert (description.instance_id, description.state, description.public_ip) == (
        "i-1",
        InstanceState.RUNNING,
        "127.0.0.1",
    )


def test_describe_answers_after_an_interrupted_one(
    scripted_client, script: ScriptedEC2, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running")))
    poller = Poller(scripted_client)

    def interrupt(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            poller.describe("i-1")
    description = poller.describe("i-1", deadline=Deadline.after(60))
    assert description is not None
    assert description.state is InstanceState.RUNNING


def test_an_unknown_instance_is_none(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml())
    assert Poller(scripted_client).describe("i-1") is None


def test_who_asks_while_a_call_is_under_way_shares_the_next_one(scripted_client, script: ScriptedEC2) -> None:
    ids = [f"i-{number}" for number in range(20)]
    script.answer("DescribeInstances", instances_xml(*((id_, "running") for id_ in ids)))
    asked, go_on = threading.Event(), threading.Event()

    def hold_up_the_first(**_: object) -> None:
        asked.set()
        go_on.wait()

    scripted_client.meta.events.register("before-send.ec2.DescribeInstances", hold_up_the_first)
    poller = Poller(scripted_client)
    with ThreadPoolExecutor(max_workers=len(ids)) as pool:
        first = pool.submit(poller.describe, ids[0])
        asked.wait()
        others = [pool.submit(poller.describe, id_) for id_ in ids[1:]]
        _until(lambda: len(poller._next) == len(ids) - 1)
        go_on.set()
        described = [future.result() for future in [first, *others]]
    assert [found.instance_id for found in described if found] == ids
    assert script.count("DescribeInstances") == 2


def test_a_call_asks_about_everything_that_is_waited_for(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running"), ("i-2", "pending")))
    poller = Poller(scripted_client)
    with poller.watching("i-1"), poller.watching("i-2"):
        assert poller.count_watched() == 2
        poller.describe("i-1", max_age=60)
        description = poller.describe("i-2", max_age=60)
    assert description is not None
    assert description.state is InstanceState.PENDING
    assert script.count("DescribeInstances") == 1


def test_an_earlier_answer_is_not_enough_for_who_asks_anew(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "pending")))
    script.answer("DescribeInstances", instances_xml(("i-1", "running")))
    poller = Poller(scripted_client)
    with poller.watching("i-1"):
        poller.describe("i-1")
        description = poller.describe("i-1")
    assert description is not None
    assert description.state is InstanceState.RUNNING


def test_an_earlier_answer_is_forgotten_when_the_state_was_changed(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "stopped")))
    script.answer("DescribeInstances", instances_xml(("i-1", "pending")))
    poller = Poller(scripted_client)
    with poller.watching("i-1"):
        poller.describe("i-1", max_age=60)
        poller.forget("i-1")
        description = poller.describe("i-1", max_age=60)
    assert description is not None
    assert description.state is InstanceState.PENDING


def test_what_was_on_its_way_when_the_state_was_changed_is_no_answer(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "stopped")))
    script.answer("DescribeInstances", instances_xml(("i-1", "pending")))
    poller = Poller(scripted_client)
    scripted_client.meta.events.register("before-send.ec2.DescribeInstances", lambda **_: poller.forget("i-1"))
    with poller.watching("i-1"):
        first = poller.describe("i-1", max_age=60)
        second = poller.describe("i-1", max_age=60)
    assert first is not None
    assert second is not None
    assert (first.state, second.state) == (InstanceState.STOPPED, InstanceState.PENDING)


def test_who_waited_for_the_turn_is_content_with_what_has_just_come(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running"), ("i-2", "running")))
    asked, go_on = threading.Event(), threading.Event()

    def hold_up(**_: object) -> None:
        asked.set()
        go_on.wait()

    scripted_client.meta.events.register("before-send.ec2.DescribeInstances", hold_up)
    poller = Poller(scripted_client)
    with poller.watching("i-1"), poller.watching("i-2"), ThreadPoolExecutor(max_workers=2) as pool:
        first = pool.submit(poller.describe, "i-1", max_age=60)
        asked.wait()
        second = pool.submit(poller.describe, "i-2", max_age=60)
        _until(lambda: "i-2" in poller._next)
        go_on.set()
        assert first.result() is not None
        assert second.result() is not None
    assert script.count("DescribeInstances") == 1


def test_the_more_are_waited_for_the_longer_an_answer_has_to_do(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "pending")))
    clock = FakeClock()
    poller = Poller(scripted_client, clock=clock)
    with ExitStack() as watching:
        watching.enter_context(poller.watching("i-1"))
        for number in range(2 * CHUNK):
            watching.enter_context(poller.watching(f"i-other-{number}"))
        assert _calls(poller, "i-1", script) == 3
        clock.sleep(3 / CALLS_PER_SECOND)
        assert _calls(poller, "i-1", script) == 0
        clock.sleep(0.1)
        assert _calls(poller, "i-1", script) == 3


def test_a_throttled_ec2_is_left_alone_longer_each_time(scripted_client, script: ScriptedEC2) -> None:
    for _ in range(40):
        script.refuse("DescribeInstances", "RequestLimitExceeded")
    clock = FakeClock()
    poller = Poller(scripted_client, clock=clock)

    def asks() -> bool:
        before = script.count("DescribeInstances")
        with pytest.raises(CloudError):
            poller.describe("i-1", max_age=0.5)
        return script.count("DescribeInstances") > before

    with poller.watching("i-1"):
        for pause in (1.0, 2.0, 4.0, MAX_THROTTLED_PAUSE, MAX_THROTTLED_PAUSE):
            assert asks()
            clock.sleep(pause - 0.1)
            assert not asks()
            clock.sleep(0.2)


def test_who_asks_anew_does_so_though_ec2_is_throttling(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeInstances", "RequestLimitExceeded")
    poller = Poller(scripted_client, clock=FakeClock())
    with pytest.raises(CloudError):
        poller.describe("i-1", max_age=0.5)
    script.answer("DescribeInstances", instances_xml(("i-1", "running")))
    script._answers["DescribeInstances"].pop(0)
    assert poller.describe("i-1") is not None


def test_ids_beyond_the_filter_limit_use_several_calls(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml())
    poller = Poller(scripted_client)
    for number in range(CHUNK):
        poller._next[f"i-{number}"] = _Request(0.0)
    poller.describe("i-last")
    asked = [sum(1 for name in question if name.startswith("Filter.1.Value.")) for question in script.asked]
    assert sorted(asked) == [1, CHUNK]


@pytest.fixture
def many(scripted_client, script: ScriptedEC2) -> Iterator[tuple[Poller, FakeClock, list[str]]]:
    """A poller with many watched instances, each seen as pending."""
    ids = [f"i-{number:03}" for number in range(MANY_IN_ONE_STATE)]
    script.answer("DescribeInstances", instances_xml(*((id_, "pending") for id_ in ids)))
    clock = FakeClock()
    poller = Poller(scripted_client, clock=clock)
    with ExitStack() as watching:
        for id_ in ids:
            watching.enter_context(poller.watching(id_))
        assert _calls(poller, ids[0], script) == 1
        clock.sleep(1)
        yield poller, clock, ids


def _states_asked_for(question: dict[str, str]) -> set[str]:
    return {value for name, value in question.items() if name.startswith("Filter.2.Value.")}


def test_many_instances_in_one_state_are_queried_for_changes_only(many, script: ScriptedEC2) -> None:
    poller, _, (changed, unchanged, *_) = many
    script.answer("DescribeInstances", instances_xml((changed, "running")))
    script._answers["DescribeInstances"].pop(0)
    assert poller.describe(changed, max_age=0.5).state is InstanceState.RUNNING
    assert poller.describe(unchanged, max_age=0.5).state is InstanceState.PENDING
    assert script.count("DescribeInstances") == 2
    assert _states_asked_for(script.asked[-1]) == {str(state) for state in InstanceState} - {"pending"}


def test_a_whole_record_is_read_again_after_a_while(many, script: ScriptedEC2) -> None:
    poller, clock, (gone, *_) = many
    script.answer("DescribeInstances", instances_xml())
    script._answers["DescribeInstances"].pop(0)
    clock.sleep(WHOLE_RECORD_INTERVAL - 2)
    assert poller.describe(gone, max_age=0.5).state is InstanceState.PENDING
    clock.sleep(1)
    assert poller.describe(gone, max_age=0.5) is None
    assert not _states_asked_for(script.asked[-1])


def test_a_whole_record_is_read_for_a_caller_that_asks_anew(many, script: ScriptedEC2) -> None:
    poller, _, (asked, *_) = many
    poller.describe(asked)
    _until(lambda: poller._server is None)
    asked_for = [_states_asked_for(question) for question in script.asked[1:]]
    assert asked_for == [set()]


def test_a_caller_goes_on_while_further_calls_are_made(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running")))
    calls: list[threading.Event] = []

    def hold_up_the_second(**_: object) -> None:
        calls.append(threading.Event())
        if len(calls) > 1:
            calls[-1].wait()

    scripted_client.meta.events.register("before-send.ec2.DescribeInstances", hold_up_the_second)
    poller = Poller(scripted_client)
    with ExitStack() as watching:
        for number in range(CHUNK):
            watching.enter_context(poller.watching(f"i-0-{number}"))
        found = poller.describe("i-1", deadline=Deadline.after(60))
        _until(lambda: len(calls) > 1)
        calls[-1].set()
    assert found is not None


def test_every_page_is_read(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running")) + "<nextToken>more</nextToken>")
    script.answer("DescribeInstances", instances_xml(("i-2", "running")))
    poller = Poller(scripted_client)
    assert poller.describe("i-2") is not None


def test_rejection_reaches_its_caller_and_the_next_request_is_sent(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeInstances", "UnauthorizedOperation")
    script.answer("DescribeInstances", instances_xml(("i-1", "running")))
    poller = Poller(scripted_client)
    with pytest.raises(PermissionDeniedError):
        poller.describe("i-1")
    assert poller.describe("i-1") is not None


def test_describe_stops_waiting_at_its_deadline(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running")))
    go_on = threading.Event()
    scripted_client.meta.events.register("before-send.ec2.DescribeInstances", lambda **_: go_on.wait() and None)
    poller = Poller(scripted_client)
    with pytest.raises(NoResponseError, match=r"EC2 did not respond within 0\.05 s to the request to describe i-1"):
        poller.describe("i-1", deadline=Deadline.after(0.05))
    go_on.set()
    assert poller.describe("i-1") is not None


def test_describe_gives_each_caller_an_error_of_its_own(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeInstances", "UnauthorizedOperation")
    asked, go_on = threading.Event(), threading.Event()

    def hold_up(**_: object) -> None:
        asked.set()
        go_on.wait()

    scripted_client.meta.events.register("before-send.ec2.DescribeInstances", hold_up)
    poller = Poller(scripted_client)
    with ThreadPoolExecutor(max_workers=3) as pool:
        first = pool.submit(poller.describe, "i-0")
        asked.wait()
        others = [pool.submit(poller.describe, f"i-{number}") for number in (1, 2)]
        _until(lambda: len(poller._next) == 2)
        go_on.set()
        errors = [future.exception() for future in (first, *others)]
    assert all(isinstance(error, PermissionDeniedError) for error in errors)
    assert len(set(map(id, errors))) == 3
    assert {str(error) for error in errors} == {str(errors[0])}


def test_description_parses_the_response() -> None:
    description = InstanceDescription.of(
        {
            "InstanceId": "i-1",
            "State": {"Name": "terminated"},
            "StateReason": {"Message": "Server.InternalError"},
            "Placement": {"AvailabilityZone": "eu-central-1a"},
            "Tags": [{"Key": "Name", "Value": "n"}],
        }
    )
    assert str(description) == "terminated (Server.InternalError)"
    assert description.public_ip is None
    assert description.tags == {"Name": "n"}
    assert description.state.is_ending


def _calls(poller: Poller, instance_id: str, script: ScriptedEC2) -> int:
    """Ask about an instance, and return the number of calls that this takes, those about other instances included."""
    before = script.count("DescribeInstances")
    poller.describe(instance_id, max_age=0.1)
    _until(lambda: poller._server is None)
    return script.count("DescribeInstances") - before


def _until(check) -> None:
    from pycloudlib.waiting import wait_until

    wait_until(check, what="the test", deadline=Deadline.after(30), interval=0.001)
