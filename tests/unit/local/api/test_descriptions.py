"""What EC2 always says of a resource, beside what was asked for. SDKs, Terraform and Ansible rely on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.local_network import Launch, Network

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture
def instance(client: EC2Client, launch: Launch) -> Any:
    return client.describe_instances(InstanceIds=[launch()])["Reservations"][0]["Instances"][0]


def test_instances(instance: Any) -> None:
    assert instance["PlatformDetails"] == "Linux/UNIX"
    assert instance["UsageOperation"] == "RunInstances"
    assert instance["UsageOperationUpdateTime"] == instance["LaunchTime"]
    assert instance["EnaSupport"] is True
    assert instance["BootMode"]
    assert instance["CurrentInstanceBootMode"] == "legacy-bios"
    assert instance["Operator"] == {"Managed": False}
    assert instance["NetworkPerformanceOptions"] == {"BandwidthWeighting": "default"}
    assert instance["MaintenanceOptions"] == {"AutoRecovery": "default", "RebootMigration": "default"}
    assert instance["CpuOptions"]["CoreCount"] >= 1
    assert instance["PublicDnsName"].startswith("ec2-")
    assert instance["ProductCodes"] == []
    assert instance["StateTransitionReason"] == ""
    assert "StateReason" not in instance
    assert instance["NetworkInterfaces"][0]["Operator"] == {"Managed": False}


def test_pending_instances_have_a_reason(client: EC2Client, image_id: str) -> None:
    launched = client.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)["Instances"][0]
    assert launched["StateReason"] == {"Code": "pending", "Message": "pending"}


def test_images(client: EC2Client, image_id: str) -> None:
    image = client.describe_images(ImageIds=[image_id])["Images"][0]
    assert (image["PlatformDetails"], image["UsageOperation"]) == ("Linux/UNIX", "RunInstances")
    assert image["DeregistrationProtection"] == "disabled"


def test_addresses(client: EC2Client) -> None:
    allocated: Any = client.allocate_address(Domain="vpc")
    described: Any = client.describe_addresses(AllocationIds=[allocated["AllocationId"]])["Addresses"][0]
    for address in (allocated, described):
        assert address["PublicIpv4Pool"] == "amazon"
        assert address["NetworkBorderGroup"] == "us-east-1"


def test_subnets(client: EC2Client, network: Network) -> None:
    subnet: Any = client.describe_subnets(SubnetIds=[network.subnet_id])["Subnets"][0]
    assert subnet["EnableDns64"] is subnet["MapCustomerOwnedIpOnLaunch"] is False
    assert subnet["BlockPublicAccessStates"] == {"InternetGatewayBlockMode": "off"}


def test_security_group_rules(client: EC2Client, network: Network) -> None:
    group_id = client.create_security_group(GroupName="web", Description="web", VpcId=network.vpc_id)["GroupId"]
    pair = {"GroupId": group_id, "Description": "each other"}
    permission: Any = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": [pair]}
    added = client.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[permission])["SecurityGroupRules"]
    filters: Any = [{"Name": "group-id", "Values": [group_id]}]
    described = client.describe_security_group_rules(Filters=filters)["SecurityGroupRules"]
    rules = {rule["IsEgress"]: rule for rule in described if "CidrIpv6" not in rule}
    assert rules[False] == {**added[0], "Tags": []}
    assert rules[False]["GroupOwnerId"] == "123456789012"
    assert rules[False]["ReferencedGroupInfo"] == {"GroupId": group_id, "UserId": "123456789012"}
    assert rules[False]["Description"] == "each other"
    assert rules[False]["SecurityGroupRuleArn"].endswith(rules[False]["SecurityGroupRuleId"])
    assert (rules[True]["FromPort"], rules[True]["ToPort"], rules[True]["CidrIpv4"]) == (-1, -1, "0.0.0.0/0")


def test_tags_name_the_type_of_their_resource(client: EC2Client) -> None:
    def types(resource_id: str, **wanted: str) -> list[str]:
        given = {"resource-id": resource_id, **{name.replace("_", "-"): value for name, value in wanted.items()}}
        filters: Any = [{"Name": name, "Values": [value]} for name, value in given.items()]
        return [tag["ResourceType"] for tag in client.describe_tags(Filters=filters)["Tags"]]

    tags = [{"Key": "purpose", "Value": "test"}]
    address_id = client.allocate_address(Domain="vpc")["AllocationId"]
    client.create_tags(Resources=[address_id], Tags=tags)  # type: ignore[arg-type]
    assert types(address_id) == types(address_id, resource_type="elastic-ip") == ["elastic-ip"]
    assert types(address_id, resource_type="vpc-elastic-ip") == []
