"""AMIs of the local EC2 that are made, copied, shared and deregistered. No machine is needed for that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.local import LocalEC2
from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.models.base import LocalRecords
from support.plain_ec2 import PlainEC2, connect, refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ACCOUNT = "111122223333"


@pytest.fixture(scope="module")
def local_options() -> dict[str, Any]:
    return {"image_seconds": 1.5}


@pytest.fixture(scope="module")
def instance(ec2: PlainEC2) -> str:
    return ec2.launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 2}}])


@pytest.fixture
def image(ec2: PlainEC2, instance: str, request: pytest.FixtureRequest) -> str:
    return ec2.create_image(instance, f"of {request.node.name}".replace("[", "(").replace("]", ")"))


def permissions(client: EC2Client, image_id: str) -> list[dict[str, str]]:
    answer = client.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    return [dict(one) for one in answer["LaunchPermissions"]]


def test_images_are_found_by_their_ids(client: EC2Client) -> None:
    ids = sorted(one["ImageId"] for one in client.describe_images()["Images"])

    def found(*values: str) -> list[str]:
        wanted = [{"Name": "image-id", "Values": list(values)}]
        return sorted(one["ImageId"] for one in client.describe_images(Filters=wanted)["Images"])

    assert found(ids[0]) == [ids[0]]
    assert found(ids[0], ids[1], "ami-0123456789abcdef0") == ids[:2]
    assert found(f"{ids[2][:-1]}*") == [ids[2]]
    assert found("ami-0123456789abcdef0") == []


def test_an_image_has_a_snapshot_of_every_volume(client: EC2Client, ec2: PlainEC2, instance: str) -> None:
    tags = [{"ResourceType": kind, "Tags": [{"Key": "kind", "Value": kind}]} for kind in ("image", "snapshot")]
    image_id = client.create_image(
        InstanceId=instance, Name="all volumes", Description="as it was", TagSpecifications=tags
    )["ImageId"]
    assert ec2.describe_image(image_id)["State"] == "pending"
    assert refusal(ec2.launch, ImageId=image_id) == "InvalidAMIID.Unavailable"
    ec2.wait_for_image(image_id)
    image = ec2.describe_image(image_id)
    assert (image["Name"], image["Description"], image["Public"]) == ("all volumes", "as it was", False)
    assert (image["Architecture"], image["RootDeviceName"]) == ("x86_64", ec2.image["RootDeviceName"])
    assert image["Tags"] == [{"Key": "kind", "Value": "image"}]
    devices = ec2.devices(instance)
    assert [one["DeviceName"] for one in image["BlockDeviceMappings"]] == [ec2.image["RootDeviceName"], "/dev/sdb"]
    for mapping in image["BlockDeviceMappings"]:
        snapshot = ec2.describe_snapshot(mapping["Ebs"]["SnapshotId"])
        assert snapshot["State"] == "completed"
        assert snapshot["VolumeId"] == devices[mapping["DeviceName"]]["VolumeId"]
        assert snapshot["VolumeSize"] == mapping["Ebs"]["VolumeSize"]
        assert snapshot["Tags"] == [{"Key": "kind", "Value": "snapshot"}]


@pytest.mark.parametrize("no_reboot", [True, False])
def test_an_instance_runs_on_after_its_image_was_made(ec2: PlainEC2, instance: str, *, no_reboot: bool) -> None:
    ec2.create_image(instance, f"reboot {no_reboot}", NoReboot=no_reboot)
    assert ec2.instance(instance)["State"]["Name"] == "running"


def test_an_image_can_be_made_of_a_stopped_instance_only_when_it_is(client: EC2Client, ec2: PlainEC2) -> None:
    instance = ec2.launch()
    ec2.stop(instance)
    ec2.create_image(instance, "stopped")
    ec2.terminate(instance)
    create = {"InstanceId": instance, "Name": "terminated"}
    assert refusal(client.create_image, **create) == "IncorrectInstanceState"
    unknown = {"InstanceId": "i-0123456789abcdef0", "Name": "unknown"}
    assert refusal(client.create_image, **unknown) == "InvalidInstanceID.NotFound"


def test_the_volumes_of_an_image_can_be_chosen(ec2: PlainEC2, instance: str) -> None:
    root = ec2.image["RootDeviceName"]
    mappings: list[dict[str, Any]] = [
        {"DeviceName": root, "Ebs": {"VolumeSize": 20, "DeleteOnTermination": False}},
        {"DeviceName": "/dev/sdb", "NoDevice": ""},
        {"DeviceName": "/dev/sdh", "Ebs": {"VolumeSize": 4}},
    ]
    image = ec2.describe_image(ec2.create_image(instance, "chosen", BlockDeviceMappings=mappings))
    devices = {one["DeviceName"]: one["Ebs"] for one in image["BlockDeviceMappings"]}
    assert set(devices) == {root, "/dev/sdh"}
    assert (devices[root]["VolumeSize"], devices[root]["DeleteOnTermination"]) == (20, False)
    launched = ec2.devices(ec2.launch(ImageId=image["ImageId"]))
    assert set(launched) == {root, "/dev/sdh"}
    assert ec2.volume(launched[root]["VolumeId"])["Size"] == 20


def test_the_snapshot_of_an_own_image_of_the_catalog_is_always_listed(
    records: LocalEC2Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = records.cloud.catalogue.images()[0]
    own = replace(published, image_id="ami-00000000000000001", owner_id=records.account_id)
    catalogue = SimpleNamespace(images=lambda: [published, own])
    monkeypatch.setattr(LocalRecords, "cloud", replace(records.cloud, catalogue=catalogue))
    listed = [snapshot.id for snapshot in records.described_snapshots([], ["self"])]
    assert "snap-00000000000000001" in listed
    assert published.image_id.replace("ami-", "snap-") not in listed


def test_names_are_unique_until_the_image_is_gone(client: EC2Client, ec2: PlainEC2, instance: str) -> None:
    image_id = ec2.create_image(instance, "once")
    assert refusal(client.create_image, InstanceId=instance, Name="once") == "InvalidAMIName.Duplicate"
    assert "available" in ec2.describe_image(image_id)["State"]
    client.deregister_image(ImageId=image_id)
    ec2.create_image(instance, "once")


@pytest.mark.parametrize("name", ["x" * 129, "semi;colon", "new\nline"])
def test_a_name_that_ec2_would_not_take_is_refused(client: EC2Client, instance: str, name: str) -> None:
    before = len(client.describe_snapshots()["Snapshots"])
    assert refusal(client.create_image, InstanceId=instance, Name=name) == "InvalidAMIName.Malformed"
    assert len(client.describe_snapshots()["Snapshots"]) == before


def test_an_instance_launched_from_an_image_has_its_volumes(ec2: PlainEC2, image: str) -> None:
    mappings = {one["DeviceName"]: one["Ebs"] for one in ec2.describe_image(image)["BlockDeviceMappings"]}
    devices = ec2.devices(ec2.launch(ImageId=image))
    assert set(devices) == set(mappings)
    for name, device in devices.items():
        assert ec2.volume(device["VolumeId"])["SnapshotId"] == mappings[name]["SnapshotId"]


def test_the_root_volume_is_not_smaller_than_its_snapshot(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    wanted = [{"DeviceName": ec2.image["RootDeviceName"], "Ebs": {"VolumeSize": 1}}]
    launch = {"ImageId": image, "MinCount": 1, "MaxCount": 1, "BlockDeviceMappings": wanted}
    assert refusal(client.run_instances, **launch) == "InvalidBlockDeviceMapping"


def test_a_snapshot_is_kept_as_long_as_an_image_has_it(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    snapshots = [one["Ebs"]["SnapshotId"] for one in ec2.describe_image(image)["BlockDeviceMappings"]]
    for snapshot_id in snapshots:
        assert refusal(client.delete_snapshot, SnapshotId=snapshot_id) == "InvalidSnapshot.InUse"
    client.deregister_image(ImageId=image)
    for snapshot_id in snapshots:
        client.delete_snapshot(SnapshotId=snapshot_id)


def test_nothing_is_launched_from_an_image_that_is_gone(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    launched = ec2.launch(ImageId=image)
    client.deregister_image(ImageId=image)
    assert refusal(ec2.launch, ImageId=image) == "InvalidAMIID.NotFound"
    assert client.describe_images(ImageIds=[image])["Images"] == []
    assert refusal(client.deregister_image, ImageId=image) == "InvalidAMIID.Unavailable"
    assert ec2.instance(launched)["State"]["Name"] == "running"
    ec2.stop(launched)
    ec2.start(launched)


def test_deregister_image_deletes_snapshots_on_request(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    snapshots = [one["Ebs"]["SnapshotId"] for one in ec2.describe_image(image)["BlockDeviceMappings"]]
    client.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    assert refusal(client.describe_snapshots, SnapshotIds=snapshots) == "InvalidSnapshot.NotFound"


def test_somebody_elses_image_cannot_be_changed(client: EC2Client, ec2: PlainEC2) -> None:
    image_id = ec2.image["ImageId"]
    assert refusal(client.deregister_image, ImageId=image_id) == "AuthFailure"
    change = {"ImageId": image_id, "LaunchPermission": {"Remove": [{"Group": "all"}]}}
    assert refusal(client.modify_image_attribute, **change) == "AuthFailure"


def test_an_image_is_registered_from_a_snapshot(client: EC2Client, ec2: PlainEC2) -> None:
    snapshot_id = ec2.snapshot(ec2.create_volume(Size=3))
    mapping = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id, "VolumeType": "gp3"}}
    image_id = client.register_image(
        Name="registered",
        Description="from a snapshot",
        RootDeviceName="/dev/sda1",
        Architecture="x86_64",
        VirtualizationType="hvm",
        BootMode="legacy-bios",
        EnaSupport=True,
        BlockDeviceMappings=[mapping],
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "kind", "Value": "registered"}]}],
    )["ImageId"]
    image = ec2.describe_image(image_id)
    assert (image["State"], image["RootDeviceName"], image["Architecture"]) == ("available", "/dev/sda1", "x86_64")
    assert (image["BootMode"], image["EnaSupport"], image["VirtualizationType"]) == ("legacy-bios", True, "hvm")
    assert image["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 3
    assert image["Tags"] == [{"Key": "kind", "Value": "registered"}]
    assert set(ec2.devices(ec2.launch(ImageId=image_id))) == {"/dev/sda1"}
    assert refusal(client.delete_snapshot, SnapshotId=snapshot_id) == "InvalidSnapshot.InUse"
    again = {"Name": "registered", "RootDeviceName": "/dev/sda1", "BlockDeviceMappings": [mapping]}
    assert refusal(client.register_image, **again) == "InvalidAMIName.Duplicate"


def test_images_of_one_second_have_different_creation_dates(client: EC2Client, ec2: PlainEC2) -> None:
    snapshot = ec2.snapshot(ec2.create_volume())
    mapping: Any = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}]
    registered = [
        client.register_image(Name=f"same second {number}", RootDeviceName="/dev/sda1", BlockDeviceMappings=mapping)
        for number in range(5)
    ]
    created = [ec2.describe_image(one["ImageId"])["CreationDate"] for one in registered]
    assert created == sorted(set(created))


def test_what_cannot_be_registered_is_refused(client: EC2Client, ec2: PlainEC2) -> None:
    unknown = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "snap-0123456789abcdef0"}}
    parameters: dict[str, Any] = {"Name": "refused", "RootDeviceName": "/dev/sda1"}
    assert refusal(client.register_image, **parameters, BlockDeviceMappings=[unknown]) == "InvalidSnapshot.NotFound"
    assert refusal(client.register_image, **parameters) == "InvalidBlockDeviceMapping"
    snapshot_id = ec2.snapshot(ec2.create_volume())
    elsewhere = {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": snapshot_id}}
    code = refusal(client.register_image, **parameters, BlockDeviceMappings=[elsewhere])
    assert code == "InvalidBlockDeviceMapping"
    assert refusal(client.register_image, Name="in S3", ImageLocation="bucket/manifest") == "UnsupportedOperation"


def test_an_image_for_other_machines_is_not_launched(client: EC2Client, ec2: PlainEC2) -> None:
    mapping = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": ec2.snapshot(ec2.create_volume())}}
    image_id = client.register_image(
        Name="for arm", RootDeviceName="/dev/sda1", Architecture="arm64", BlockDeviceMappings=[mapping]
    )["ImageId"]
    assert refusal(ec2.launch, ImageId=image_id) == "InvalidParameterValue"


def test_an_image_is_copied_to_another_region(local: LocalEC2, client: EC2Client, ec2: PlainEC2, image: str) -> None:
    there = PlainEC2(connect(local, "eu-central-1"))
    copy_id = there.client.copy_image(SourceImageId=image, SourceRegion="us-east-1", Name="a copy")["ImageId"]
    assert there.describe_image(copy_id)["State"] == "pending"
    there.wait_for_image(copy_id)
    copied = there.describe_image(copy_id)
    assert (copied["Name"], copied["Public"]) == ("a copy", False)
    source = ec2.describe_image(image)
    assert len(copied["BlockDeviceMappings"]) == len(source["BlockDeviceMappings"])
    client.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    there.launch(ImageId=copy_id)
    assert refusal(client.describe_images, ImageIds=[copy_id]) == "InvalidAMIID.NotFound"


def test_a_published_image_can_be_copied(client: EC2Client, ec2: PlainEC2) -> None:
    source = {"SourceImageId": ec2.image["ImageId"], "SourceRegion": "us-east-1"}
    copy_id = client.copy_image(**source, Name="my own")["ImageId"]
    ec2.wait_for_image(copy_id)
    mine = client.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": ["my own"]}])["Images"]
    assert [one["ImageId"] for one in mine] == [copy_id]
    ec2.launch(ImageId=copy_id)


def test_what_cannot_be_copied_is_refused(client: EC2Client, image: str) -> None:
    def copy(**parameters: Any) -> str:
        return refusal(client.copy_image, **{"SourceRegion": "us-east-1", "Name": "refused", **parameters})

    assert copy(SourceImageId="ami-0123456789abcdef0") == "InvalidAMIID.NotFound"
    assert copy(SourceImageId=image, SourceRegion="mars-north-1") == "InvalidParameterValue"
    assert copy(SourceImageId=image, Encrypted=True) == "UnsupportedOperation"


def test_launch_permissions_are_given_read_and_taken(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    assert permissions(client, image) == []
    add = {"Add": [{"UserId": ACCOUNT}, {"UserId": "444455556666"}]}
    client.modify_image_attribute(ImageId=image, LaunchPermission=add)
    assert permissions(client, image) == [{"UserId": ACCOUNT}, {"UserId": "444455556666"}]
    client.modify_image_attribute(ImageId=image, LaunchPermission={"Remove": [{"UserId": ACCOUNT}]})
    assert permissions(client, image) == [{"UserId": "444455556666"}]
    client.modify_image_attribute(ImageId=image, Attribute="launchPermission", OperationType="add", UserGroups=["all"])
    assert ec2.describe_image(image)["Public"] is True
    client.reset_image_attribute(ImageId=image, Attribute="launchPermission")
    assert permissions(client, image) == []
    assert ec2.describe_image(image)["Public"] is False


def test_launch_permissions_are_changed_for_every_organization(client: EC2Client, image: str) -> None:
    arns = [f"arn:aws:organizations::{ACCOUNT}:organization/o-abcdefghi{last}" for last in "jk"]
    client.modify_image_attribute(ImageId=image, OperationType="add", OrganizationArns=arns)
    assert permissions(client, image) == [{"OrganizationArn": arn} for arn in arns]
    client.modify_image_attribute(ImageId=image, OperationType="remove", OrganizationArns=arns)
    assert permissions(client, image) == []


def test_launch_permissions_without_an_operation_are_refused(client: EC2Client, image: str) -> None:
    def code(**parameters: Any) -> str:
        return refusal(client.modify_image_attribute, ImageId=image, UserIds=[ACCOUNT], **parameters)

    assert code() == "MissingParameter"
    assert code(OperationType="give") == "InvalidParameterValue"
    assert permissions(client, image) == []


@pytest.mark.parametrize(
    ("whom", "code"),
    [
        ({"UserId": "12345"}, "InvalidAMIAttributeItemValue"),
        ({"UserId": "12345678901x"}, "InvalidAMIAttributeItemValue"),
        ({"Group": "some"}, "InvalidParameterValue"),
    ],
)
def test_a_launch_permission_for_nobody_is_refused(
    client: EC2Client, image: str, whom: dict[str, str], code: str
) -> None:
    both = {"Add": [{"UserId": ACCOUNT}, whom]}
    assert refusal(client.modify_image_attribute, ImageId=image, LaunchPermission=both) == code
    assert permissions(client, image) == []


def test_images_are_found_by_who_may_launch_them(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    def found(user: str) -> list[str]:
        return [one["ImageId"] for one in client.describe_images(ExecutableUsers=[user])["Images"]]

    assert image not in found(ACCOUNT)
    client.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": ACCOUNT}]})
    assert found(ACCOUNT) == [image]
    assert image not in found("all")
    assert ec2.image["ImageId"] in found("all")


def test_the_description_can_be_changed(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    client.modify_image_attribute(ImageId=image, Description={"Value": "another one"})
    assert ec2.describe_image(image)["Description"] == "another one"
    answer = client.describe_image_attribute(ImageId=image, Attribute="description")
    assert answer["Description"]["Value"] == "another one"


def test_description_is_named_as_clients_do(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    # Ansible's ec2_ami has a capital letter there.
    client.modify_image_attribute(ImageId=image, Attribute="Description", Description={"Value": "renamed"})
    assert ec2.describe_image(image)["Description"] == "renamed"


def test_one_request_changes_one_attribute_of_an_image(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    both = {"Description": {"Value": "x"}, "LaunchPermission": {"Add": [{"UserId": ACCOUNT}]}}
    assert refusal(client.modify_image_attribute, ImageId=image, **both) == "InvalidParameterCombination"
    assert permissions(client, image) == []


def test_an_image_is_deprecated_and_is_not(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    now = datetime.now(timezone.utc)
    client.enable_image_deprecation(ImageId=image, DeprecateAt=now + timedelta(days=1))
    assert ec2.describe_image(image)["DeprecationTime"].startswith(f"{now + timedelta(days=1):%Y-%m-%dT%H:%M}")
    client.disable_image_deprecation(ImageId=image)
    assert "DeprecationTime" not in ec2.describe_image(image)
    past = {"ImageId": image, "DeprecateAt": now - timedelta(days=1)}
    assert refusal(client.enable_image_deprecation, **past) == "InvalidParameterValue"


def test_what_is_deprecated_is_found_by_who_asks_for_it(client: EC2Client, ec2: PlainEC2) -> None:
    now = datetime.now(timezone.utc).isoformat()

    def found(**asked: bool) -> dict[str, str]:
        images = client.describe_images(ExecutableUsers=["all"], **asked)["Images"]
        return {one["ImageId"]: one.get("DeprecationTime", "9999") for one in images}

    deprecated = {image_id for image_id, time in found(IncludeDeprecated=True).items() if time < now}
    assert deprecated
    assert not deprecated & set(found())
    assert ec2.describe_image(min(deprecated))["State"] == "available"


def test_a_disabled_image_is_not_launched(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    client.disable_image(ImageId=image)
    assert ec2.describe_image(image)["State"] == "disabled"
    assert refusal(ec2.launch, ImageId=image) == "InvalidAMIID.Unavailable"
    client.enable_image(ImageId=image)
    ec2.launch(ImageId=image)


def test_images_are_found_by_what_they_are(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    described = ec2.describe_image(image)

    def found(name: str, value: str) -> list[str]:
        wanted = [{"Name": name, "Values": [value]}]
        return [one["ImageId"] for one in client.describe_images(Owners=["self"], Filters=wanted)["Images"]]

    assert found("name", described["Name"]) == [image]
    assert found("block-device-mapping.snapshot-id", described["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]) == [
        image
    ]
    for name, value in (
        ("state", "available"),
        ("architecture", "x86_64"),
        ("root-device-type", "ebs"),
        ("is-public", "false"),
        ("root-device-name", described["RootDeviceName"]),
    ):
        assert image in found(name, value)
    for name, value in (("state", "pending"), ("architecture", "arm64"), ("is-public", "true")):
        assert image not in found(name, value)
