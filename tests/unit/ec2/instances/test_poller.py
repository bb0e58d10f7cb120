from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from pycloudlib.ec2.instances.poller import (
    CALLS_PER_SECOND,
    CHUNK,
    MAX_THROTTLED_PAUSE,
    InstanceDescription,
    InstanceState,
    Poller,
)
from pycloudlib.errors import CloudError, PermissionDeniedError
from support.scripted_ec2 import ScriptedEC2, instances_xml


class FakeClock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_an_instance_is_described(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running")))
    description = Poller(scripted_client).describe("i-1")
    assert description is not None
    assert (description.instance_id, description.state, description.public_ip) == (
        "i-1",
        InstanceState.RUNNING,
        "127.0.0.1",
    )


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
        _until(lambda: len(poller._next.ids) == len(ids) - 1)
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
        _until(lambda: "i-2" in poller._next.ids)
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
        poller.describe("i-1", max_age=0.1)
        clock.sleep(3 / CALLS_PER_SECOND)
        poller.describe("i-1", max_age=0.1)
        assert script.count("DescribeInstances") == 3
        clock.sleep(0.1)
        poller.describe("i-1", max_age=0.1)
        assert script.count("DescribeInstances") == 6


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


def test_more_ids_than_one_filter_takes_are_asked_in_several_calls(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml())
    poller = Poller(scripted_client)
    poller._next.ids.update(f"i-{number}" for number in range(CHUNK))
    poller.describe("i-last")
    asked = [sum(1 for name in question if name.startswith("Filter.1.Value.")) for question in script.asked]
    assert sorted(asked) == [1, CHUNK]


def test_every_page_is_read(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running")) + "<nextToken>more</nextToken>")
    script.answer("DescribeInstances", instances_xml(("i-2", "running")))
    poller = Poller(scripted_client)
    assert poller.describe("i-2") is not None


def test_a_refusal_reaches_who_asked_and_the_next_question_is_asked_anew(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeInstances", "UnauthorizedOperation")
    script.answer("DescribeInstances", instances_xml(("i-1", "running")))
    poller = Poller(scripted_client)
    with pytest.raises(PermissionDeniedError):
        poller.describe("i-1")
    assert poller.describe("i-1") is not None


def test_a_description_reads_what_ec2_says() -> None:
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


def _until(check) -> None:
    from pycloudlib.waiting import wait_until

    wait_until(check, what="the test", timeout=30, interval=0.001)
