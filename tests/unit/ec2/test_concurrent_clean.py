"""clean() in one thread while another one creates something, at every point of the create call."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pycloudlib import lifecycle
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api import retries
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import IllegalStateError
from pycloudlib.waiting import wait_until
from support.faulty_ec2 import Break, FaultyEC2
from support.moto_server import BOOKWORM_DAILY

PATIENCE = 30.0
"""Seconds after which a test that would hang fails."""


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def wait_for_clean(ec2: EC2) -> None:
    wait_until(lambda: ec2._ledger.is_being_undone, what="clean() to begin", deadline=Deadline.after(PATIENCE))


def living(ec2: EC2) -> list[str]:
    """The ids of the instances that ec2 launched, as EC2 itself tells."""
    named = ec2.client.describe_instances(Filters=[{"Name": "tag:Name", "Values": [ec2.tag]}])["Reservations"]
    instances = [instance for reservation in named for instance in reservation["Instances"]]
    return [one["InstanceId"] for one in instances if one["State"]["Name"] not in ("shutting-down", "terminated")]


def volumes(ec2: EC2) -> list[str]:
    return [volume.id for volume in ec2.volumes(tag={"Name": ec2.tag})]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_clean_deletes_an_instance_whose_launch_is_in_flight(
    moment: str, gated_ec2: EC2, gate: FaultyEC2, pool: ThreadPoolExecutor
) -> None:
    cleaned: list[Future[list[Exception]]] = []

    def clean_in_another_thread() -> None:
        cleaned.append(pool.submit(gated_ec2.clean))
        wait_for_clean(gated_ec2)

    gate.on("RunInstances", **{moment: clean_in_another_thread})
    with pytest.raises(IllegalStateError, match=r"i-[0-9a-f]+ is deleted again"):
        gated_ec2.launch(BOOKWORM_DAILY, wait=False)
    assert cleaned[0].result(PATIENCE) == []
    assert (living(gated_ec2), gated_ec2.created_instances) == ([], [])


@pytest.mark.parametrize("is_left", [False, True])
def test_a_launch_that_begins_during_clean_is_refused(
    is_left: bool, gated_ec2: EC2, gate: FaultyEC2, pool: ThreadPoolExecutor
) -> None:
    refused: list[BaseException | None] = []

    def launch_in_another_thread() -> None:
        refused.append(pool.submit(gated_ec2.launch, BOOKWORM_DAILY, wait=False).exception(PATIENCE))

    gated_ec2.launch(BOOKWORM_DAILY, wait=False)
    gate.on("DescribeInstances", before=launch_in_another_thread)
    if is_left:
        gated_ec2.__exit__(None, None, None)
    else:
        assert gated_ec2.clean() == []
    (error,) = refused
    assert isinstance(error, IllegalStateError)
    assert "clean() is running in another thread" in str(error)
    assert living(gated_ec2) == []


def test_after_clean_the_object_is_used_again(gated_ec2: EC2) -> None:
    gated_ec2.launch(BOOKWORM_DAILY, wait=False)
    assert gated_ec2.clean() == []
    again = gated_ec2.launch(BOOKWORM_DAILY, wait=False)
    assert living(gated_ec2) == [again.id]
    assert gated_ec2.clean() == []
    assert living(gated_ec2) == []


def test_after_its_with_block_the_object_creates_nothing_until_it_is_entered_again(gated_ec2: EC2) -> None:
    with gated_ec2:
        gated_ec2.launch(BOOKWORM_DAILY, wait=False)
    with pytest.raises(IllegalStateError, match=r"'with' block .* has ended"):
        gated_ec2.launch(BOOKWORM_DAILY, wait=False)
    with pytest.raises(IllegalStateError, match=r"'with' block .* has ended"):
        gated_ec2.in_region("eu-west-1").create_volume(1)
    assert gated_ec2.instances(tag={"Name": gated_ec2.tag}, state="running") == []
    with gated_ec2:
        gated_ec2.launch(BOOKWORM_DAILY, wait=False)
        gated_ec2.in_region("eu-west-1").create_volume(1)
    assert living(gated_ec2) == []


def test_another_region_can_be_used_after_a_with_block_of_its_own(gated_ec2: EC2) -> None:
    with gated_ec2.in_region("eu-west-1") as there:
        there.create_volume(1)
    assert there.create_volume(1).id in volumes(there)
    assert gated_ec2.clean() == []
    assert volumes(there) == []


def test_a_call_that_outlasts_clean_is_reported_and_deletes_what_it_creates(
    gated_ec2: EC2, gate: FaultyEC2, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "CALL_TIMEOUT", 0.05)
    in_flight, cleaned = threading.Event(), threading.Event()

    def hold() -> None:
        in_flight.set()
        assert cleaned.wait(PATIENCE)

    gate.on("RunInstances", after=hold)
    launch = pool.submit(gated_ec2.launch, BOOKWORM_DAILY, wait=False)
    assert in_flight.wait(PATIENCE)
    (error,) = gated_ec2.clean()
    cleaned.set()
    assert "instance that may have been made" in str(error)
    assert "still in flight" in str(error)
    assert isinstance(launch.exception(PATIENCE), IllegalStateError)
    assert living(gated_ec2) == []
    assert gated_ec2.clean() == []


def test_concurrent_cleans_and_launches_leave_nothing(gated_ec2: EC2, pool: ThreadPoolExecutor) -> None:
    def launch() -> str:
        try:
            return gated_ec2.launch(BOOKWORM_DAILY, wait=False).state.value
        except IllegalStateError as error:
            return str(error)

    launches = [pool.submit(launch) for _ in range(8)]
    cleans = [pool.submit(gated_ec2.clean) for _ in range(3)]
    assert all(launch.result(PATIENCE) for launch in launches)
    assert [clean.result(PATIENCE) for clean in cleans] == [[], [], []]
    assert gated_ec2.clean() == []
    assert living(gated_ec2) == []


def test_clean_terminates_an_interrupted_fleet_by_one_call(gated_ec2: EC2, gate: FaultyEC2) -> None:
    main_thread = threading.main_thread().ident or 0
    gate.on("RunInstances", after=lambda: signal.pthread_kill(main_thread, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        gated_ec2.launch_many(BOOKWORM_DAILY, 20, wait=False)
    assert len(living(gated_ec2)) == 20
    assert gated_ec2.clean() == []
    assert living(gated_ec2) == []
    assert gate.asked.count("TerminateInstances") == 1


# A lost response, at a server that ignores client tokens


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)
    # A busy machine takes its time to show a resource.
    monkeypatch.setattr(retries, "LOOK_FOR_LOST", PATIENCE)


@pytest.mark.usefixtures("hasty")
def test_a_lost_response_to_create_volume_leaves_one_volume(gated_ec2: EC2, gate: FaultyEC2) -> None:
    gate.fail_action("CreateVolume", Break.AFTER)
    volume = gated_ec2.create_volume(1)
    assert gate.asked.count("CreateVolume") == 1
    assert volumes(gated_ec2) == [volume.id]


@pytest.mark.usefixtures("hasty")
def test_a_lost_response_to_run_instances_leaves_one_fleet(gated_ec2: EC2, gate: FaultyEC2) -> None:
    gate.fail_action("RunInstances", Break.AFTER)
    fleet = gated_ec2.launch_many(BOOKWORM_DAILY, 3, wait=False)
    assert gate.asked.count("RunInstances") == 1
    assert sorted(fleet.ids) == sorted(living(gated_ec2))
    assert len(fleet) == 3


@pytest.mark.usefixtures("hasty")
def test_a_lost_response_to_create_network_interface_leaves_one_interface(gated_ec2: EC2, gate: FaultyEC2) -> None:
    instance = gated_ec2.launch(BOOKWORM_DAILY, wait=False)
    wait_until(
        lambda: instance.state is InstanceState.RUNNING, what="a running instance", deadline=Deadline.after(PATIENCE)
    )
    gate.fail_action("CreateNetworkInterface", Break.AFTER)
    instance.add_network_interface()
    assert gate.asked.count("CreateNetworkInterface") == 1
    assert len(instance.network_interfaces()) == 2
