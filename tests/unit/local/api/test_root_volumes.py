"""Replacing the root volume of an instance that runs. No machine is needed for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.waiting import wait_until
from support.plain_ec2 import PlainEC2, connect, refusal, simulated_ec2

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ENDED = ("succeeded", "failed")


@pytest.fixture(scope="module", params=[0.0, 0.2], ids=["at once", "later"])
def local_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"boot_seconds": request.param, "stop_seconds": request.param}


@pytest.fixture
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainEC2]:
    """One whose guests take an hour to shut down."""
    with simulated_ec2(tmp_path_factory.mktemp("slow"), stop_seconds=3600.0) as local:
        yield PlainEC2(connect(local))


def task(client: EC2Client, task_id: str) -> dict[str, Any]:
    return client.describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=[task_id])["ReplaceRootVolumeTasks"][0]


def end_of(client: EC2Client, task_id: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        described = task(client, task_id)
        return described if described["TaskState"] in ENDED else None

    return wait_until(ended, what=f"{task_id} to end", deadline=Deadline.after(60), interval=0.02)


def replaced(client: EC2Client, instance_id: str, **parameters: Any) -> dict[str, Any]:
    made = client.create_replace_root_volume_task(InstanceId=instance_id, **parameters)["ReplaceRootVolumeTask"]
    ended = end_of(client, made["ReplaceRootVolumeTaskId"])
    assert ended["TaskState"] == "succeeded"
    return ended


def root(ec2: PlainEC2, instance_id: str) -> dict[str, Any]:
    instance = ec2.instance(instance_id)
    return ec2.volume(ec2.devices(instance_id)[instance["RootDeviceName"]]["VolumeId"])


def test_the_launch_state_is_another_volume_of_the_same_snapshot(client: EC2Client, ec2: PlainEC2) -> None:
    name = ec2.image["RootDeviceName"]
    instance_id = ec2.launch(
        BlockDeviceMappings=[
            {"DeviceName": name, "Ebs": {"VolumeSize": 20, "DeleteOnTermination": False, "VolumeType": "gp2"}},
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}},
        ]
    )
    before, data, instance = root(ec2, instance_id), ec2.devices(instance_id)["/dev/sdb"], ec2.instance(instance_id)
    ended = replaced(client, instance_id)
    after = root(ec2, instance_id)
    assert after["VolumeId"] != before["VolumeId"]
    assert ended["SnapshotId"] == after["SnapshotId"] == before["SnapshotId"]
    assert (after["Size"], after["VolumeType"]) == (20, "gp2")
    assert after["Attachments"][0]["DeleteOnTermination"] is False
    assert ec2.devices(instance_id)["/dev/sdb"] == data
    left = ec2.volume(before["VolumeId"])
    assert (left["State"], left["Attachments"]) == ("available", [])
    now = ec2.instance(instance_id)
    for member in ("State", "PublicIpAddress", "PrivateIpAddress", "ImageId", "LaunchTime"):
        assert now[member] == instance[member]


def test_a_task_is_described_with_its_tags(client: EC2Client, ec2: PlainEC2) -> None:
    instance_id = ec2.launch()
    tags = [{"Key": "why", "Value": "pristine"}]
    made = client.create_replace_root_volume_task(
        InstanceId=instance_id, TagSpecifications=[{"ResourceType": "replace-root-volume-task", "Tags": tags}]
    )["ReplaceRootVolumeTask"]
    assert made["TaskState"] in ("pending", "in-progress", "succeeded")
    assert (made["InstanceId"], made["DeleteReplacedRootVolume"]) == (instance_id, False)
    ended = end_of(client, made["ReplaceRootVolumeTaskId"])
    assert ended["CompleteTime"] >= ended["StartTime"]
    assert ended["Tags"] == tags
    wanted = [{"Name": "instance-id", "Values": [instance_id]}]
    found = client.describe_replace_root_volume_tasks(Filters=wanted)["ReplaceRootVolumeTasks"]
    assert found == [ended]
    unknown = ["replacevol-0123456789abcdef0"]
    describe = client.describe_replace_root_volume_tasks
    assert refusal(describe, ReplaceRootVolumeTaskIds=unknown) == "InvalidReplaceRootVolumeTaskId.NotFound"


def test_the_replaced_volume_can_be_deleted(client: EC2Client, ec2: PlainEC2) -> None:
    instance_id = ec2.launch()
    before = root(ec2, instance_id)["VolumeId"]
    assert replaced(client, instance_id, DeleteReplacedRootVolume=True)["DeleteReplacedRootVolume"] is True
    assert refusal(client.describe_volumes, VolumeIds=[before]) == "InvalidVolume.NotFound"


def test_an_image_replaces_the_root_volume(client: EC2Client, ec2: PlainEC2) -> None:
    instance_id = ec2.launch()
    image_id = ec2.create_image(instance_id, "golden")
    snapshot_id = ec2.describe_image(image_id)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    ended = replaced(client, instance_id, ImageId=image_id)
    assert (ended["ImageId"], ended["SnapshotId"]) == (image_id, snapshot_id)
    assert root(ec2, instance_id)["SnapshotId"] == snapshot_id
    assert ec2.instance(instance_id)["ImageId"] == image_id
    client.deregister_image(ImageId=image_id)


def test_a_snapshot_of_an_earlier_root_volume_replaces_it(client: EC2Client, ec2: PlainEC2) -> None:
    instance_id = ec2.launch()
    snapshot_id = ec2.snapshot(root(ec2, instance_id)["VolumeId"])
    replaced(client, instance_id)
    assert replaced(client, instance_id, SnapshotId=snapshot_id)["SnapshotId"] == snapshot_id
    assert root(ec2, instance_id)["SnapshotId"] == snapshot_id


def test_a_volume_replaces_the_root_volume(client: EC2Client, ec2: PlainEC2) -> None:
    instance_id = ec2.launch()
    before = root(ec2, instance_id)["VolumeId"]
    replaced(client, instance_id)
    replaced(client, instance_id, VolumeId=before)
    assert root(ec2, instance_id)["VolumeId"] == before


def test_sources_that_will_not_do_are_refused(client: EC2Client, ec2: PlainEC2) -> None:
    instance_id, other = ec2.launch(), ec2.launch()
    foreign = ec2.snapshot(root(ec2, other)["VolumeId"])
    arm = client.describe_images(Filters=[{"Name": "architecture", "Values": ["arm64"]}])["Images"][0]["ImageId"]
    elsewhere = ec2.create_volume(AvailabilityZone="us-east-1b")
    image_id = ec2.image["ImageId"]
    volumes = len(client.describe_volumes()["Volumes"])
    cases: list[tuple[dict[str, Any], str]] = [
        ({"SnapshotId": foreign}, "InvalidParameterValue"),
        ({"SnapshotId": "snap-0123456789abcdef0"}, "InvalidSnapshot.NotFound"),
        ({"ImageId": arm}, "InvalidParameterValue"),
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"ImageId": image_id, "SnapshotId": foreign}, "InvalidParameterCombination"),
        ({"VolumeId": root(ec2, other)["VolumeId"]}, "VolumeInUse"),
        ({"VolumeId": elsewhere}, "InvalidVolume.ZoneMismatch"),
        ({"VolumeInitializationRate": 200}, "UnsupportedOperation"),
    ]
    for source, code in cases:
        assert refusal(client.create_replace_root_volume_task, InstanceId=instance_id, **source) == code
    assert len(client.describe_volumes()["Volumes"]) == volumes


def test_only_a_running_instance_gets_another_root_volume(client: EC2Client, ec2: PlainEC2) -> None:
    instance_id = ec2.launch()
    ec2.stop(instance_id)
    create = client.create_replace_root_volume_task
    assert refusal(create, InstanceId=instance_id) == "IncorrectInstanceState"
    assert refusal(create, InstanceId="i-0123456789abcdef0") == "InvalidInstanceID.NotFound"


def test_meanwhile_the_instance_takes_no_other_orders(slow: PlainEC2) -> None:
    client, instance_id = slow.client, slow.launch()
    before = root(slow, instance_id)["VolumeId"]
    made = client.create_replace_root_volume_task(InstanceId=instance_id)["ReplaceRootVolumeTask"]
    code = "IncorrectInstanceState"
    assert refusal(client.create_replace_root_volume_task, InstanceId=instance_id) == code
    assert refusal(client.reboot_instances, InstanceIds=[instance_id]) == code
    assert refusal(client.create_image, InstanceId=instance_id, Name="too early") == code
    replacement = next(one for one in client.describe_volumes()["Volumes"] if one["VolumeId"] != before)
    assert replacement["Attachments"][0]["State"] == "attaching"
    assert refusal(client.delete_volume, VolumeId=replacement["VolumeId"]) == "VolumeInUse"
    client.stop_instances(InstanceIds=[instance_id], Force=True)
    slow.wait_for_instance(instance_id, "stopped")
    assert end_of(client, made["ReplaceRootVolumeTaskId"])["TaskState"] == "failed"
    assert root(slow, instance_id)["VolumeId"] == before
    assert refusal(client.describe_volumes, VolumeIds=[replacement["VolumeId"]]) == "InvalidVolume.NotFound"


def test_a_terminated_instance_ends_the_task(slow: PlainEC2) -> None:
    client, instance_id = slow.client, slow.launch()
    made = client.create_replace_root_volume_task(InstanceId=instance_id)["ReplaceRootVolumeTask"]
    slow.terminate(instance_id)
    assert end_of(client, made["ReplaceRootVolumeTaskId"])["TaskState"] == "failed"
    assert client.describe_volumes()["Volumes"] == []
