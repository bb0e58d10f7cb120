"""Volumes that are added to an instance: their names, and what is left when adding one fails."""

from __future__ import annotations

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.attached_volumes import DEVICE_LETTERS
from pycloudlib.errors import CloudError, IllegalStateError, InstanceStateError, InvalidArgumentError
from support.moto_server import BOOKWORM_DAILY


@pytest.fixture
def instance(ec2: EC2) -> EC2Instance:
    return ec2.launch(BOOKWORM_DAILY, wait=False)


def own_volumes(ec2: EC2) -> list[str]:
    return [volume.id for volume in ec2.volumes(tag={"Name": ec2.tag})]


def attach(ec2: EC2, instance: EC2Instance, device_name: str) -> None:
    """Attach a volume as somebody else does."""
    volume_id = ec2.client.create_volume(AvailabilityZone=instance.availability_zone, Size=1)["VolumeId"]
    ec2.client.attach_volume(VolumeId=volume_id, InstanceId=instance.id, Device=device_name)


@pytest.mark.parametrize("taken", ["/dev/sdf", "/dev/xvdf", "xvdf", "/dev/sdf1"])
def test_a_name_that_is_mapped_in_any_spelling_is_not_given(ec2: EC2, instance: EC2Instance, taken: str) -> None:
    attach(ec2, instance, taken)
    assert instance.add_volume(1).attachments[0].device_name == "/dev/sdg"


def test_without_a_free_name_nothing_is_made(ec2: EC2, instance: EC2Instance) -> None:
    for letter in DEVICE_LETTERS:
        attach(ec2, instance, f"/dev/sd{letter}")
    before = own_volumes(ec2)
    with pytest.raises(InvalidArgumentError, match="no device name is free: /dev/sdf to /dev/sdz"):
        instance.add_volume(1)
    assert own_volumes(ec2) == before


@pytest.mark.parametrize("action", ["AttachVolume", "ModifyInstanceAttribute"])
def test_when_it_cannot_be_attached_nothing_is_left(ec2: EC2, instance: EC2Instance, action: str) -> None:
    before = own_volumes(ec2)

    def refuse(**_: object) -> None:
        raise CloudError("refused", code="AttachmentLimitExceeded")

    ec2.client.meta.events.register(f"before-call.ec2.{action}", refuse)
    with pytest.raises(CloudError, match="refused"):
        instance.add_volume(1)
    ec2.client.meta.events.unregister(f"before-call.ec2.{action}", refuse)
    assert own_volumes(ec2) == before
    assert instance.add_volume(1).attachments[0].device_name == "/dev/sdf"


def test_a_snapshot_that_is_not_there_is_noticed_before_anything_is_made(ec2: EC2, instance: EC2Instance) -> None:
    before = own_volumes(ec2)
    with pytest.raises(CloudError, match=r"[Ss]nap"):
        instance.add_volume(1, snapshot_id="snap-0123456789abcdef0")
    assert own_volumes(ec2) == before


def test_an_instance_that_is_terminated_elsewhere_is_given_none(ec2: EC2, instance: EC2Instance) -> None:
    ec2.client.terminate_instances(InstanceIds=[instance.id])
    before = own_volumes(ec2)
    with pytest.raises(InstanceStateError, match=f"{instance.id}: it cannot be given a volume: it is terminated"):
        instance.add_volume()
    assert own_volumes(ec2) == before


def test_a_stopped_instance_is_given_one(instance: EC2Instance) -> None:
    instance.shutdown()
    assert instance.add_volume(1).state == "in-use"


def test_deleting_an_attached_volume_raises(ec2: EC2, instance: EC2Instance) -> None:
    volume = instance.add_volume(1)
    with pytest.raises(IllegalStateError):
        ec2.volume(volume.id).delete()
