"""Many instances handled as one, through EC2.launch_many(). Three real machines are in tests/vm/test_fleet.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.fleet import Fleet
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import FleetError, ImageNotFoundError, InvalidArgumentError


@pytest.fixture
def fleet(ec2: EC2, endpoint, image_id: str) -> Fleet:
    return ec2.launch_many(image_id, 4, username=endpoint.username)


def states(fleet: Fleet) -> set[InstanceState]:
    return {instance.state for instance in fleet}


def calls_of(ec2: EC2) -> list[str]:
    calls: list[str] = []
    ec2.client.meta.events.register("before-call.ec2.*", lambda model, **_: calls.append(model.name))
    return calls


def test_one_call_launches_all_and_all_are_tagged_and_recorded(ec2: EC2, image_id: str) -> None:
    calls = calls_of(ec2)
    fleet = ec2.launch_many(image_id, 5, wait=False)
    assert calls.count("RunInstances") == 1
    assert len(fleet) == len(set(fleet.ids)) == 5
    assert ec2.created_instances == list(fleet)
    assert {instance.id for instance in ec2.instances(tag={"Name": ec2.tag})} == set(fleet.ids)
    calls.clear()
    assert ec2.clean() == []
    assert calls.count("TerminateInstances") == 1


def test_a_fleet_is_a_sequence(ec2: EC2, image_id: str) -> None:
    fleet = ec2.launch_many(image_id, 3, min_count=3, wait=False)
    assert [instance.id for instance in fleet] == fleet.ids
    assert fleet[0].id == fleet.ids[0]
    assert fleet[-1] in fleet
    assert isinstance(fleet[1:], Fleet)
    assert fleet[1:].ids == fleet.ids[1:]
    assert repr(fleet) == "<Fleet of 3 instances>"
    with pytest.raises(IndexError):
        fleet[3]


def test_a_command_runs_in_all_and_each_result_goes_by_its_instance(fleet: Fleet) -> None:
    results = fleet.execute("cat; exit 3", stdin="hi")
    assert list(results) == fleet.ids
    assert {(str(result), result.return_code) for result in results.values()} == {("hi", 3)}


def test_deleted_instance_is_named_and_the_others_run_the_command(fleet: Fleet) -> None:
    fleet[1].delete()
    with pytest.raises(FleetError, match=f"1 of 4 instances failed to run the command:\n.*{fleet.ids[1]}") as caught:
        fleet.execute("echo hi")
    assert list(caught.value.errors) == [fleet.ids[1]]
    assert caught.value.results == dict.fromkeys([fleet.ids[0], *fleet.ids[2:]], "hi")
    assert caught.value.fleet is fleet


def test_all_are_stopped_and_started_by_one_call_each(ec2: EC2, fleet: Fleet) -> None:
    calls = calls_of(ec2)
    fleet.shutdown()
    assert states(fleet) == {InstanceState.STOPPED}
    fleet.start()
    assert states(fleet) == {InstanceState.RUNNING}
    assert (calls.count("StopInstances"), calls.count("StartInstances")) == (1, 1)
    assert set(fleet.execute("echo again").values()) == {"again"}


def test_all_are_restarted(ec2: EC2, fleet: Fleet) -> None:
    calls = calls_of(ec2)
    before = {instance.id: instance.get_boot_id() for instance in fleet}
    fleet.restart()
    assert calls.count("RebootInstances") == 1
    assert all(instance.get_boot_id() != before[instance.id] for instance in fleet)


def test_fleet_requests_without_wait_return_immediately(fleet: Fleet) -> None:
    fleet.shutdown(wait=False)
    for instance in fleet:
        instance.wait_for_stop()
    fleet.start(wait=False)
    fleet.wait(timeout=60)
    assert fleet.delete(wait=False) == []
    for instance in fleet:
        instance.wait_for_delete()
    assert states(fleet) == {InstanceState.TERMINATED}


def test_all_are_deleted_by_one_call(ec2: EC2, fleet: Fleet) -> None:
    calls = calls_of(ec2)
    assert fleet.delete() == []
    assert calls.count("TerminateInstances") == 1
    assert states(fleet) == {InstanceState.TERMINATED}
    assert ec2.created_instances == []
    assert fleet.delete() == []


def test_leaving_the_context_deletes_all(fleet: Fleet) -> None:
    with fleet as entered:
        assert entered is fleet
    assert states(fleet) == {InstanceState.TERMINATED}


def test_one_that_is_protected_stops_no_other_from_being_deleted(fleet: Fleet) -> None:
    fleet[2].termination_protection = True
    (error,) = fleet.delete()
    assert fleet.ids[2] in str(error)
    assert [instance.state.is_ending for instance in fleet] == [True, True, False, True]
    fleet[2].termination_protection = False
    assert fleet.delete() == []


@pytest.mark.parametrize("tell", [Fleet.shutdown, Fleet.start])
def test_missing_instance_is_named_and_the_others_change_state(fleet: Fleet, tell: Callable[..., None]) -> None:
    fleet[0].delete()
    with pytest.raises(FleetError, match=fleet.ids[0]) as caught:
        tell(fleet, wait=False)
    assert list(caught.value.errors) == [fleet.ids[0]]


def test_those_that_will_never_be_ready_are_named(ec2: EC2, endpoint, image_id: str) -> None:
    fleet = ec2.launch_many(image_id, 3, username=endpoint.username, wait=False)
    fleet[0].delete()
    with pytest.raises(FleetError, match="failed to be ready") as caught:
        fleet.wait()
    assert list(caught.value.errors) == [fleet.ids[0]]
    assert list(caught.value.results) == fleet.ids[1:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count is 0; it must be a whole number from 1 to 1000"),
        ({"count": "2"}, "count is '2'"),
        ({"count": 2, "min_count": 3}, "min_count is 3; it must be a whole number from 1 to 2"),
        ({"count": 2, "MaxCount": 2}, "takes count and min_count"),
        ({"count": 2, "disk_size_gb": -1}, "disk_size_gb is -1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_created(
    ec2: EC2, image_id: str, arguments: dict, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ec2.launch_many(image_id, wait=False, **arguments)
    assert ec2.created_instances == []


def test_an_unknown_image_is_not_launched_many_times_either(ec2: EC2) -> None:
    with pytest.raises(ImageNotFoundError):
        ec2.launch_many("ami-0123456789abcdef0", 2)
