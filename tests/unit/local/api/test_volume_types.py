"""What volumes do and how they are encrypted: shown in every response, and refused beyond EC2's limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from pycloudlib.local.api.models.encryption import key_arn
from pycloudlib.local.api.models.volume_types import Performance, performance_of
from support.local_network import Launch, wait_for

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ZONE = "us-east-1a"
KEY = "12345678-1234-1234-1234-123456789012"
ARN = f"arn:aws:kms:us-east-1:123456789012:key/{KEY}"


def refusal(call: Callable[..., Any], **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


def describe(client: EC2Client, volume_id: str) -> Any:
    return client.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]


@pytest.mark.parametrize(
    ("volume_type", "size_gb", "iops", "throughput", "does"),
    [
        ("gp2", 1, None, None, (100, None)),
        ("gp2", 1000, None, None, (3000, None)),
        ("gp2", 16384, None, None, (16000, None)),
        ("gp3", 1, None, None, (3000, 125)),
        ("gp3", 100, 4000, 1000, (4000, 1000)),
        ("io1", 4, 200, None, (200, None)),
        ("io2", 8, 8000, None, (8000, None)),
        ("standard", 1, None, None, (None, None)),
        ("st1", 125, None, None, (None, None)),
    ],
)
def test_performance_follows_from_the_type(
    volume_type: str, size_gb: int, iops: int | None, throughput: int | None, does: tuple[int | None, int | None]
) -> None:
    assert performance_of(volume_type, size_gb, iops, throughput) == Performance(volume_type, *does)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"VolumeType": "gp3", "Throughput": 124}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Throughput": 2001, "Iops": 16000}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Throughput": 1000}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Iops": 2999}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Iops": 80001}, "InvalidParameterValue"),
        ({"VolumeType": "gp3", "Iops": 5001}, "InvalidParameterValue"),
        ({"VolumeType": "gp2", "Throughput": 125}, "InvalidParameterCombination"),
        ({"VolumeType": "io1", "Iops": 501}, "InvalidParameterValue"),
        ({"VolumeType": "io1", "Iops": 500, "Throughput": 125}, "InvalidParameterCombination"),
        ({"VolumeType": "io2"}, "MissingParameter"),
        ({"KmsKeyId": KEY}, "InvalidParameterDependency"),
        ({"KmsKeyId": KEY, "Encrypted": False}, "InvalidParameterDependency"),
    ],
)
def test_volumes_beyond_the_limits_are_refused(client: EC2Client, parameters: dict[str, Any], code: str) -> None:
    wanted = {"AvailabilityZone": ZONE, "Size": 10, **parameters}
    assert refusal(client.create_volume, **wanted) == code


def test_launches_have_the_same_limits(client: EC2Client, launch: Launch) -> None:
    def of_launch(**ebs: Any) -> str:
        return refusal(launch, BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10, **ebs}}])

    assert of_launch(VolumeType="gp3", Throughput=2001) == "InvalidParameterValue"
    assert of_launch(VolumeType="gp2", Throughput=200) == "InvalidParameterCombination"
    assert of_launch(KmsKeyId=KEY) == "InvalidParameterDependency"


def test_described_volumes_have_all_members(client: EC2Client) -> None:
    created: Any = client.create_volume(AvailabilityZone=ZONE, Size=10)
    described = describe(client, created["VolumeId"])
    for volume in (created, described):
        assert (volume["SnapshotId"], volume["Iops"], volume["MultiAttachEnabled"]) == ("", 100, False)
        assert not volume["Encrypted"]
        assert "Throughput" not in volume
    assert described["Operator"] == {"Managed": False}
    assert described["AvailabilityZoneId"] == "use1-az6"
    assert described["Attachments"] == []


def test_encryption_goes_on_in_snapshots_and_their_volumes(client: EC2Client) -> None:
    volume: Any = client.create_volume(AvailabilityZone=ZONE, Size=1, Encrypted=True, KmsKeyId=KEY)
    assert (volume["Encrypted"], volume["KmsKeyId"]) == (True, ARN)
    snapshot = client.create_snapshot(VolumeId=volume["VolumeId"])
    client.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot["SnapshotId"]], WaiterConfig={"Delay": 1})
    described = client.describe_snapshots(SnapshotIds=[snapshot["SnapshotId"]])["Snapshots"][0]
    assert (described["Encrypted"], described["KmsKeyId"]) == (True, ARN)
    assert described["CompletionTime"] >= described["StartTime"]
    restored: Any = client.create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot["SnapshotId"])
    assert describe(client, restored["VolumeId"])["KmsKeyId"] == restored["KmsKeyId"] == ARN


def test_launched_volumes_are_encrypted_with_their_key(client: EC2Client, launch: Launch) -> None:
    ebs = {"VolumeSize": 1, "Encrypted": True, "KmsKeyId": ARN}
    instance_id = launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": ebs}])
    filters = [{"Name": "attachment.instance-id", "Values": [instance_id]}, {"Name": "encrypted", "Values": ["true"]}]
    (volume,) = client.describe_volumes(Filters=filters)["Volumes"]  # type: ignore[arg-type]
    assert volume["KmsKeyId"] == ARN


@pytest.fixture
def encrypting(client: EC2Client) -> Iterator[None]:
    """Encryption by default, for as long as a test."""
    client.enable_ebs_encryption_by_default()
    yield
    client.disable_ebs_encryption_by_default()


def test_new_volumes_are_encrypted_by_default(client: EC2Client, launch: Launch, encrypting: None) -> None:
    default = key_arn(None, "us-east-1", "123456789012")
    created: Any = client.create_volume(AvailabilityZone=ZONE, Size=1, Encrypted=False)
    assert (created["Encrypted"], created["KmsKeyId"]) == (True, default)
    assert client.create_volume(AvailabilityZone=ZONE, Size=1, KmsKeyId=KEY)["KmsKeyId"] == ARN
    filters: Any = [{"Name": "attachment.instance-id", "Values": [launch()]}]
    assert [one["KmsKeyId"] for one in client.describe_volumes(Filters=filters)["Volumes"]] == [default]


def test_copies_are_encrypted_by_default(client: EC2Client, image_id: str, encrypting: None) -> None:
    copy = client.copy_image(Name="encrypted", SourceImageId=image_id, SourceRegion="us-east-1")["ImageId"]
    (mapping,) = client.describe_images(ImageIds=[copy])["Images"][0]["BlockDeviceMappings"]
    (snapshot,) = client.describe_snapshots(SnapshotIds=[mapping["Ebs"]["SnapshotId"]])["Snapshots"]
    assert mapping["Ebs"]["Encrypted"]
    assert snapshot["Encrypted"]
    source = client.describe_images(ImageIds=[image_id])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    copied = client.copy_snapshot(SourceSnapshotId=source, SourceRegion="us-east-1")["SnapshotId"]
    described = client.describe_snapshots(SnapshotIds=[copied])["Snapshots"][0]
    assert described["KmsKeyId"] == key_arn(None, "us-east-1", "123456789012")


def test_registered_image_is_encrypted_like_its_snapshot(client: EC2Client) -> None:
    volume_id = client.create_volume(AvailabilityZone=ZONE, Size=1, Encrypted=True)["VolumeId"]
    snapshot_id = client.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    client.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1})
    root: Any = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}]
    image_id = client.register_image(Name="from-encrypted", RootDeviceName="/dev/sda1", BlockDeviceMappings=root)[
        "ImageId"
    ]
    (mapping,) = client.describe_images(ImageIds=[image_id])["Images"][0]["BlockDeviceMappings"]
    assert mapping["Ebs"]["Encrypted"]


def test_keys_are_named_by_their_arn() -> None:
    default = key_arn(None, "us-east-1", "1")
    assert default == key_arn("alias/aws/ebs", "us-east-1", "1") == key_arn(default, "us-east-1", "1")
    assert default != key_arn("alias/mine", "us-east-1", "1")
    assert key_arn("arn:aws:kms:us-east-1:2:key/x", "us-east-1", "1") == "arn:aws:kms:us-east-1:2:key/x"


def test_modifications_keep_what_they_do_not_name(client: EC2Client) -> None:
    wanted = {"VolumeType": "gp3", "Iops": 4000, "Throughput": 300}
    volume_id = client.create_volume(AvailabilityZone=ZONE, Size=10, **wanted)["VolumeId"]  # type: ignore[arg-type]
    modification = client.modify_volume(VolumeId=volume_id, Iops=5000)["VolumeModification"]
    assert (modification["OriginalIops"], modification["TargetIops"]) == (4000, 5000)
    assert (modification["OriginalThroughput"], modification["TargetThroughput"]) == (300, 300)
    assert (modification["TargetSize"], modification["TargetVolumeType"]) == (10, "gp3")
    volume = describe(client, volume_id)
    assert (volume["Iops"], volume["Throughput"]) == (5000, 300)
    client.modify_volume(VolumeId=volume_id, VolumeType="gp2", Size=50)
    volume = describe(client, volume_id)
    assert (volume["VolumeType"], volume["Iops"], volume.get("Throughput")) == ("gp2", 150, None)


def test_modifications_beyond_the_limits_change_nothing(client: EC2Client) -> None:
    volume_id = client.create_volume(AvailabilityZone=ZONE, Size=10, VolumeType="gp3")["VolumeId"]
    for change in ({"Throughput": 1000}, {"Iops": 80001}, {"VolumeType": "io1"}, {"Size": 70000}, {}):
        code = refusal(client.modify_volume, VolumeId=volume_id, **change)
        assert code in ("InvalidParameterValue", "MissingParameter")
    assert describe(client, volume_id)["Throughput"] == 125


def test_images_keep_what_their_volumes_do(client: EC2Client, launch: Launch) -> None:
    ebs = {"VolumeSize": 7, "VolumeType": "gp3", "Iops": 3500, "Throughput": 200}
    instance_id = launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": ebs}])
    image_id = client.create_image(InstanceId=instance_id, Name="fast", NoReboot=True)["ImageId"]
    client.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig={"Delay": 1})
    mappings = client.describe_images(ImageIds=[image_id])["Images"][0]["BlockDeviceMappings"]
    described = next(one["Ebs"] for one in mappings if one["DeviceName"] == "/dev/sdf")
    assert (described["Iops"], described["Throughput"]) == (3500, 200)
    slower = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeType": "gp2"}}]
    wait_for(client, launch(ImageId=image_id, BlockDeviceMappings=slower), "running")
