"""VPCs and what they hold: what the local EC2 answers, with machines that are simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.local_network import Launch, Network, create, refusal, wait_for

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_a_subnet_of_another_vpc_than_the_default_one_gives_no_public_addresses(
    client: EC2Client, network: Network
) -> None:
    subnet = client.describe_subnets(SubnetIds=[network.subnet_id])["Subnets"][0]
    assert not subnet["DefaultForAz"]
    assert not subnet["MapPublicIpOnLaunch"]
    assert subnet["SubnetArn"].endswith(network.subnet_id)
    assert subnet["AvailableIpAddressCount"] == 11


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "10.0.0.0/29"])
def test_a_vpc_of_no_proper_size_is_refused(client: EC2Client, cidr: str) -> None:
    assert refusal(client.create_vpc, CidrBlock=cidr) == "InvalidVpc.Range"


@pytest.mark.parametrize(
    ("cidr", "code"),
    [
        ("10.9.0.0/24", "InvalidSubnet.Range"),
        ("192.168.7.0/29", "InvalidSubnet.Range"),
        ("192.168.1.0/24", "InvalidSubnet.Conflict"),
    ],
)
def test_a_subnet_where_there_is_no_room_for_it_is_refused(
    client: EC2Client, network: Network, cidr: str, code: str
) -> None:
    assert refusal(client.create_subnet, VpcId=network.vpc_id, CidrBlock=cidr) == code


def test_an_ipv6_block_is_a_free_one_of_the_vpc(client: EC2Client, network: Network) -> None:
    wanted = {"VpcId": network.vpc_id, "CidrBlock": "192.168.7.0/24"}
    call = client.create_subnet
    assert refusal(call, Ipv6CidrBlock="2001:db8::/64", **wanted) == "InvalidSubnet.Range"
    assert refusal(call, Ipv6CidrBlock=network.ipv6_cidr, **wanted) == "InvalidSubnet.Conflict"


def test_bits_of_the_host_are_cleared(client: EC2Client, network: Network) -> None:
    subnet = client.create_subnet(VpcId=network.vpc_id, CidrBlock="192.168.7.9/24")["Subnet"]
    assert subnet["CidrBlock"] == "192.168.7.0/24"


def test_nothing_is_deleted_that_holds_something(client: EC2Client, network: Network, launch: Launch) -> None:
    instance_id = launch(SubnetId=network.subnet_id)
    assert refusal(client.delete_subnet, SubnetId=network.subnet_id) == "DependencyViolation"
    assert refusal(client.delete_vpc, VpcId=network.vpc_id) == "DependencyViolation"
    client.terminate_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "terminated")
    client.delete_subnet(SubnetId=network.subnet_id)
    client.delete_vpc(VpcId=network.vpc_id)
    assert refusal(client.describe_vpcs, VpcIds=[network.vpc_id]) == "InvalidVpcID.NotFound"


def test_an_internet_gateway_stays_while_public_addresses_need_it(client: EC2Client, network: Network) -> None:
    gateway_id = client.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    attachment = {"InternetGatewayId": gateway_id, "VpcId": network.vpc_id}
    client.attach_internet_gateway(**attachment)
    assert refusal(client.attach_internet_gateway, **attachment) == "Resource.AlreadyAssociated"
    other = client.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    second = {"InternetGatewayId": other, "VpcId": network.vpc_id}
    assert refusal(client.attach_internet_gateway, **second) == "InvalidParameterValue"
    interface_id = create(client, network.subnet_id)
    elastic = client.allocate_address(Domain="vpc")["AllocationId"]
    association = client.associate_address(AllocationId=elastic, NetworkInterfaceId=interface_id)["AssociationId"]
    assert refusal(client.detach_internet_gateway, **attachment) == "DependencyViolation"
    assert refusal(client.delete_internet_gateway, InternetGatewayId=gateway_id) == "DependencyViolation"
    client.disassociate_address(AssociationId=association)
    client.delete_network_interface(NetworkInterfaceId=interface_id)
    client.delete_subnet(SubnetId=network.subnet_id)
    assert refusal(client.delete_vpc, VpcId=network.vpc_id) == "DependencyViolation"
    client.detach_internet_gateway(**attachment)
    client.delete_vpc(VpcId=network.vpc_id)


def test_a_vpc_is_not_deleted_with_a_security_group_in_it(client: EC2Client, network: Network) -> None:
    group_id = client.create_security_group(GroupName="mine", Description="mine", VpcId=network.vpc_id)["GroupId"]
    client.delete_subnet(SubnetId=network.subnet_id)
    assert refusal(client.delete_vpc, VpcId=network.vpc_id) == "DependencyViolation"
    client.delete_security_group(GroupId=group_id)
    client.delete_vpc(VpcId=network.vpc_id)
    groups = client.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [network.vpc_id]}])
    assert groups["SecurityGroups"] == []


def test_a_route_table_is_free_when_its_subnet_is_gone(client: EC2Client, network: Network) -> None:
    table_id = client.create_route_table(VpcId=network.vpc_id)["RouteTable"]["RouteTableId"]
    client.associate_route_table(RouteTableId=table_id, SubnetId=network.subnet_id)
    client.delete_subnet(SubnetId=network.subnet_id)
    client.delete_route_table(RouteTableId=table_id)
    client.delete_vpc(VpcId=network.vpc_id)
