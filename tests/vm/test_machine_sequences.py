"""Calls to real machines that do not wait for the one before: each of them comes to an end.

Any sequence on simulated machines: tests/unit/local/api/test_any_sequence.py. Here no guest is waited for: what is
tested is QEMU's part, with guests that are too early in their boot to react, and are reset.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until
from support.plain_ec2 import PlainEC2, connect
from support.processes import machines_of

pytestmark = pytest.mark.vm

SECONDS_TO_SETTLE = 240.0


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEC2]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with LocalEC2(shutdown_seconds=2) as server:
        yield server


@pytest.fixture
def ec2(server: LocalEC2) -> PlainEC2:
    return PlainEC2(connect(server))


def wait_for_images(ec2: PlainEC2, *image_ids: str) -> None:
    def states() -> list[str]:
        return [ec2.describe_image(image_id)["State"] for image_id in image_ids]

    wait_until(
        lambda: set(states()) == {"available"} or None,
        what="all images to be available",
        deadline=Deadline.after(SECONDS_TO_SETTLE),
        interval=0.1,
        last_seen=lambda: ", ".join(states()),
    )


def create_image(ec2: PlainEC2, instance_id: str, name: str) -> str:
    return ec2.client.create_image(InstanceId=instance_id, Name=name)["ImageId"]


def test_images_and_reboots_at_once_all_end(server: LocalEC2, ec2: PlainEC2) -> None:
    instance = ec2.launch()

    # A reboot before the guest is down.
    image = create_image(ec2, instance, "rebooted at once")
    ec2.client.reboot_instances(InstanceIds=[instance])
    wait_for_images(ec2, image)

    # Two images at once, the machine being on its way up again.
    images = [create_image(ec2, instance, f"one of two - {number}") for number in range(2)]
    wait_for_images(ec2, *images)
    assert ec2.instance(instance)["State"]["Name"] == "running"

    # A stop instead of the second half of the reboot.
    image = create_image(ec2, instance, "stopped at once")
    ec2.client.stop_instances(InstanceIds=[instance])
    ec2.wait_for_instance(instance, "stopped")
    wait_for_images(ec2, image)

    # The volume grows, and the machine starts with it.
    (root,) = ec2.devices(instance).values()
    size = ec2.volume(root["VolumeId"])["Size"] + 1
    ec2.client.modify_volume(VolumeId=root["VolumeId"], Size=size)
    snapshot = ec2.client.create_snapshot(VolumeId=root["VolumeId"])["SnapshotId"]
    ec2.start(instance)
    ec2.wait_for_snapshot(snapshot)
    assert ec2.volume(root["VolumeId"])["Size"] == ec2.describe_snapshot(snapshot)["VolumeSize"] == size
    launched = ec2.launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": snapshot}}])
    ec2.terminate(launched)

    # An end to everything.
    image = create_image(ec2, instance, "terminated at once")
    snapshot = ec2.client.create_snapshot(VolumeId=root["VolumeId"])["SnapshotId"]
    ec2.terminate(instance)
    wait_for_images(ec2, image)
    ec2.wait_for_snapshot(snapshot)
    assert machines_of(server.info.pid) == []
    for described in ec2.client.describe_images(Owners=["self"])["Images"]:
        ec2.client.deregister_image(ImageId=described["ImageId"])
    for taken in ec2.client.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        ec2.client.delete_snapshot(SnapshotId=taken["SnapshotId"])
    assert list((server.directory / "volumes").glob("*")) == []
    assert list((server.directory / "machines").glob("*")) == []


def test_devices_that_come_and_go_during_reboots_all_settle(ec2: PlainEC2) -> None:
    instance = ec2.launch()
    first, second = ec2.create_volume(), ec2.create_volume()
    ec2.client.reboot_instances(InstanceIds=[instance])
    ec2.client.attach_volume(VolumeId=first, InstanceId=instance, Device="/dev/sdf")
    ec2.client.stop_instances(InstanceIds=[instance], Force=True)
    ec2.wait_for_instance(instance, "stopped")
    ec2.wait_for_attachment(first, "attached")
    ec2.client.start_instances(InstanceIds=[instance])
    ec2.wait_for_instance(instance, "running")
    ec2.client.attach_volume(VolumeId=second, InstanceId=instance, Device="/dev/sdg")
    ec2.client.detach_volume(VolumeId=first)
    ec2.client.reboot_instances(InstanceIds=[instance])
    ec2.wait_for_attachment(first, None)
    ec2.wait_for_attachment(second, "attached")
    ec2.client.stop_instances(InstanceIds=[instance])
    ec2.client.detach_volume(VolumeId=second)
    ec2.wait_for_instance(instance, "stopped")
    ec2.wait_for_attachment(second, None)
    other = ec2.launch()
    ec2.attach(first, other)
    ec2.terminate(instance)
    ec2.terminate(other)
    assert {ec2.volume(one)["State"] for one in (first, second)} == {"available"}
