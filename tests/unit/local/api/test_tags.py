"""Tags: CreateTags and DeleteTags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.local_network import Launch, Network, describe
from support.plain_ec2 import refusal

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
