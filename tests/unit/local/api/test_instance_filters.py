"""The filters of DescribeInstances, and what is left of a terminated instance."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from support.local_network import Launch, describe, wait_for
from support.plain_ec2 import refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def found(client: EC2Client, **filters: str) -> set[str]:
    wanted: Any = [{"Name": name, "Values": [value]} for name, value in filters.items()]
    return {
        one["InstanceId"]
        for reservation in client.describe_instances(Filters=wanted)["Reservations"]
        for one in reservation["Instances"]
    }


@pytest.fixture(scope="module")
def spot(client: EC2Client, image_id: str) -> dict[str, Any]:
    client.create_placement_group(GroupName="filtered")
    instance = client.run_instances(
        ImageId=image_id,
        InstanceType="m5.large",
        MinCount=1,
        MaxCount=1,
        ClientToken="filtered",
        InstanceMarketOptions={"MarketType": "spot"},
        Monitoring={"Enabled": True},
        Placement={"GroupName": "filtered", "Tenancy": "dedicated"},
        PrivateDnsNameOptions={"HostnameType": "resource-name"},
        MaintenanceOptions={"AutoRecovery": "disabled"},
        MetadataOptions={"HttpPutResponseHopLimit": 7, "InstanceMetadataTags": "enabled"},
        NetworkInterfaces=[{"DeviceIndex": 0, "Description": "filtered"}],
    )["Instances"][0]
    wait_for(client, instance["InstanceId"], "running")
    return describe(client, instance["InstanceId"])


def test_filters_answer_from_what_is_recorded(client: EC2Client, spot: dict[str, Any], launch: Launch) -> None:
    launch()
    interface = spot["NetworkInterfaces"][0]
    expected = {
        "block-device-mapping.volume-id": spot["BlockDeviceMappings"][0]["Ebs"]["VolumeId"],
        "client-token": "filtered",
        "instance-lifecycle": "spot",
        "maintenance-options.auto-recovery": "disabled",
        "metadata-options.http-put-response-hop-limit": "7",
        "metadata-options.instance-metadata-tags": "enabled",
        "monitoring-state": "enabled",
        "network-interface.addresses.association.public-ip": spot["PublicIpAddress"],
        "network-interface.addresses.private-ip-address": spot["PrivateIpAddress"],
        "network-interface.association.public-ip": spot["PublicIpAddress"],
        "network-interface.attachment.attachment-id": interface["Attachment"]["AttachmentId"],
        "network-interface.attachment.instance-id": spot["InstanceId"],
        "network-interface.description": "filtered",
        "network-interface.mac-address": interface["MacAddress"],
        "network-interface.private-dns-name": interface["PrivateDnsName"],
        "network-interface.private-ip-address": spot["PrivateIpAddress"],
        "placement-group-name": "filtered",
        "private-dns-name-options.hostname-type": "resource-name",
        "spot-instance-request-id": spot["SpotInstanceRequestId"],
        "tenancy": "dedicated",
    }
    for name, value in expected.items():
        assert (name, found(client, **{name: value})) == (name, {spot["InstanceId"]})
        assert (name, found(client, **{name: "other"})) == (name, set())


def test_every_documented_filter_is_answered(client: EC2Client) -> None:
    members = client.meta.service_model.operation_model("DescribeInstances").input_shape.members
    names = re.findall(r"<code>([^<]+)</code> - ", members["Filters"].documentation)
    assert len(names) > 100
    for name in names:
        found(client, **{name.replace("&lt;key&gt;", "key"): "none"})


def test_terminated_instance_keeps_no_network(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    before = describe(client, instance_id)
    client.terminate_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "terminated")
    after = describe(client, instance_id)
    assert (after["PrivateDnsName"], after["PublicDnsName"]) == ("", "")
    assert not {"PrivateIpAddress", "PublicIpAddress", "SubnetId", "VpcId"} & set(after)
    assert (after["NetworkInterfaces"], after["SecurityGroups"], after["BlockDeviceMappings"]) == ([], [], [])
    for name, value in (
        ("private-ip-address", before["PrivateIpAddress"]),
        ("subnet-id", before["SubnetId"]),
        ("vpc-id", before["VpcId"]),
        ("instance.group-id", before["SecurityGroups"][0]["GroupId"]),
        ("network-interface.network-interface-id", before["NetworkInterfaces"][0]["NetworkInterfaceId"]),
    ):
        assert instance_id not in found(client, **{name: value})
    assert instance_id in found(client, **{"instance-state-name": "terminated"})
    change: Any = {"InstanceId": instance_id, "SourceDestCheck": {"Value": False}}
    assert refusal(client.modify_instance_attribute, **change) == "IncorrectInstanceState"
    change = {"InstanceId": instance_id, "HttpTokens": "required"}
    assert refusal(client.modify_instance_metadata_options, **change) == "IncorrectInstanceState"
