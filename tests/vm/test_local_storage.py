"""Volumes, snapshots and images of real QEMU processes. No guest is waited for: what is tested is QEMU's part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until
from support.plain_ec2 import PlainEC2, connect, refusal
from support.small_disk import fill, small_disk

pytestmark = pytest.mark.vm


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEC2]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with LocalEC2(shutdown_seconds=2) as server:
        yield server


@pytest.fixture
def ec2(server: LocalEC2) -> PlainEC2:
    return PlainEC2(connect(server))


def files(server: LocalEC2) -> set[str]:
    return {path.name for path in (server.directory / "volumes").glob("*")}


def delete_snapshots(ec2: PlainEC2) -> None:
    for snapshot in ec2.client.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        ec2.client.delete_snapshot(SnapshotId=snapshot["SnapshotId"])


def test_nothing_is_copied_and_no_file_is_left(server: LocalEC2, ec2: PlainEC2) -> None:
    original = ec2.launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 2}}])
    volume_id = ec2.create_volume()
    ec2.attach(volume_id, original)
    assert len(files(server)) == 3

    ec2.snapshot(volume_id)
    image_id = ec2.create_image(original, "as it runs", NoReboot=True)
    assert len(files(server)) == 3 + 1 + 3

    launched = ec2.launch(ImageId=image_id)
    assert set(ec2.devices(launched)) == set(ec2.devices(original))
    assert len(files(server)) == 7 + 3

    ec2.terminate(original)
    assert ec2.volume(volume_id)["State"] == "available"
    ec2.client.delete_volume(VolumeId=volume_id)
    assert ec2.instance(launched)["State"]["Name"] == "running"
    ec2.terminate(launched)
    (attached_there,) = ec2.client.describe_volumes()["Volumes"]  # as in the image: it is not deleted with its instance
    ec2.client.delete_volume(VolumeId=attached_there["VolumeId"])
    ec2.client.deregister_image(ImageId=image_id)
    assert len(files(server)) == 4
    delete_snapshots(ec2)
    assert files(server) == set()


def test_an_image_of_a_running_instance_is_made_while_its_machine_is_off(server: LocalEC2, ec2: PlainEC2) -> None:
    instance = ec2.launch()
    image_id = ec2.client.create_image(InstanceId=instance, Name="rebooted")["ImageId"]
    assert ec2.describe_image(image_id)["State"] == "pending"
    ec2.wait_for_image(image_id)
    assert ec2.instance(instance)["State"]["Name"] == "running"
    assert len(files(server)) == 2
    snapshot_id = ec2.describe_image(image_id)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    registered = ec2.client.register_image(
        Name="registered",
        RootDeviceName="/dev/xvda",
        Architecture="x86_64",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
    )["ImageId"]
    ec2.launch(ImageId=registered)


def test_a_stopped_instance_is_frozen_attached_to_and_started(server: LocalEC2, ec2: PlainEC2) -> None:
    instance = ec2.launch()
    ec2.client.stop_instances(InstanceIds=[instance], Force=True)
    ec2.wait_for_instance(instance, "stopped")
    volume_id = ec2.create_volume()
    ec2.attach(volume_id, instance)
    ec2.create_image(instance, "stopped")
    ec2.start(instance)
    assert ec2.devices(instance)["/dev/sdf"]["Status"] == "attached"
    ec2.client.stop_instances(InstanceIds=[instance], Force=True)
    ec2.wait_for_instance(instance, "stopped")
    ec2.client.detach_volume(VolumeId=volume_id)
    ec2.start(instance)
    assert ec2.volume(volume_id)["State"] == "available"


def test_a_machine_has_only_so_many_slots(ec2: PlainEC2) -> None:
    instance = ec2.launch()
    for letter in "fghijklmnopqr":
        ec2.attach(ec2.create_volume(), instance, f"/dev/sd{letter}")
    one_more = {"VolumeId": ec2.create_volume(), "InstanceId": instance, "Device": "/dev/sds"}
    assert refusal(ec2.client.attach_volume, **one_more) == "AttachmentLimitExceeded"


def test_a_snapshot_for_which_there_is_no_room_fails_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "small", "300m") as disk:
        monkeypatch.setenv("XDG_STATE_HOME", str(disk))
        with LocalEC2() as server:
            ec2 = PlainEC2(connect(server))
            volume_id = ec2.create_volume()
            instance = ec2.launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}}])
            ec2.attach(volume_id, instance)
            ec2.client.stop_instances(InstanceIds=[instance], Force=True)
            ec2.wait_for_instance(instance, "stopped")
            fill(disk)
            snapshot_id = ec2.client.create_snapshot(VolumeId=volume_id)["SnapshotId"]
            wait_until(
                lambda: ec2.describe_snapshot(snapshot_id)["State"] == "error" or None,
                what=f"{snapshot_id} to fail",
                deadline=Deadline.after(240),
                interval=0.05,
            )
            described = ec2.describe_snapshot(snapshot_id)
            assert "no space left" in described["StateMessage"]
            assert refusal(ec2.create_volume, SnapshotId=snapshot_id) == "IncorrectState"
            image_id = ec2.client.create_image(InstanceId=instance, Name="no room")["ImageId"]
            wait_until(
                lambda: ec2.describe_image(image_id)["State"] == "failed" or None,
                what=f"{image_id} to fail",
                deadline=Deadline.after(240),
                interval=0.05,
            )
            assert "no space left" in ec2.describe_image(image_id)["StateReason"]["Message"]
