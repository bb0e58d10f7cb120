"""Three machines handled as one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pycloudlib import EC2
from pycloudlib.ec2.fleet import Fleet
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.local import LocalEC2
from support.imds import asking_imds
from support.processes import machines_of

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def fleet(shared_ec2: EC2, image_id: str, local: LocalEC2) -> Iterator[Fleet]:
    before = set(machines_of(local.info.pid))
    with shared_ec2.launch_many(image_id, 3, user_data="#!/bin/sh\necho ran >/var/tmp/ran\n") as fleet:
        yield fleet
    assert set(machines_of(local.info.pid)) == before


def test_each_is_a_machine_of_its_own(fleet: Fleet) -> None:
    told = fleet.execute("cat /etc/machine-id /proc/sys/kernel/random/boot_id /etc/ssh/*.pub /var/tmp/ran")
    assert list(told) == fleet.ids
    assert all(result.ok and result.endswith("ran") for result in told.values())
    identities = [result.splitlines()[:-1] for result in told.values()]
    assert [len(set(same)) for same in zip(*identities, strict=True)] == [3] * len(identities[0])


def test_the_metadata_service_of_each_answers_its_own_guest(fleet: Fleet) -> None:
    told = fleet.execute(asking_imds("instance-id"))
    assert {instance_id: str(result.check()) for instance_id, result in told.items()} == {id_: id_ for id_ in fleet.ids}


def test_a_command_that_fails_in_one_is_no_error_of_the_others(fleet: Fleet) -> None:
    fleet[1].execute("touch /var/tmp/only-here").check()
    results = fleet.execute("test -e /var/tmp/only-here")
    assert [result.ok for result in results.values()] == [False, True, False]


def test_all_are_stopped_and_some_are_ready_again_with_a_larger_disk(fleet: Fleet, shared_ec2: EC2) -> None:
    before = fleet[0].get_boot_id()
    fleet.shutdown()
    assert {instance.state for instance in fleet} == {InstanceState.STOPPED}
    (root,) = fleet[0].volumes()
    shared_ec2.client.modify_volume(VolumeId=root.id, Size=root.size_gb + 2)
    fleet[:1].start()
    assert fleet[0].get_boot_id() != before
    gibibytes = int(fleet[0].execute("findmnt -bno SIZE /").check()) / 2**30
    assert root.size_gb + 1 < gibibytes < root.size_gb + 2
    assert [instance.state for instance in fleet[1:]] == [InstanceState.STOPPED] * 2
