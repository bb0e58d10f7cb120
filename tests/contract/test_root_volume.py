"""A root volume that is replaced: a pristine machine without a launch."""

from __future__ import annotations

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.errors import CloudError, InstanceStateError, InvalidArgumentError, ResourceNotFoundError


def root_volume(ec2: EC2, instance: EC2Instance) -> str:
    record = ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    devices = {one["DeviceName"]: one["Ebs"]["VolumeId"] for one in record["BlockDeviceMappings"]}
    return devices[record["RootDeviceName"]]


def tasks(ec2: EC2, instance: EC2Instance) -> list[dict[str, str]]:
    wanted = [{"Name": "instance-id", "Values": [instance.id]}]
    found = ec2.client.describe_replace_root_volume_tasks(Filters=wanted)["ReplaceRootVolumeTasks"]
    return [{tag["Key"]: tag["Value"] for tag in task["Tags"]} for task in found]


def test_the_instance_is_ready_again_with_another_root_volume(ec2: EC2, instance: EC2Instance) -> None:
    before, boot_id, public_ip = root_volume(ec2, instance), instance.get_boot_id(), instance.ip
    tags = dict(ec2.volume(before).tags)
    assert {"pycloudlib:run", "pycloudlib:owner"} <= set(tags)
    instance.replace_root_volume()
    after = root_volume(ec2, instance)
    assert after != before
    assert dict(ec2.volume(after).tags) == tags
    assert instance.get_boot_id() != boot_id
    assert instance.ip == public_ip
    with pytest.raises(ResourceNotFoundError, match=before):
        ec2.volume(before)
    assert {"pycloudlib:run", "pycloudlib:owner"} <= set(tasks(ec2, instance)[-1])


def test_the_new_root_volume_may_be_of_an_image_or_a_snapshot(
    ec2: EC2, instance: EC2Instance, request: pytest.FixtureRequest
) -> None:
    if "qemu" in request.node.name:
        pytest.skip("takes two further boots, and shows nothing more of a machine")
    snapshot = ec2.volume(root_volume(ec2, instance)).snapshot()
    instance.replace_root_volume(snapshot_id=snapshot.id)
    assert ec2.volume(root_volume(ec2, instance)).snapshot_id == snapshot.id
    image_id = ec2.released_image("bookworm")
    instance.replace_root_volume(image_id)
    assert instance.image_id == image_id


def test_a_bad_source_is_refused_before_anything_happens(ec2: EC2, instance: EC2Instance) -> None:
    before = root_volume(ec2, instance)
    with pytest.raises(InvalidArgumentError, match="image_id or snapshot_id, not both"):
        instance.replace_root_volume("ami-1", "snap-1")
    with pytest.raises(InvalidArgumentError, match="image_id is 5; it must be an id"):
        instance.replace_root_volume(5)  # type: ignore[arg-type]
    with pytest.raises(CloudError, match="snap-0123456789abcdef0"):
        instance.replace_root_volume(snapshot_id="snap-0123456789abcdef0")
    assert root_volume(ec2, instance) == before
    assert instance.execute("true").ok


def test_a_stopped_instance_keeps_its_root_volume(ec2: EC2, running: EC2Instance) -> None:
    before = root_volume(ec2, running)
    running.shutdown()
    with pytest.raises(InstanceStateError, match="cannot be given another root volume: it is stopped"):
        running.replace_root_volume(wait=False)
    assert root_volume(ec2, running) == before
