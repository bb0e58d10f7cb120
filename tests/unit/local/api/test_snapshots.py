"""Snapshots of the local EC2: their progress, whose they are, and what is refused. No machine is needed for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until
from support.plain_ec2 import PlainEC2, connect, refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture(scope="module")
def local_options() -> dict[str, Any]:
    return {"image_seconds": 1.5}


@pytest.fixture(scope="module")
def completed(ec2: PlainEC2) -> str:
    return ec2.snapshot(ec2.create_volume(Size=3))


def test_the_progress_of_a_snapshot_rises_until_it_is_complete(client: EC2Client, ec2: PlainEC2) -> None:
    volume_id = ec2.create_volume(Size=3)
    answer = client.create_snapshot(VolumeId=volume_id, Description="before the upgrade")
    assert (answer["State"], answer["VolumeId"], answer["VolumeSize"]) == ("pending", volume_id, 3)
    seen: list[int] = []

    def complete() -> bool:
        snapshot = ec2.describe_snapshot(answer["SnapshotId"])
        seen.append(int(snapshot["Progress"].removesuffix("%")))
        return bool(snapshot["State"] == "completed")

    wait_until(lambda: complete() or None, what="the snapshot", deadline=Deadline.after(60), interval=0.02)
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert len(set(seen)) > 2
    assert ec2.describe_snapshot(answer["SnapshotId"])["Description"] == "before the upgrade"


def test_a_pending_snapshot_cannot_be_used(client: EC2Client, ec2: PlainEC2) -> None:
    snapshot_id = client.create_snapshot(VolumeId=ec2.create_volume())["SnapshotId"]
    assert refusal(ec2.create_volume, SnapshotId=snapshot_id) == "IncorrectState"
    devices = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}]
    register = {"Name": "of pending", "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": devices}
    assert refusal(client.register_image, **register) == "IncorrectState"
    copy = {"SourceSnapshotId": snapshot_id, "SourceRegion": "us-east-1"}
    assert refusal(client.copy_snapshot, **copy) == "IncorrectState"


def test_a_snapshot_can_be_taken_of_a_volume_in_use(ec2: PlainEC2) -> None:
    instance = ec2.launch()
    (root,) = ec2.devices(instance).values()
    snapshot = ec2.describe_snapshot(ec2.snapshot(root["VolumeId"]))
    assert (snapshot["VolumeId"], snapshot["State"]) == (root["VolumeId"], "completed")
    assert ec2.volume(root["VolumeId"])["State"] == "in-use"


def test_snapshots_of_all_volumes_of_an_instance_are_taken_at_once(client: EC2Client, ec2: PlainEC2) -> None:
    instance = ec2.launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 2}}])
    taken = client.create_snapshots(InstanceSpecification={"InstanceId": instance}, Description="all")["Snapshots"]
    assert {one["VolumeId"] for one in taken} == {one["VolumeId"] for one in ec2.devices(instance).values()}
    for one in taken:
        ec2.wait_for_snapshot(one["SnapshotId"])
        assert ec2.describe_snapshot(one["SnapshotId"])["Description"] == "all"


def test_a_snapshot_outlives_its_volume(client: EC2Client, ec2: PlainEC2) -> None:
    volume_id = ec2.create_volume(Size=3)
    snapshot_id = client.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    client.delete_volume(VolumeId=volume_id)
    ec2.wait_for_snapshot(snapshot_id)
    assert ec2.volume(ec2.create_volume(SnapshotId=snapshot_id))["Size"] == 3


def test_a_volume_is_at_least_as_large_as_its_snapshot(ec2: PlainEC2, completed: str) -> None:
    assert ec2.volume(ec2.create_volume(SnapshotId=completed, Size=5))["Size"] == 5
    assert ec2.volume(ec2.create_volume(SnapshotId=completed))["SnapshotId"] == completed
    assert refusal(ec2.create_volume, SnapshotId=completed, Size=2) == "InvalidParameterValue"


def test_snapshots_are_tagged_and_found(client: EC2Client, ec2: PlainEC2) -> None:
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "theme", "Value": "filters"}]}]
    volume_id = ec2.create_volume(Size=2)
    snapshot_id = ec2.snapshot(volume_id, TagSpecifications=tags, Description="found again")

    def found(**filters: str) -> list[str]:
        wanted = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
        return [one["SnapshotId"] for one in client.describe_snapshots(Filters=wanted, OwnerIds=["self"])["Snapshots"]]

    assert found(volume_id=volume_id) == [snapshot_id]
    assert found(description="found*") == [snapshot_id]
    assert found(status="completed", volume_size="2", volume_id=volume_id) == [snapshot_id]
    assert found(status="error") == []
    tagged = client.describe_snapshots(Filters=[{"Name": "tag:theme", "Values": ["filters"]}])["Snapshots"]
    assert [(one["SnapshotId"], one["Tags"]) for one in tagged] == [
        (snapshot_id, [{"Key": "theme", "Value": "filters"}])
    ]


def test_only_the_accounts_own_snapshots_are_listed(client: EC2Client, ec2: PlainEC2, completed: str) -> None:
    owner = ec2.describe_snapshot(completed)["OwnerId"]
    for owners in ({}, {"OwnerIds": ["self"]}, {"OwnerIds": [owner]}):
        listed = client.describe_snapshots(**owners)["Snapshots"]
        assert completed in [one["SnapshotId"] for one in listed]
        assert {one["OwnerId"] for one in listed} == {owner}
    assert client.describe_snapshots(OwnerIds=["111122223333"])["Snapshots"] == []


def test_the_snapshot_of_a_published_image_can_be_used_but_not_deleted(client: EC2Client, ec2: PlainEC2) -> None:
    (mapping,) = ec2.image["BlockDeviceMappings"]
    snapshot_id = mapping["Ebs"]["SnapshotId"]
    assert ec2.describe_snapshot(snapshot_id)["OwnerId"] == ec2.image["OwnerId"]
    assert ec2.volume(ec2.create_volume(SnapshotId=snapshot_id))["Size"] == mapping["Ebs"]["VolumeSize"]
    assert refusal(client.delete_snapshot, SnapshotId=snapshot_id) == "OperationNotPermitted"


def test_a_snapshot_is_deleted_but_what_was_made_of_it_stays(client: EC2Client, ec2: PlainEC2) -> None:
    snapshot_id = ec2.snapshot(ec2.create_volume())
    volume_id = ec2.create_volume(SnapshotId=snapshot_id)
    client.delete_snapshot(SnapshotId=snapshot_id)
    assert refusal(client.describe_snapshots, SnapshotIds=[snapshot_id]) == "InvalidSnapshot.NotFound"
    assert refusal(client.delete_snapshot, SnapshotId=snapshot_id) == "InvalidSnapshot.NotFound"
    assert refusal(ec2.create_volume, SnapshotId=snapshot_id) == "InvalidSnapshot.NotFound"
    assert ec2.volume(volume_id)["State"] == "available"


def test_a_snapshot_can_be_copied_to_another_region(local: LocalEC2, ec2: PlainEC2, completed: str) -> None:
    there = PlainEC2(connect(local, "eu-central-1"))
    copied = there.client.copy_snapshot(SourceSnapshotId=completed, SourceRegion="us-east-1", Description="a copy")
    assert there.describe_snapshot(copied["SnapshotId"])["State"] == "pending"
    there.wait_for_snapshot(copied["SnapshotId"])
    snapshot = there.describe_snapshot(copied["SnapshotId"])
    assert (snapshot["Description"], snapshot["VolumeSize"]) == ("a copy", 3)
    assert refusal(ec2.client.describe_snapshots, SnapshotIds=[copied["SnapshotId"]]) == "InvalidSnapshot.NotFound"
    there.create_volume(SnapshotId=copied["SnapshotId"], AvailabilityZone="eu-central-1a")
    nowhere = {"SourceSnapshotId": completed, "SourceRegion": "mars-north-1"}
    assert refusal(there.client.copy_snapshot, **nowhere) == "InvalidParameterValue"
