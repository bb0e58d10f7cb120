"""Volumes: made, attached, listed, removed, and gone with their instance."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.errors import IllegalStateError, InstanceStateError, InvalidArgumentError, ResourceNotFoundError
from pycloudlib.waiting import wait_until


def owned(ec2: EC2) -> list[str]:
    """The ids of the volumes that are tagged as this one's."""
    return [volume.id for volume in ec2.volumes(tag={"Name": ec2.tag})]


def data_volumes(ec2: EC2, instance: EC2Instance) -> list[str]:
    root = ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]["RootDeviceName"]
    return [volume.id for volume in instance.volumes() if volume.attachments[0].device_name != root]


def deleted_with_instance(ec2: EC2, instance: EC2Instance) -> dict[str, bool]:
    record = ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    return {one["DeviceName"]: one["Ebs"]["DeleteOnTermination"] for one in record["BlockDeviceMappings"]}


def test_an_added_volume_is_attached_tagged_and_listed(ec2: EC2, running: EC2Instance) -> None:
    volume = running.add_volume(9, "gp3", tags={"team": "blue"})
    (attachment,) = volume.attachments
    assert (attachment.instance_id, attachment.device_name, attachment.state) == (running.id, "/dev/sdf", "attached")
    assert (volume.size_gb, volume.drive_type, volume.state) == (9, "gp3", "in-use")
    assert volume.availability_zone == running.availability_zone
    assert volume.tags["team"] == "blue"
    assert {"pycloudlib:run", "pycloudlib:owner", "pycloudlib:created"} <= set(volume.tags)
    assert volume.id in {found.id for found in running.volumes()}
    assert [found.id for found in ec2.volumes(tag={"team": "blue", "Name": ec2.tag})] == [volume.id]
    assert ec2.volume(volume.id).size_gb == 9


def test_an_added_volume_is_deleted_with_its_instance(ec2: EC2, running: EC2Instance) -> None:
    volume = running.add_volume()
    assert deleted_with_instance(ec2, running)["/dev/sdf"] is True
    assert running.delete() == []
    wait_until(lambda: volume.id not in owned(ec2), what="the volume to be gone", deadline=Deadline.after(60))
    with pytest.raises(ResourceNotFoundError, match=volume.id):
        ec2.volume(volume.id)


def test_device_names_are_given_in_order_and_again_when_they_are_free(running: EC2Instance) -> None:
    first, second = running.add_volume(), running.add_volume()
    assert [one.attachments[0].device_name for one in (first, second)] == ["/dev/sdf", "/dev/sdg"]
    running.remove_volume(first)
    assert running.add_volume().attachments[0].device_name == "/dev/sdf"


def test_volumes_added_at_the_same_moment_get_different_names(running: EC2Instance) -> None:
    with ThreadPoolExecutor(4) as pool:
        volumes = list(pool.map(lambda _: running.add_volume(1), range(4)))
    names = sorted(volume.attachments[0].device_name for volume in volumes)
    assert names == ["/dev/sdf", "/dev/sdg", "/dev/sdh", "/dev/sdi"]


def test_a_removed_volume_is_gone(ec2: EC2, running: EC2Instance) -> None:
    volume = running.add_volume()
    running.remove_volume(volume)
    assert data_volumes(ec2, running) == []
    with pytest.raises(ResourceNotFoundError):
        volume.refresh()
    assert ec2.clean() == []


def test_only_a_volume_of_the_instance_itself_can_be_removed(ec2: EC2, running: EC2Instance) -> None:
    elsewhere = ec2.create_volume(1)
    with pytest.raises(InvalidArgumentError, match=f"{elsewhere.id} is not attached to {running.id}"):
        running.remove_volume(elsewhere)
    (root,) = running.volumes()
    with pytest.raises(InvalidArgumentError, match=f"{root.id} is the root volume"):
        running.remove_volume(root.id)
    with pytest.raises(ResourceNotFoundError, match="vol-0123456789abcdef0"):
        running.remove_volume("vol-0123456789abcdef0")
    assert (elsewhere.state, root.state) == ("available", "in-use")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "the size of a volume of type gp2 is 0; it must be 1 to 16384 GiB"),
        ((8, "gp4"), "drive_type is 'gp4'; allowed are gp2, gp3, io1, io2, st1, sc1, standard"),
        ((8, "st1"), "it must be 125 to 16384 GiB"),
        (("8",), "is '8'; it must be"),
        ((True,), "is True; it must be"),
    ],
)
def test_a_volume_that_cannot_be_is_refused_before_it_is_made(
    ec2: EC2, running: EC2Instance, arguments: tuple, message: str
) -> None:
    before = owned(ec2)
    with pytest.raises(InvalidArgumentError, match=message):
        running.add_volume(*arguments)
    with pytest.raises(InvalidArgumentError, match="aws:x"):
        running.add_volume(tags={"aws:x": "no"})
    assert owned(ec2) == before


def test_a_deleted_instance_is_given_no_volume(ec2: EC2, running: EC2Instance) -> None:
    assert running.delete() == []
    before = owned(ec2)
    with pytest.raises(InstanceStateError, match="cannot be given a volume: it was deleted"):
        running.add_volume()
    assert set(owned(ec2)) <= set(before)


def test_a_volume_of_its_own_is_made_and_deleted(ec2: EC2) -> None:
    volume = ec2.create_volume(4, "io1", tags={"team": "blue"})
    assert (volume.state, volume.attachments, volume.size_gb, volume.drive_type) == ("available", (), 4, "io1")
    volume.delete()
    volume.delete()
    with pytest.raises(ResourceNotFoundError, match=volume.id):
        ec2.volume(volume.id)


def test_a_volume_that_is_used_is_not_deleted(ec2: EC2, running: EC2Instance) -> None:
    volume = running.add_volume()
    with pytest.raises(IllegalStateError, match=volume.id):
        volume.delete()
    assert volume.state == "in-use"


def test_clean_deletes_volumes_and_detaches_them_where_the_instance_stays(
    ec2: EC2, other_ec2: EC2, running: EC2Instance
) -> None:
    other_ec2.create_volume(1)
    other_ec2.get_instance(running.id).add_volume()
    assert len(owned(other_ec2)) == 2
    assert other_ec2.clean() == []
    assert owned(other_ec2) == []
    assert data_volumes(ec2, running) == []
    assert not running.state.is_ending


def test_volumes_are_found_by_filters(ec2: EC2) -> None:
    small, large = ec2.create_volume(1), ec2.create_volume(2)
    mine = {"tag": {"Name": ec2.tag}}
    assert [one.id for one in ec2.volumes(size=2, **mine)] == [large.id]
    assert {one.id for one in ec2.volumes(size=[1, 2], status="available", **mine)} == {small.id, large.id}
    assert ec2.volumes(status="in-use", **mine) == []


def test_a_volume_found_without_its_instance_does_not_know_the_guest(ec2: EC2) -> None:
    with pytest.raises(InvalidArgumentError, match=r"get it from instance.volumes"):
        ec2.create_volume(1).guest_device()
