"""Snapshots of volumes, and images registered from them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.storage.volume import Volume
from pycloudlib.errors import IllegalStateError, InvalidArgumentError, PycloudlibError, ResourceNotFoundError
from support.uefi import KEYS, uefi_data

STRICT_ENDPOINTS = ["simulated"]
"""Those that note which snapshot an image was registered from; moto does not."""


@pytest.fixture
def volume(ec2: EC2) -> Volume:
    return ec2.create_volume(2)


def own_snapshots(ec2: EC2) -> list[str]:
    return [snapshot.id for snapshot in ec2.snapshots(tag={"Name": ec2.tag})]


def test_a_snapshot_is_completed_tagged_and_listed(ec2: EC2, volume: Volume) -> None:
    progress: list[int] = []
    snapshot = volume.snapshot("before the upgrade", {"team": "blue"}, on_progress=progress.append)
    assert (snapshot.state, snapshot.progress) == ("completed", 100)
    assert (snapshot.volume_id, snapshot.size_gb) == (volume.id, 2)
    assert snapshot.description == "before the upgrade"
    assert snapshot.tags["team"] == "blue"
    assert {"Name", "pycloudlib:run", "pycloudlib:owner", "pycloudlib:created"} <= set(snapshot.tags)
    assert [found.id for found in ec2.snapshots(volume_id=volume.id)] == [snapshot.id]
    assert progress == sorted(set(progress))
    assert progress[-1] == 100


def test_a_snapshot_that_is_not_waited_for_can_be_waited_for_later(volume: Volume) -> None:
    snapshot = volume.snapshot(wait=False)
    assert snapshot.state in ("pending", "completed")
    snapshot.wait(timeout=120)
    assert snapshot.state == "completed"


def test_a_deleted_snapshot_is_gone_and_deleting_it_again_is_fine(ec2: EC2, volume: Volume) -> None:
    snapshot = volume.snapshot()
    snapshot.delete()
    snapshot.delete()
    assert own_snapshots(ec2) == []
    with pytest.raises(ResourceNotFoundError, match=r"snap-|snapshot"):
        snapshot.refresh()


def test_a_snapshot_outlives_its_volume_and_clean_deletes_both(ec2: EC2, volume: Volume) -> None:
    snapshot = volume.snapshot()
    volume.delete()
    assert snapshot.state == "completed"
    assert ec2.clean() == []
    assert own_snapshots(ec2) == []


def test_a_volume_is_made_of_a_snapshot(ec2: EC2, volume: Volume) -> None:
    snapshot = volume.snapshot()
    copy = ec2.create_volume(snapshot_id=snapshot.id)
    assert (copy.size_gb, copy.snapshot_id) == (2, snapshot.id)
    assert ec2.create_volume(3, snapshot_id=snapshot.id).size_gb == 3
    with pytest.raises(InvalidArgumentError, match=f"1 GiB is too small for {snapshot.id}, which needs 2 GiB"):
        ec2.create_volume(1, snapshot_id=snapshot.id)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"description": "x" * 256}, "at most 255 characters"),
        ({"tags": {"aws:x": "no"}}, "aws:x"),
        ({"notify": "my-topic"}, "'my-topic' is not the ARN of a standard SNS topic"),
        ({"wait": False, "on_progress": print}, "supports neither on_progress nor notify"),
        ({"wait": False, "notify": "arn:aws:sns:us-east-1:123456789012:t"}, "supports neither on_progress nor notify"),
    ],
)
def test_a_snapshot_that_cannot_be_is_refused_before_it_is_made(
    ec2: EC2, volume: Volume, arguments: dict, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        volume.snapshot(**arguments)
    assert own_snapshots(ec2) == []


def test_no_snapshot_can_be_taken_of_a_volume_that_is_gone(ec2: EC2, volume: Volume) -> None:
    volume.delete()
    with pytest.raises(ResourceNotFoundError, match=volume.id):
        volume.snapshot()
    assert own_snapshots(ec2) == []


def test_an_image_is_registered_from_a_snapshot_and_deleted_with_it(ec2: EC2, volume: Volume) -> None:
    snapshot = volume.snapshot()
    image_id = ec2.register_image(snapshot, f"{ec2.tag} registered", description="from a snapshot")
    image = ec2.image(image_id)
    assert (image.name, image.description, image.state) == (f"{ec2.tag} registered", "from a snapshot", "available")
    assert ec2.created_images == [image_id]
    ec2.delete_image(image_id)
    assert ec2.created_images == []
    assert [one.id for one in ec2.images() if one.id == image_id] == []


@pytest.mark.parametrize("endpoint", STRICT_ENDPOINTS, indirect=True)
def test_a_registered_image_keeps_its_uefi_variables(ec2: EC2, volume: Volume) -> None:
    store = uefi_data(*KEYS)
    image_id = ec2.register_image(volume.snapshot(), f"{ec2.tag} secure", boot_mode="uefi", uefi_data=store)
    answer = ec2.client.describe_image_attribute(ImageId=image_id, Attribute="uefiData")
    assert answer["UefiData"]["Value"] == store
    with pytest.raises(PycloudlibError, match="Invalid value for UefiData"):
        ec2.register_image(volume.snapshot(), f"{ec2.tag} malformed", boot_mode="uefi", uefi_data="AAAA")


def test_an_image_that_cannot_be_is_refused_before_it_is_registered(ec2: EC2, volume: Volume) -> None:
    snapshot = volume.snapshot()
    calls: list[Callable[[], object]] = [
        lambda: ec2.register_image(snapshot, "x"),
        lambda: ec2.register_image(snapshot, "fine", architecture="mips"),
        lambda: ec2.register_image(snapshot, "fine", boot_mode="bios"),
        lambda: ec2.register_image(snapshot, "fine", description="x" * 256),
        lambda: ec2.register_image(snapshot, "fine", tags={"aws:x": "no"}),
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError):
            call()
    with pytest.raises(PycloudlibError, match="snap"):
        ec2.register_image("snap-0123456789abcdef0", "fine")
    assert ec2.created_images == []


def test_clean_deletes_a_registered_image_before_its_snapshot(ec2: EC2, volume: Volume) -> None:
    ec2.register_image(volume.snapshot(), f"{ec2.tag} registered")
    assert ec2.clean() == []
    assert (own_snapshots(ec2), ec2.images(name=f"{ec2.tag}*")) == ([], [])


@pytest.mark.parametrize("endpoint", STRICT_ENDPOINTS, indirect=True)
def test_a_snapshot_that_an_image_needs_is_not_deleted(ec2: EC2, volume: Volume) -> None:
    snapshot = volume.snapshot()
    image_id = ec2.register_image(snapshot, f"{ec2.tag} registered")
    assert ec2.image(image_id).snapshot_ids == (snapshot.id,)
    with pytest.raises(IllegalStateError, match=snapshot.id):
        snapshot.delete()
    ec2.delete_image(image_id)
    assert own_snapshots(ec2) == []
