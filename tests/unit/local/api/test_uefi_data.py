"""The UEFI variables of AMIs and instances: RegisterImage's UefiData, and GetInstanceUefiData."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.moto_adapter import EC2ClientError
from pycloudlib.local.machines.platforms import Platform
from support.plain_ec2 import PlainEC2, refusal
from support.uefi import BOOT_ENTRY, KEYS, uefi_data

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

STORE = uefi_data(*KEYS, BOOT_ENTRY)
NITRO = "t3.micro"


@pytest.fixture(scope="module")
def snapshot_id(ec2: PlainEC2) -> str:
    return ec2.snapshot(ec2.create_volume())


@pytest.fixture
def parameters(snapshot_id: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    return {
        "Name": request.node.name.replace("[", "(").replace("]", ")"),
        "RootDeviceName": "/dev/sda1",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "BootMode": "uefi",
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}],
    }


@pytest.fixture
def image(client: EC2Client, parameters: dict[str, Any]) -> str:
    return client.register_image(**parameters, UefiData=STORE)["ImageId"]


def store_of_image(client: EC2Client, image_id: str) -> str | None:
    answer = client.describe_image_attribute(ImageId=image_id, Attribute="uefiData")
    return answer["UefiData"].get("Value")


def test_instance_starts_with_the_store_of_its_image(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    instance_id = ec2.launch(ImageId=image, InstanceType=NITRO)
    answer = client.get_instance_uefi_data(InstanceId=instance_id)
    assert (answer["InstanceId"], answer["UefiData"]) == (instance_id, STORE)


def test_created_and_copied_images_keep_the_store(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    created = ec2.create_image(ec2.launch(ImageId=image, InstanceType=NITRO), "of an instance with keys")
    copied = client.copy_image(Name="copy with keys", SourceImageId=image, SourceRegion="us-east-1")["ImageId"]
    assert [store_of_image(client, image_id) for image_id in (image, created, copied)] == [STORE] * 3


def test_image_without_a_store_has_empty_variables(
    client: EC2Client, ec2: PlainEC2, parameters: dict[str, Any]
) -> None:
    image_id = client.register_image(**parameters)["ImageId"]
    assert store_of_image(client, image_id) is None
    instance_id = ec2.launch(ImageId=image_id, InstanceType=NITRO)
    assert client.get_instance_uefi_data(InstanceId=instance_id)["UefiData"] == uefi_data()


def test_instance_with_a_bios_has_no_store(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    assert refusal(client.get_instance_uefi_data, InstanceId=ec2.launch()) == "UnsupportedOperation"
    unknown = "i-0123456789abcdef0"
    assert refusal(client.get_instance_uefi_data, InstanceId=unknown) == "InvalidInstanceID.NotFound"


def test_arm64_has_no_store(client: EC2Client, ec2: PlainEC2, parameters: dict[str, Any]) -> None:
    parameters["Architecture"] = "arm64"
    assert refusal(client.register_image, **parameters, UefiData=STORE) == "UnsupportedOperation"
    instance_id = ec2.launch(ImageId=client.register_image(**parameters)["ImageId"], InstanceType="t4g.small")
    assert refusal(client.get_instance_uefi_data, InstanceId=instance_id) == "UnsupportedOperation"
    created = ec2.create_image(instance_id, "of an arm64 instance")
    assert store_of_image(client, created) is None


def test_terminated_instance_has_no_store(client: EC2Client, ec2: PlainEC2, image: str) -> None:
    instance_id = ec2.launch(ImageId=image, InstanceType=NITRO)
    client.terminate_instances(InstanceIds=[instance_id])
    assert refusal(client.get_instance_uefi_data, InstanceId=instance_id) == "IncorrectInstanceState"


@pytest.mark.parametrize("data", ["AAAA", "not base64", STORE[: len(STORE) // 8 * 4]])
def test_malformed_store_is_refused(client: EC2Client, parameters: dict[str, Any], data: str) -> None:
    assert refusal(client.register_image, **parameters, UefiData=data) == "InvalidParameterValue"


@pytest.mark.parametrize("boot_mode", ["legacy-bios", None])
def test_store_requires_uefi(client: EC2Client, parameters: dict[str, Any], boot_mode: str | None) -> None:
    changed = {name: value for name, value in parameters.items() if name != "BootMode"}
    if boot_mode:
        changed["BootMode"] = boot_mode
    assert refusal(client.register_image, **changed, UefiData=STORE) == "InvalidParameterCombination"


def test_missing_secure_boot_is_explained(records: LocalEC2Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_platform: Platform) -> None:
        raise MissingPrerequisiteError("install it")

    monkeypatch.setattr(records.cloud.driver, "require_secure_boot", refuse)
    ami = records.get_image(records.cloud.catalogue.images()[0].image_id)
    ami.traits = replace(ami.traits, boot_mode="uefi", uefi_data=uefi_data(BOOT_ENTRY))
    assert records.launchable_image(ami.id) is ami
    ami.traits = replace(ami.traits, uefi_data=STORE)
    with pytest.raises(EC2ClientError) as refused:
        records.launchable_image(ami.id)
    assert (refused.value.code, refused.value.message) == ("UnsupportedOperation", "install it")
