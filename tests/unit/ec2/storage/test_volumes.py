"""What no emulator can be brought to say about volumes and their snapshots."""

from __future__ import annotations

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.storage.snapshots import SnapshotDescription
from pycloudlib.ec2.storage.volume import Volume
from pycloudlib.ec2.storage.volumes import VolumeDescription, Volumes
from pycloudlib.errors import IllegalStateError, PycloudlibTimeoutError, ResourceNotFoundError
from pycloudlib.result import Result
from support.region_contexts import region_context_at
from support.scripted_ec2 import ScriptedEC2


def volume_xml(state: str, attachment: str = "") -> str:
    attached = (
        "<attachmentSet><item><volumeId>vol-1</volumeId><instanceId>i-1</instanceId><device>/dev/sdf</device>"
        f"<status>{attachment}</status></item></attachmentSet>"
        if attachment
        else ""
    )
    volume = f"<volumeId>vol-1</volumeId><size>8</size><status>{state}</status>{attached}"
    return f"<volumeSet><item>{volume}</item></volumeSet>"


def snapshot_xml(state: str, progress: str = "", message: str = "") -> str:
    return (
        f"<snapshotId>snap-1</snapshotId><volumeId>vol-1</volumeId><status>{state}</status>"
        f"<progress>{progress}</progress><statusMessage>{message}</statusMessage>"
    )


def snapshots_xml(state: str, progress: str = "", message: str = "") -> str:
    return f"<snapshotSet><item>{snapshot_xml(state, progress, message)}</item></snapshotSet>"


@pytest.fixture
def volumes(script: ScriptedEC2) -> Volumes:
    return Volumes(region_context_at(script.url))


@pytest.fixture
def volume(volumes: Volumes) -> Volume:
    return Volume(VolumeDescription("vol-1", "in-use"), volumes)


def test_progress_only_rises_and_ends_with_100(script: ScriptedEC2, volume: Volume) -> None:
    script.answer("CreateSnapshot", snapshot_xml("pending"))
    for state, progress in (
        ("pending", ""),
        ("pending", "30%"),
        ("pending", "20%"),
        ("pending", "30%"),
        ("pending", "100%"),
        ("completed", ""),
    ):
        script.answer("DescribeSnapshots", snapshots_xml(state, progress))
    told: list[int] = []
    assert volume.snapshot(on_progress=told.append, timeout=60).progress == 100
    assert told == [0, 30, 99, 100]


def test_a_snapshot_that_fails_is_an_error_with_ec2s_reason_and_stays_recorded(
    script: ScriptedEC2, volumes: Volumes, volume: Volume
) -> None:
    script.answer("CreateSnapshot", snapshot_xml("pending"))
    script.answer("DescribeSnapshots", snapshots_xml("error", "40%", "no key for it"))
    with pytest.raises(IllegalStateError, match=r"snap-1 cannot become completed: it is error \(no key for it\)"):
        volume.snapshot()
    script.answer("DeleteSnapshot", "<return>true</return>")
    assert "snap-1" in volumes._context.ledger
    assert volumes._context.ledger.undo_all() == []
    assert script.count("DeleteSnapshot") == 1


def test_snapshot_timeout_contains_the_state(script: ScriptedEC2, volume: Volume) -> None:
    script.answer("CreateSnapshot", snapshot_xml("pending"))
    script.answer("DescribeSnapshots", snapshots_xml("pending", "40%"))
    with pytest.raises(PycloudlibTimeoutError, match="snap-1 to be completed; last seen: pending"):
        volume.snapshot(timeout=0)


def test_a_pending_snapshot_is_refused_where_a_completed_one_is_needed(script: ScriptedEC2, volumes: Volumes) -> None:
    script.answer("DescribeSnapshots", snapshots_xml("pending", "40%"))
    with pytest.raises(IllegalStateError, match=r"snap-1 is pending \(40 %\): it must be completed first"):
        volumes.snapshots.completed("snap-1")
    with pytest.raises(IllegalStateError, match="must be completed first"):
        volumes.create(zone="z", size_gb=8, drive_type="gp2", snapshot_id="snap-1")
    assert script.count("CreateVolume") == 0


def test_a_volume_is_recorded_before_it_is_waited_for(script: ScriptedEC2, volumes: Volumes) -> None:
    script.answer("CreateVolume", "<volumeId>vol-1</volumeId><status>creating</status>")
    script.refuse("DescribeVolumes", "InvalidVolume.NotFound")
    script.answer("DescribeVolumes", volume_xml("creating"))
    script.answer("DescribeVolumes", volume_xml("available"))
    volume_id = volumes.create(zone="z", size_gb=8, drive_type="gp2")
    assert "vol-1" in volumes._context.ledger
    assert volumes.wait_until_available(volume_id, Deadline.after(60)).state == "available"


def test_a_volume_that_fails_is_an_error(script: ScriptedEC2, volumes: Volumes) -> None:
    script.answer("DescribeVolumes", volume_xml("error"))
    with pytest.raises(IllegalStateError, match="vol-1 cannot become available: it is error"):
        volumes.wait_until_available("vol-1", Deadline.after(60))
    with pytest.raises(IllegalStateError, match="vol-1 will never be attached to i-1: it is error"):
        volumes.wait_until_attached("vol-1", "i-1", Deadline.after(60))


def test_attach_waits_for_the_attached_state(script: ScriptedEC2, volumes: Volumes) -> None:
    script.answer("DescribeVolumes", volume_xml("available"))
    script.answer("DescribeVolumes", volume_xml("in-use", "attaching"))
    script.answer("DescribeVolumes", volume_xml("in-use", "attached"))
    (attachment,) = volumes.wait_until_attached("vol-1", "i-1", Deadline.after(60)).attachments
    assert (attachment.device_name, attachment.state) == ("/dev/sdf", "attached")


def test_discarding_detaches_and_deletes_and_waits_until_it_is_gone(script: ScriptedEC2, volumes: Volumes) -> None:
    script.answer("DescribeVolumes", volume_xml("in-use", "attached"))
    script.answer("DetachVolume", "<status>detaching</status>")
    script.answer("DescribeVolumes", volume_xml("in-use", "detaching"))
    script.answer("DescribeVolumes", volume_xml("available"))
    script.refuse("DeleteVolume", "VolumeInUse")
    script.answer("DeleteVolume", "<return>true</return>")
    script.answer("DescribeVolumes", volume_xml("deleting"))
    script.refuse("DescribeVolumes", "InvalidVolume.NotFound")
    volumes.discard("vol-1")
    assert script.count("DeleteVolume") == 2


def test_discarding_what_goes_away_with_its_instance_is_fine(script: ScriptedEC2, volumes: Volumes) -> None:
    script.answer("DescribeVolumes", volume_xml("in-use", "attached"))
    script.refuse("DetachVolume", "IncorrectState", "it is being terminated")
    script.refuse("DescribeVolumes", "InvalidVolume.NotFound")
    volumes.discard("vol-1")
    assert script.count("DeleteVolume") == 0


def test_a_disk_that_is_still_mounted_is_what_a_detaching_that_takes_too_long_is_about(
    script: ScriptedEC2, volumes: Volumes
) -> None:
    script.answer("DetachVolume", "<status>busy</status>")
    script.answer("DescribeVolumes", volume_xml("in-use", "busy"))
    with pytest.raises(PycloudlibTimeoutError, match=r"last seen: in-use.*unmount the disk in the guest first"):
        volumes.detach("vol-1", "i-1", Deadline.after(0))


def test_guest_is_probed_until_the_disk_appears(script: ScriptedEC2, volumes: Volumes) -> None:
    script.answer("DescribeVolumes", volume_xml("in-use", "attached"))
    answers = [Result("", return_code=1), Result("/dev/nvme1n1\n")]
    volume = Volume(VolumeDescription("vol-1", "in-use"), volumes, lambda *_, **__: answers.pop(0))
    assert volume.guest_device() == "/dev/nvme1n1"
    never = Volume(VolumeDescription("vol-1", "in-use"), volumes, lambda *_, **__: Result("", return_code=1))
    with pytest.raises(PycloudlibTimeoutError, match="vol-1 to appear in i-1"):
        never.guest_device(timeout=0)


def test_a_detached_volume_has_no_device(script: ScriptedEC2, volumes: Volumes) -> None:
    script.answer("DescribeVolumes", volume_xml("available"))
    volume = Volume(VolumeDescription("vol-1", "in-use"), volumes, lambda *_, **__: Result("/dev/sdf"))
    with pytest.raises(IllegalStateError, match="not attached to an instance"):
        volume.guest_device()


def test_region_without_zones_raises(script: ScriptedEC2, volumes: Volumes) -> None:
    script.answer("DescribeAvailabilityZones", "<availabilityZoneInfo/>")
    with pytest.raises(ResourceNotFoundError, match="no availability zone in us-east-1"):
        volumes.first_zone()


@pytest.mark.parametrize(
    ("state", "progress", "per_cent"),
    [("pending", "", 0), ("pending", "7%", 7), ("pending", "99", 99), ("completed", "", 100), ("error", "x", 0)],
)
def test_progress_is_read_in_per_cent(state: str, progress: str, per_cent: int) -> None:
    record = {"SnapshotId": "snap-1", "State": state, "Progress": progress}
    assert SnapshotDescription.of(record).progress == per_cent
