from __future__ import annotations

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.retries import NOT_YET_VISIBLE
from pycloudlib.ec2.instances.description import InstanceDescription, InstanceState
from pycloudlib.ec2.instances.poller import Poller
from pycloudlib.ec2.instances.status import GONE_AFTER, Status
from pycloudlib.errors import InstanceNotFoundError, InstanceStateError, PermissionDeniedError, PycloudlibTimeoutError
from support.fake_clock import FakeClock
from support.scripted_ec2 import ScriptedEC2, instances_xml

PENDING = InstanceDescription("i-1", InstanceState.PENDING)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def status_of(client, clock: FakeClock, *, launched: bool = False) -> Status:
    return Status(PENDING, Poller(client, clock=clock), launched=launched, clock=clock)


def test_refresh_updates_the_description(scripted_client, script: ScriptedEC2, clock: FakeClock) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running")))
    status = status_of(scripted_client, clock)
    assert status.refresh().state is InstanceState.RUNNING
    assert status.seen.public_ip == "127.0.0.1"


def test_an_instance_launched_a_moment_ago_may_be_unknown(scripted_client, script, clock: FakeClock) -> None:
    script.answer("DescribeInstances", instances_xml())
    status = status_of(scripted_client, clock, launched=True)
    assert status.refresh() is PENDING
    clock.sleep(NOT_YET_VISIBLE)
    with pytest.raises(InstanceNotFoundError):
        status.refresh()


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "InternalError"])
def test_who_waits_bears_what_passes_by_itself(scripted_client, script, clock: FakeClock, code: str) -> None:
    script.refuse("DescribeInstances", code)
    assert status_of(scripted_client, clock).poll() is None


def test_who_waits_does_not_bear_a_refusal(scripted_client, script: ScriptedEC2, clock: FakeClock) -> None:
    script.refuse("DescribeInstances", "UnauthorizedOperation")
    with pytest.raises(PermissionDeniedError):
        status_of(scripted_client, clock).poll()


def test_a_stop_is_waited_for(scripted_client, script: ScriptedEC2, clock: FakeClock) -> None:
    for state in ("running", "stopping", "stopped"):
        script.answer("DescribeInstances", instances_xml(("i-1", state)))
    status = status_of(scripted_client, clock)
    status.wait_for_stop(Deadline.after(60, clock))
    assert status.seen.state is InstanceState.STOPPED


def test_a_stop_that_never_comes_ends_with_the_last_state(scripted_client, script, clock: FakeClock) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "stopping")))
    with pytest.raises(PycloudlibTimeoutError, match="waited 5 s for i-1 to be stopped; last seen: stopping"):
        status_of(scripted_client, clock).wait_for_stop(Deadline.after(5, clock))


def test_an_instance_that_is_terminated_will_not_be_stopped(scripted_client, script, clock: FakeClock) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "terminated")))
    with pytest.raises(InstanceStateError, match="terminated"):
        status_of(scripted_client, clock).wait_for_stop(Deadline.after(60, clock))
    assert clock.time == 0


def test_an_end_is_waited_for(scripted_client, script: ScriptedEC2, clock: FakeClock) -> None:
    for state in ("shutting-down", "terminated"):
        script.answer("DescribeInstances", instances_xml(("i-1", state)))
    status_of(scripted_client, clock).wait_for_end(Deadline.after(60, clock))
    assert script.count("DescribeInstances") == 2


def test_an_instance_that_ec2_does_not_know_once_is_not_believed_gone(scripted_client, script, clock) -> None:
    script.answer("DescribeInstances", instances_xml())
    script.answer("DescribeInstances", instances_xml(("i-1", "shutting-down")))
    script.answer("DescribeInstances", instances_xml(("i-1", "terminated")))
    status_of(scripted_client, clock).wait_for_end(Deadline.after(60, clock))
    assert script.count("DescribeInstances") == 3


def test_an_instance_that_ec2_has_not_known_for_a_while_is_gone(scripted_client, script, clock: FakeClock) -> None:
    script.answer("DescribeInstances", instances_xml())
    status_of(scripted_client, clock).wait_for_end(Deadline.after(60, clock))
    assert GONE_AFTER <= clock.time < 2 * GONE_AFTER


def test_an_instance_launched_a_moment_ago_is_not_believed_gone(scripted_client, script, clock: FakeClock) -> None:
    script.answer("DescribeInstances", instances_xml())
    with pytest.raises(PycloudlibTimeoutError):
        status_of(scripted_client, clock, launched=True).wait_for_end(Deadline.after(NOT_YET_VISIBLE / 2, clock))
