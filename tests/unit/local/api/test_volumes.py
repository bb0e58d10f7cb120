"""Volumes of the local EC2: their states, whom they belong to, and what is refused. No machine is needed for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from pycloudlib.deadline import Deadline
from pycloudlib.waiting import wait_until
from support.plain_ec2 import ZONE, PlainEC2, refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture
def instance(ec2: PlainEC2) -> str:
    return ec2.launch()


def test_volume_has_the_requested_properties(client: EC2Client, ec2: PlainEC2) -> None:
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "data"}]}]
    created = client.create_volume(
        Size=7, AvailabilityZone="us-east-1b", VolumeType="gp3", Iops=3500, Throughput=250, TagSpecifications=tags
    )
    assert created["State"] == "creating"
    volume = ec2.volume(created["VolumeId"])
    assert (volume["State"], volume["Size"], volume["AvailabilityZone"]) == ("available", 7, "us-east-1b")
    assert (volume["VolumeType"], volume["Iops"], volume["Throughput"]) == ("gp3", 3500, 250)
    assert volume["Tags"] == [{"Key": "Name", "Value": "data"}]


def test_volumes_are_found_by_what_they_are(client: EC2Client, ec2: PlainEC2) -> None:
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "theme", "Value": "filters"}]}]
    small, large = (ec2.create_volume(Size=size, TagSpecifications=tags) for size in (3, 5))

    def found(**filters: str) -> list[str]:
        wanted = [{"Name": "tag:theme", "Values": ["filters"]}]
        wanted += [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
        return [one["VolumeId"] for one in client.describe_volumes(Filters=wanted)["Volumes"]]

    assert found() == [small, large]
    assert found(size="5") == [large]
    assert found(status="in-use") == []
    assert found(volume_type="gp2", availability_zone=ZONE) == [small, large]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"Size": 0}, "InvalidParameterValue"),
        ({"Size": 16385}, "InvalidParameterValue"),
        ({"Size": 3, "VolumeType": "io1", "Iops": 100}, "InvalidParameterValue"),
        ({"Size": 100, "VolumeType": "st1"}, "InvalidParameterValue"),
        ({"Size": 2000, "VolumeType": "standard"}, "InvalidParameterValue"),
        ({"Size": 8, "VolumeType": "io2"}, "MissingParameter"),
        ({"Size": 8, "VolumeType": "gp2", "Iops": 3000}, "InvalidParameterCombination"),
        ({"Size": 8, "AvailabilityZone": "us-east-1z"}, "InvalidZone.NotFound"),
        ({}, "MissingParameter"),
        ({"SnapshotId": "snap-0123456789abcdef0"}, "InvalidSnapshot.NotFound"),
        ({"Size": 8, "VolumeType": "gp9"}, "InvalidParameterValue"),
    ],
)
def test_a_volume_that_ec2_would_not_make_is_refused(client: EC2Client, parameters: dict[str, Any], code: str) -> None:
    before = len(client.describe_volumes()["Volumes"])
    assert refusal(client.create_volume, **{"AvailabilityZone": ZONE, **parameters}) == code
    assert len(client.describe_volumes()["Volumes"]) == before


def test_an_unknown_volume_is_not_found(client: EC2Client, instance: str) -> None:
    unknown = "vol-0123456789abcdef0"
    assert refusal(client.describe_volumes, VolumeIds=[unknown]) == "InvalidVolume.NotFound"
    assert refusal(client.delete_volume, VolumeId=unknown) == "InvalidVolume.NotFound"
    assert refusal(client.detach_volume, VolumeId=unknown) == "InvalidVolume.NotFound"
    assert refusal(client.create_snapshot, VolumeId=unknown) == "InvalidVolume.NotFound"
    attach = {"VolumeId": unknown, "InstanceId": instance, "Device": "/dev/sdf"}
    assert refusal(client.attach_volume, **attach) == "InvalidVolume.NotFound"


def test_a_volume_is_attached_and_detached(client: EC2Client, ec2: PlainEC2, instance: str) -> None:
    volume_id = ec2.create_volume(Size=3)
    answer = client.attach_volume(VolumeId=volume_id, InstanceId=instance, Device="/dev/sdf")
    assert (answer["State"], answer["Device"]) == ("attaching", "/dev/sdf")
    ec2.wait_for_attachment(volume_id, "attached")
    (attachment,) = ec2.volume(volume_id)["Attachments"]
    assert ec2.volume(volume_id)["State"] == "in-use"
    assert (attachment["InstanceId"], attachment["DeleteOnTermination"]) == (instance, False)
    assert ec2.devices(instance)["/dev/sdf"]["VolumeId"] == volume_id
    assert ec2.devices(instance)["/dev/sdf"]["Status"] == "attached"
    assert client.detach_volume(VolumeId=volume_id)["State"] == "detaching"
    ec2.wait_for_attachment(volume_id, None)
    assert ec2.volume(volume_id)["State"] == "available"
    assert "/dev/sdf" not in ec2.devices(instance)


def test_a_volume_is_not_deleted_while_an_instance_has_it(client: EC2Client, ec2: PlainEC2, instance: str) -> None:
    volume_id = ec2.create_volume()
    ec2.attach(volume_id, instance)
    assert refusal(client.delete_volume, VolumeId=volume_id) == "VolumeInUse"
    client.detach_volume(VolumeId=volume_id)
    ec2.wait_for_attachment(volume_id, None)
    client.delete_volume(VolumeId=volume_id)
    assert refusal(client.describe_volumes, VolumeIds=[volume_id]) == "InvalidVolume.NotFound"


def test_what_cannot_be_attached_is_refused(client: EC2Client, ec2: PlainEC2, instance: str) -> None:
    other = ec2.launch()
    volume_id, elsewhere = ec2.create_volume(), ec2.create_volume(AvailabilityZone="us-east-1b")
    ec2.attach(volume_id, instance)

    def refused(volume: str, to: str, device: str) -> str:
        return refusal(client.attach_volume, VolumeId=volume, InstanceId=to, Device=device)

    assert refused(volume_id, other, "/dev/sdf") == "VolumeInUse"
    assert refused(volume_id, instance, "/dev/sdg") == "VolumeInUse"
    assert refused(elsewhere, instance, "/dev/sdg") == "InvalidVolume.ZoneMismatch"
    assert refused(ec2.create_volume(), instance, "/dev/sdf") == "InvalidParameterValue"
    assert refused(ec2.create_volume(), instance, "somewhere") == "InvalidParameterValue"
    assert refused(ec2.create_volume(), "i-0123456789abcdef0", "/dev/sdg") == "InvalidInstanceID.NotFound"
    ec2.terminate(other)
    assert refused(ec2.create_volume(), other, "/dev/sdg") == "IncorrectState"


def test_an_instance_has_only_so_many_slots(client: EC2Client, ec2: PlainEC2, instance: str) -> None:
    letters = [f"/dev/xvd{letter}" for letter in "bcdefghijklmnopqrstuvwxyz"] + ["/dev/xvdba", "/dev/xvdbb"]
    free = 28 - len(ec2.devices(instance)) - 1
    for device in letters[:free]:
        client.attach_volume(VolumeId=ec2.create_volume(), InstanceId=instance, Device=device)
    code = refusal(client.attach_volume, VolumeId=ec2.create_volume(), InstanceId=instance, Device=letters[free])
    assert code == "AttachmentLimitExceeded"


def test_what_is_not_attached_cannot_be_detached(client: EC2Client, ec2: PlainEC2, instance: str) -> None:
    volume_id, other = ec2.create_volume(), ec2.launch()
    assert refusal(client.detach_volume, VolumeId=volume_id) == "IncorrectState"
    ec2.attach(volume_id, instance)
    assert refusal(client.detach_volume, VolumeId=volume_id, InstanceId=other) == "InvalidAttachment.NotFound"
    assert refusal(client.detach_volume, VolumeId=volume_id, Device="/dev/sdz") == "InvalidAttachment.NotFound"


def test_the_root_volume_can_be_detached_only_when_the_instance_is_stopped(
    client: EC2Client, ec2: PlainEC2, instance: str
) -> None:
    (root,) = ec2.devices(instance).items()
    volume_id = root[1]["VolumeId"]
    assert refusal(client.detach_volume, VolumeId=volume_id) == "OperationNotPermitted"
    ec2.stop(instance)
    client.detach_volume(VolumeId=volume_id)
    ec2.wait_for_attachment(volume_id, None)
    assert refusal(client.start_instances, InstanceIds=[instance]) == "InvalidParameterValue"
    ec2.attach(volume_id, instance, root[0])
    ec2.start(instance)


def test_a_volume_can_be_attached_to_a_stopped_instance_and_is_there_when_it_runs(ec2: PlainEC2, instance: str) -> None:
    ec2.stop(instance)
    volume_id = ec2.create_volume()
    ec2.attach(volume_id, instance)
    ec2.start(instance)
    assert ec2.devices(instance)["/dev/sdf"]["VolumeId"] == volume_id
    assert ec2.volume(volume_id)["Attachments"][0]["State"] == "attached"


def test_a_volume_that_was_attached_outlives_its_instance(ec2: PlainEC2, instance: str) -> None:
    volume_id = ec2.create_volume()
    ec2.attach(volume_id, instance)
    ec2.terminate(instance)
    assert ec2.volume(volume_id)["State"] == "available"


def test_delete_on_termination_deletes_a_volume(client: EC2Client, ec2: PlainEC2, instance: str) -> None:
    volume_id = ec2.create_volume()
    ec2.attach(volume_id, instance)
    mapping = {"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}
    client.modify_instance_attribute(InstanceId=instance, BlockDeviceMappings=[mapping])
    assert ec2.volume(volume_id)["Attachments"][0]["DeleteOnTermination"] is True
    told = client.describe_instance_attribute(InstanceId=instance, Attribute="blockDeviceMapping")
    mapped = {one["DeviceName"]: one["Ebs"] for one in told["BlockDeviceMappings"]}
    assert mapped["/dev/sdf"]["DeleteOnTermination"] is True
    ec2.terminate(instance)
    assert refusal(client.describe_volumes, VolumeIds=[volume_id]) == "InvalidVolume.NotFound"


def test_root_volume_without_delete_on_termination_remains(ec2: PlainEC2) -> None:
    root = ec2.image["RootDeviceName"]
    instance = ec2.launch(BlockDeviceMappings=[{"DeviceName": root, "Ebs": {"DeleteOnTermination": False}}])
    volume_id = ec2.devices(instance)[root]["VolumeId"]
    ec2.terminate(instance)
    assert ec2.volume(volume_id)["State"] == "available"


def test_nothing_is_mapped_where_nothing_is(client: EC2Client, instance: str) -> None:
    mapping = {"DeviceName": "/dev/sdq", "Ebs": {"DeleteOnTermination": True}}
    code = refusal(client.modify_instance_attribute, InstanceId=instance, BlockDeviceMappings=[mapping])
    assert code == "InvalidInstanceAttributeValue"


def test_a_launch_makes_the_volumes_that_it_names(client: EC2Client, ec2: PlainEC2) -> None:
    snapshot_id = ec2.snapshot(ec2.create_volume(Size=4))
    instance = ec2.launch(
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 2, "VolumeType": "gp3", "DeleteOnTermination": False}},
            {"DeviceName": "/dev/sdc", "Ebs": {"SnapshotId": snapshot_id}},
            {"DeviceName": "/dev/sdd", "VirtualName": "ephemeral0"},
            {"DeviceName": "/dev/sde", "NoDevice": ""},
        ],
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "of", "Value": "launch"}]}],
    )
    devices = ec2.devices(instance)
    assert set(devices) == {ec2.image["RootDeviceName"], "/dev/sdb", "/dev/sdc"}
    assert devices["/dev/sdb"]["DeleteOnTermination"] is False
    assert devices["/dev/sdc"]["DeleteOnTermination"] is True
    volumes = {name: ec2.volume(device["VolumeId"]) for name, device in devices.items()}
    assert {name: volume["Size"] for name, volume in volumes.items() if name != ec2.image["RootDeviceName"]} == {
        "/dev/sdb": 2,
        "/dev/sdc": 4,
    }
    assert volumes["/dev/sdb"]["VolumeType"] == "gp3"
    assert volumes["/dev/sdc"]["SnapshotId"] == snapshot_id
    assert all(volume["Tags"] == [{"Key": "of", "Value": "launch"}] for volume in volumes.values())
    ec2.terminate(instance)
    assert ec2.volume(devices["/dev/sdb"]["VolumeId"])["State"] == "available"
    assert refusal(client.describe_volumes, VolumeIds=[devices["/dev/sdc"]["VolumeId"]]) == "InvalidVolume.NotFound"


@pytest.mark.parametrize(
    ("mappings", "code"),
    [
        ([{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 0}}], "InvalidParameterValue"),
        ([{"DeviceName": "/dev/sdb", "Ebs": {"DeleteOnTermination": True}}], "MissingParameter"),
        ([{"DeviceName": "/dev/sdb"}], "MissingParameter"),
        ([{"DeviceName": "nowhere", "Ebs": {"VolumeSize": 1}}], "InvalidParameterValue"),
        ([{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}}] * 2, "InvalidBlockDeviceMapping"),
        ([{"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "snap-0123456789abcdef0"}}], "InvalidSnapshot.NotFound"),
        ([{"DeviceName": "/dev/xvda", "NoDevice": ""}], "InvalidBlockDeviceMapping"),
    ],
)
def test_a_launch_with_a_volume_that_ec2_would_not_make_is_refused(
    client: EC2Client, ec2: PlainEC2, mappings: list[dict[str, Any]], code: str
) -> None:
    before = len(client.describe_volumes()["Volumes"])
    wanted = {"ImageId": ec2.image["ImageId"], "MinCount": 1, "MaxCount": 1, "BlockDeviceMappings": mappings}
    assert refusal(client.run_instances, **wanted) == code
    assert len(client.describe_volumes()["Volumes"]) == before


def modification(client: EC2Client, volume_id: str) -> dict[str, Any]:
    (latest,) = client.describe_volumes_modifications(VolumeIds=[volume_id])["VolumesModifications"]
    return dict(latest)


def wait_until_modified(client: EC2Client, volume_id: str) -> None:
    wait_until(
        lambda: modification(client, volume_id)["ModificationState"] == "completed" or None,
        what=f"{volume_id} to be modified",
        deadline=Deadline.after(60),
        interval=0.02,
    )


def test_volume_of_running_nitro_instance_does_not_grow(client: EC2Client, ec2: PlainEC2) -> None:
    volume_id = ec2.create_volume(Size=2)
    client.modify_volume(VolumeId=volume_id, Size=3)
    assert ec2.volume(volume_id)["Size"] == 3
    assert refusal(client.modify_volume, VolumeId=volume_id, Size=2) == "InvalidParameterValue"
    ec2.attach(volume_id, ec2.launch(InstanceType="t3.micro"))
    with pytest.raises(ClientError, match=r"or launch a Xen type such as t2\.small") as refused:
        client.modify_volume(VolumeId=volume_id, Size=4)
    assert refused.value.response["Error"]["Code"] == "UnsupportedOperation"
    client.modify_volume(VolumeId=volume_id, VolumeType="gp3")
    assert ec2.volume(volume_id)["VolumeType"] == "gp3"


def test_volume_of_running_xen_instance_grows(client: EC2Client, ec2: PlainEC2) -> None:
    volume_id = ec2.create_volume(Size=2)
    instance = ec2.launch(InstanceType="t2.small")
    ec2.attach(volume_id, instance)
    client.modify_volume(VolumeId=volume_id, Size=4)
    wait_until_modified(client, volume_id)
    assert ec2.volume(volume_id)["Size"] == 4
    assert ec2.volume(volume_id)["State"] == "in-use"


def test_type_of_stopped_instance_decides_whether_its_volume_grows(client: EC2Client, ec2: PlainEC2) -> None:
    volume_id = ec2.create_volume(Size=2)
    instance = ec2.launch(InstanceType="t2.small")
    ec2.attach(volume_id, instance)
    ec2.stop(instance)
    client.modify_instance_attribute(InstanceId=instance, InstanceType={"Value": "t3.small"})
    ec2.start(instance)
    assert refusal(client.modify_volume, VolumeId=volume_id, Size=3) == "UnsupportedOperation"


def test_volume_of_stopped_instance_grows(client: EC2Client, ec2: PlainEC2) -> None:
    volume_id = ec2.create_volume(Size=2)
    instance = ec2.launch(InstanceType="t3.micro")
    ec2.attach(volume_id, instance)
    ec2.stop(instance)
    told = client.modify_volume(VolumeId=volume_id, Size=5)["VolumeModification"]
    assert (told["OriginalSize"], told["TargetSize"]) == (2, 5)
    wait_until_modified(client, volume_id)
    assert ec2.volume(volume_id)["Size"] == 5
    assert modification(client, volume_id)["Progress"] == 100
    assert "EndTime" in modification(client, volume_id)
    states = [{"Name": "modification-state", "Values": ["modifying"]}]
    assert client.describe_volumes_modifications(Filters=states)["VolumesModifications"] == []


def test_the_latest_modification_of_a_volume_is_described(client: EC2Client, ec2: PlainEC2) -> None:
    volume_id = ec2.create_volume(Size=2)
    client.modify_volume(VolumeId=volume_id, Size=3)
    client.modify_volume(VolumeId=volume_id, Size=4)
    assert modification(client, volume_id)["TargetSize"] == 4
