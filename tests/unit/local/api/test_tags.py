"""Tags: CreateTags and DeleteTags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.local.api.models.tags import KINDS
from support.local_network import Launch, Network, describe
from support.plain_ec2 import ZONE, refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

TEMPLATE = "aws:ec2launchtemplate:id"


def tags_of(client: EC2Client, resource_id: str) -> dict[str, str]:
    filters: Any = [{"Name": "resource-id", "Values": [resource_id]}]
    return {tag["Key"]: tag["Value"] for tag in client.describe_tags(Filters=filters)["Tags"]}


def test_delete_tags_without_tags_deletes_all(client: EC2Client, network: Network) -> None:
    client.create_tags(Resources=[network.vpc_id], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    client.delete_tags(Resources=[network.vpc_id, network.subnet_id])
    assert tags_of(client, network.vpc_id) == {}


def test_delete_tags_leaves_the_tags_of_ec2(client: EC2Client, launch: Launch, image_id: str) -> None:
    client.create_launch_template(LaunchTemplateName="tagging", LaunchTemplateData={"ImageId": image_id})
    instance_id = launch(LaunchTemplate={"LaunchTemplateName": "tagging"})
    client.create_tags(Resources=[instance_id], Tags=[{"Key": "mine", "Value": "1"}])
    call = client.delete_tags
    assert refusal(call, Resources=[instance_id], Tags=[{"Key": TEMPLATE}]) == "InvalidParameterValue"
    client.delete_tags(Resources=[instance_id])
    remaining = {tag["Key"] for tag in describe(client, instance_id)["Tags"]}
    assert TEMPLATE in remaining
    assert "mine" not in remaining


def test_delete_tags_compares_the_value_if_there_is_one(client: EC2Client, network: Network) -> None:
    client.create_tags(Resources=[network.vpc_id], Tags=[{"Key": "a", "Value": "1"}])
    client.delete_tags(Resources=[network.vpc_id], Tags=[{"Key": "a", "Value": ""}])
    assert tags_of(client, network.vpc_id) == {"a": "1"}
    client.delete_tags(Resources=[network.vpc_id], Tags=[{"Key": "a"}])
    assert tags_of(client, network.vpc_id) == {}


UNKNOWN = {
    "acl": "InvalidNetworkAclID.NotFound",
    "ami": "InvalidAMIID.NotFound",
    "dopt": "InvalidDhcpOptionID.NotFound",
    "eigw": "InvalidEgressOnlyInternetGatewayId.NotFound",
    "eipalloc": "InvalidAllocationID.NotFound",
    "eni": "InvalidNetworkInterfaceID.NotFound",
    "i": "InvalidInstanceID.NotFound",
    "igw": "InvalidInternetGatewayID.NotFound",
    "key": "InvalidKeyPair.NotFound",
    "lt": "InvalidLaunchTemplateId.NotFound",
    "nat": "NatGatewayNotFound",
    "pcx": "InvalidVpcPeeringConnectionID.NotFound",
    "pg": "InvalidPlacementGroup.Unknown",
    "pl": "InvalidPrefixListID.NotFound",
    "replacevol": "InvalidReplaceRootVolumeTaskId.NotFound",
    "rtb": "InvalidRouteTableID.NotFound",
    "sg": "InvalidGroup.NotFound",
    "sgr": "InvalidSecurityGroupRuleId.NotFound",
    "sir": "InvalidSpotInstanceRequestID.NotFound",
    "snap": "InvalidSnapshot.NotFound",
    "subnet": "InvalidSubnetID.NotFound",
    "vol": "InvalidVolume.NotFound",
    "vpc": "InvalidVpcID.NotFound",
    "tgw": "InvalidID",
    "subnet-cidr-assoc": "InvalidID",
}


@pytest.mark.parametrize(("prefix", "code"), UNKNOWN.items())
def test_unknown_resources_are_not_tagged(client: EC2Client, prefix: str, code: str) -> None:
    unknown = f"{prefix}-0123456789abcdef9"
    tags = [{"Key": "k", "Value": "v"}]
    assert refusal(client.create_tags, Resources=[unknown], Tags=tags) == code
    assert tags_of(client, unknown) == {}


def test_every_kind_of_resource_has_a_test() -> None:
    assert set(KINDS) <= set(UNKNOWN)


def test_placement_groups_are_tagged(client: EC2Client) -> None:
    given: Any = [{"ResourceType": "placement-group", "Tags": [{"Key": "a", "Value": "1"}]}]
    made = client.create_placement_group(GroupName="tagged", Strategy="spread", TagSpecifications=given)
    group_id = made["PlacementGroup"]["GroupId"]
    client.create_tags(Resources=[group_id], Tags=[{"Key": "b", "Value": ""}])
    assert tags_of(client, group_id) == {"a": "1", "b": ""}
    client.delete_tags(Resources=[group_id], Tags=[{"Key": "a"}])
    (described,) = client.describe_placement_groups(GroupNames=["tagged"])["PlacementGroups"]
    assert described["Tags"] == [{"Key": "b", "Value": ""}]
    types: Any = [{"Name": "resource-type", "Values": ["placement-group"]}]
    assert [one["ResourceId"] for one in client.describe_tags(Filters=types)["Tags"]] == [group_id]


def test_tags_end_with_their_resource(client: EC2Client) -> None:
    volume_id = client.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]
    client.create_tags(Resources=[volume_id], Tags=[{"Key": "k", "Value": "v"}])
    assert tags_of(client, volume_id) == {"k": "v"}
    client.delete_volume(VolumeId=volume_id)
    assert tags_of(client, volume_id) == {}


def test_tags_without_a_key_or_a_value_are_refused(client: EC2Client, network: Network) -> None:
    wrong: list[Any] = [{"Key": "k"}, {"Value": "v"}, {"Key": "", "Value": "v"}]
    for tag in wrong:
        assert refusal(client.create_tags, Resources=[network.vpc_id], Tags=[tag]) == "InvalidParameterValue"
        tags = [{"ResourceType": "volume", "Tags": [tag]}]
        volume = {"AvailabilityZone": ZONE, "Size": 1, "TagSpecifications": tags}
        assert refusal(client.create_volume, **volume) == "InvalidParameterValue"
    assert refusal(client.delete_tags, Resources=[network.vpc_id], Tags=[{"Value": "v"}]) == "InvalidParameterValue"
    assert tags_of(client, network.vpc_id) == {}
