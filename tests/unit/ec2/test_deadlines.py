"""Every call with a timeout ends at its deadline, although EC2 is silent or throttling, and says so."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest

from pycloudlib.deadline import SYSTEM_CLOCK, Deadline
from pycloudlib.ec2.api import faults, retries
from pycloudlib.ec2.api.retries import NOT_YET_VISIBLE
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.fleet import Fleet
from pycloudlib.ec2.images.image import Image
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.network.security_groups import SecurityGroup
from pycloudlib.ec2.storage.snapshots import Snapshot
from pycloudlib.ec2.storage.volume import Volume
from pycloudlib.ec2.vpc import VPC
from pycloudlib.errors import (
    BootTimeoutError,
    FleetError,
    NoResponseError,
    PycloudlibError,
    PycloudlibTimeoutError,
    ThrottledError,
)
from pycloudlib.result import Result
from pycloudlib.waiting import wait_until
from support.faulty_ec2 import Break, Fault, FaultyEC2, Refusal, faulty_ec2
from support.moto_server import BOOKWORM_DAILY
from unit.ec2.conftest import ConnectTo

TIMEOUT = 1.0
"""Seconds for each call."""

LAST_RESPONSE = 0.2
"""Seconds for the last request of each."""

TIMEOUT_OF_MANY = 4.0
"""Seconds for a call whose first requests are responded to."""

TOO_LATE = 60.0
"""Seconds: without a deadline, the first request is given up no sooner."""

NO_RESPONSE = "EC2 did not respond within"

SILENT, THROTTLING = Break.DEAF, Refusal("RequestLimitExceeded", 503)


@dataclass
class World:
    """What the calls are about."""

    ec2: EC2
    fleet: Fleet
    vpc: VPC
    group: SecurityGroup
    image: Image
    attached: Volume
    volume: Volume
    snapshot: Snapshot
    faulty: FaultyEC2

    @property
    def instance(self) -> EC2Instance:
        return self.fleet[0]


@pytest.fixture(scope="module")
def proxy(moto_url: str) -> Iterator[FaultyEC2]:
    with faulty_ec2(moto_url) as faulty:
        yield faulty


@pytest.fixture
def ec2(connect: ConnectTo, proxy: FaultyEC2, monkeypatch: pytest.MonkeyPatch) -> Iterator[EC2]:
    found = connect(proxy.url)
    with monkeypatch.context() as hasty:
        hasty.setattr("pycloudlib.ec2.instances.boots.CONSOLE_RESPONSE", LAST_RESPONSE)
        hasty.setattr("pycloudlib.ec2.images.catalogue.UNDO_TIMEOUT", LAST_RESPONSE)
        hasty.setattr("pycloudlib.ec2.capture.UNDO_TIMEOUT", LAST_RESPONSE)
        hasty.setattr(retries, "LOOK_FOR_LOST", LAST_RESPONSE)
        yield found
        proxy.behave()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first request without a response on, none is waited for any longer."""
    monkeypatch.setattr(faults, "LAST_RESPONSE", LAST_RESPONSE)


@pytest.fixture
def vpc(ec2: EC2) -> VPC:
    return ec2.get_or_create_vpc(f"vpc-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def instance(ec2: EC2) -> EC2Instance:
    return ec2.launch(BOOKWORM_DAILY, wait=False)


@pytest.fixture
def world(ec2: EC2, vpc: VPC, proxy: FaultyEC2) -> World:
    fleet, volume = ec2.launch_many(BOOKWORM_DAILY, 1, wait=False), ec2.create_volume(8)
    fleet[0].boot_timeout = fleet[0].stop_timeout = fleet[0].delete_timeout = TIMEOUT
    return World(
        ec2=ec2,
        fleet=fleet,
        vpc=vpc,
        group=ec2.create_security_group(f"group-{uuid.uuid4().hex[:8]}", "for a test"),
        image=ec2.image(BOOKWORM_DAILY),
        attached=fleet[0].add_volume(8),
        volume=volume,
        snapshot=volume.snapshot(),
        faulty=proxy,
    )


def guest_device(world: World) -> object:
    # Its guest can be asked, unlike EC2.
    world.attached._run = lambda *_, **__: Result("", return_code=1)
    return world.attached.guest_device(TIMEOUT)


CALLS: dict[str, Callable[[World], object]] = {
    "EC2.get_or_create_vpc": lambda world: world.ec2.get_or_create_vpc("new", timeout=TIMEOUT),
    "VPC.delete": lambda world: world.vpc.delete(TIMEOUT),
    "EC2.snapshot": lambda world: world.ec2.snapshot(world.instance, clean=False, timeout=TIMEOUT),
    "EC2.register_image": lambda world: world.ec2.register_image(world.snapshot, "registered", timeout=TIMEOUT),
    "Image.wait": lambda world: world.image.wait(TIMEOUT),
    "Image.copy_to_region": lambda world: world.image.copy_to_region("eu-west-1", timeout=TIMEOUT),
    "Volume.wait": lambda world: world.volume.wait(TIMEOUT),
    "Volume.snapshot": lambda world: world.volume.snapshot(timeout=TIMEOUT),
    "Volume.guest_device": guest_device,
    "Snapshot.wait": lambda world: world.snapshot.wait(TIMEOUT),
    "SecurityGroup.delete": lambda world: world.group.delete(TIMEOUT),
    "EC2Instance.remove_volume": lambda world: world.instance.remove_volume(world.attached, TIMEOUT),
    "EC2Instance.replace_root_volume": lambda world: world.instance.replace_root_volume(timeout=TIMEOUT),
    "EC2Instance.console_log": lambda world: world.instance.console_log(TIMEOUT),
    "EC2Instance.console_log(0)": lambda world: world.instance.console_log(0),
    "EC2Instance.shutdown": lambda world: world.instance.shutdown(),
    "EC2Instance.start": lambda world: world.instance.start(),
    "EC2Instance.restart": lambda world: world.instance.restart(),
    "EC2Instance.wait": lambda world: world.instance.wait(TIMEOUT),
    "EC2Instance.wait_for_stop": lambda world: world.instance.wait_for_stop(),
    "EC2Instance.wait_for_delete": lambda world: world.instance.wait_for_delete(),
    "EC2Instance.delete": lambda world: world.instance.delete(),
    "Fleet.wait": lambda world: world.fleet.wait(TIMEOUT),
    "Fleet.shutdown": lambda world: world.fleet.shutdown(),
    "Fleet.start": lambda world: world.fleet.start(),
    "Fleet.restart": lambda world: world.fleet.restart(),
    "Fleet.delete": lambda world: world.fleet.delete(),
}


def outcome(call: Callable[[], object]) -> tuple[object, float]:
    """Return what a call raised or returned, and its seconds."""
    began = SYSTEM_CLOCK.now()
    try:
        result = call()
    except PycloudlibError as error:
        result = error
    if isinstance(result, FleetError):
        result = [*result.errors.values()]
    if isinstance(result, list) and result:
        # delete() returns what went wrong, the first failure first.
        result = result[0]
    return result, SYSTEM_CLOCK.now() - began


def outcomes(world: World, fault: Fault) -> dict[str, object]:
    """Make every call while nothing else comes from EC2; check that each ended in time."""
    world.faulty.fail_all(fault)
    with ThreadPoolExecutor(len(CALLS)) as pool:
        pending = {name: pool.submit(outcome, partial(call, world)) for name, call in CALLS.items()}
        ended = {name: future.result() for name, future in pending.items()}
    assert [name for name, (_, seconds) in ended.items() if seconds > TOO_LATE] == []
    return {name: result for name, (result, _) in ended.items()}


@pytest.mark.usefixtures("impatient")
def test_calls_with_a_timeout_end_although_ec2_never_responds(world: World) -> None:
    found = outcomes(world, SILENT)
    assert {name: error for name, error in found.items() if not isinstance(error, PycloudlibTimeoutError)} == {}
    assert {name: error for name, error in found.items() if NO_RESPONSE not in str(error)} == {}


@pytest.mark.usefixtures("impatient")
def test_calls_with_a_timeout_end_although_ec2_throttles_for_ever(world: World) -> None:
    found = outcomes(world, THROTTLING)
    kinds = (PycloudlibTimeoutError, ThrottledError)
    assert {name: error for name, error in found.items() if not isinstance(error, kinds)} == {}
    # On a machine that is busy with other things, a refusal takes longer than the timeout.
    told = (NO_RESPONSE, "RequestLimitExceeded")
    assert {name: error for name, error in found.items() if not any(text in str(error) for text in told)} == {}


@pytest.mark.parametrize("action", ["CreateVpc", "CreateInternetGateway", "CreateSubnet", "CreateTags"])
def test_a_vpc_that_ec2_stops_responding_about_is_left_to_clean(ec2: EC2, proxy: FaultyEC2, action: str) -> None:
    name = f"vpc-{uuid.uuid4().hex[:8]}"
    proxy.fail_action(action, Break.SILENCE, for_good=True)
    error, seconds = outcome(lambda: ec2.get_or_create_vpc(name, timeout=TIMEOUT_OF_MANY))
    assert isinstance(error, NoResponseError)
    assert seconds < TOO_LATE
    proxy.behave()
    assert ec2.clean() == []
    assert ec2.client.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [name]}])["Vpcs"] == []


@pytest.mark.parametrize("refusal", [Refusal("InvalidVpcID.NotFound"), Refusal("RequestLimitExceeded", 503)])
def test_a_create_call_is_not_repeated_after_the_deadline(ec2: EC2, proxy: FaultyEC2, refusal: Refusal) -> None:
    proxy.fail_action("CreateRouteTable", refusal, for_good=True)
    with pytest.raises(PycloudlibError):
        ec2.get_or_create_vpc(f"vpc-{uuid.uuid4().hex[:8]}", timeout=TIMEOUT_OF_MANY)

    def is_over() -> bool:
        return not any(thread.name == "call-within:create the route table" for thread in threading.enumerate())

    wait_until(is_over, what="the create call to end", deadline=Deadline.after(NOT_YET_VISIBLE / 2))
    proxy.behave()
    assert ec2.clean() == []


@pytest.mark.parametrize("action", ["DetachVolume", "DeleteVolume"])
def test_removing_a_volume_ends_although_ec2_stops_responding(
    instance: EC2Instance, proxy: FaultyEC2, action: str
) -> None:
    volume = instance.add_volume(8)
    proxy.fail_action(action, Break.SILENCE, for_good=True)
    error, seconds = outcome(lambda: instance.remove_volume(volume, TIMEOUT_OF_MANY))
    assert isinstance(error, NoResponseError)
    assert seconds < TOO_LATE


@pytest.mark.parametrize("action", ["DescribeSubnets", "DeleteSubnet", "DeleteVpc"])
def test_deleting_a_vpc_ends_although_ec2_stops_responding(vpc: VPC, proxy: FaultyEC2, action: str) -> None:
    proxy.fail_action(action, Break.DEAF, for_good=True)
    error, seconds = outcome(lambda: vpc.delete(TIMEOUT_OF_MANY))
    assert isinstance(error, NoResponseError)
    assert seconds < TOO_LATE
    proxy.behave()
    assert vpc.delete() == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("action", ["StopInstances", "CreateImage", "StartInstances", "DescribeImages"])
def test_making_an_image_ends_although_ec2_stops_responding(
    instance: EC2Instance, ec2: EC2, proxy: FaultyEC2, action: str
) -> None:
    proxy.fail_action(action, Break.SILENCE, for_good=True)
    error, seconds = outcome(lambda: ec2.snapshot(instance, clean=False, timeout=TIMEOUT_OF_MANY))
    assert isinstance(error, PycloudlibTimeoutError)
    assert NO_RESPONSE in str(error)
    assert seconds < TOO_LATE


def test_instances_that_queue_for_a_wait_have_the_deadline_of_the_others(
    ec2: EC2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycloudlib.ec2.fleet.WAITED_FOR_AT_ONCE", 1)
    fleet = ec2.launch_many(BOOKWORM_DAILY, 16, wait=False)
    for instance in fleet:
        instance.boot_timeout = TIMEOUT_OF_MANY
    error, seconds = outcome(fleet.wait)
    assert isinstance(error, BootTimeoutError)
    assert seconds < TOO_LATE


def test_an_instance_is_not_taken_for_gone_although_ec2_throttles(
    instance: EC2Instance, proxy: FaultyEC2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycloudlib.ec2.instances.status.GONE_AFTER", 0.0)
    instance._status._visible_by = 0.0
    instance.delete_timeout = TIMEOUT
    proxy.fail_all(THROTTLING)
    with pytest.raises(PycloudlibTimeoutError, match="to be terminated; last seen: "):
        instance.wait_for_delete()
