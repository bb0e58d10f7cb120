"""DetachVolume with Force, while the guest does not react."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.local_network import Launch
from support.plain_ec2 import PlainEC2, refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture(scope="module")
def local_options() -> dict[str, Any]:
    return {"stop_seconds": 5.0}


def test_force_repeats_the_request(client: EC2Client, launch: Launch) -> None:
    ec2 = PlainEC2(client)
    instance_id, volume_id = launch(), ec2.create_volume()
    ec2.attach(volume_id, instance_id)
    client.reboot_instances(InstanceIds=[instance_id])  # the guest shuts down, and releases nothing meanwhile
    assert client.detach_volume(VolumeId=volume_id)["State"] == "detaching"
    assert refusal(client.detach_volume, VolumeId=volume_id) == "IncorrectState"
    assert client.detach_volume(VolumeId=volume_id, Force=True)["State"] == "detaching"
    ec2.wait_for_attachment(volume_id, None)
    assert ec2.volume(volume_id)["State"] == "available"
