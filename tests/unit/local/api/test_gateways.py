"""Gateways, main route tables, DHCP options, and the default VPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.local_network import Network, interface
from support.plain_ec2 import refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture
def connected(client: EC2Client, network: Network) -> Network:
    gateway_id = client.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    client.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=network.vpc_id)
    return network


def nat_gateway(client: EC2Client, gateway_id: str) -> dict[str, Any]:
    return client.describe_nat_gateways(NatGatewayIds=[gateway_id])["NatGateways"][0]


def default_vpc(client: EC2Client) -> dict[str, Any]:
    return client.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]


def test_nat_gateway_has_an_interface_and_an_address(client: EC2Client, connected: Network) -> None:
    address = client.allocate_address(Domain="vpc")
    created = client.create_nat_gateway(
        SubnetId=connected.subnet_id,
        AllocationId=address["AllocationId"],
        TagSpecifications=[{"ResourceType": "natgateway", "Tags": [{"Key": "Name", "Value": "nat"}]}],
    )["NatGateway"]
    gateway_id = created["NatGatewayId"]
    described = nat_gateway(client, gateway_id)
    assert (described["State"], described["VpcId"]) == ("available", connected.vpc_id)
    assert described["Tags"] == [{"Key": "Name", "Value": "nat"}]
    (one,) = described["NatGatewayAddresses"]
    assert one["PublicIp"] == address["PublicIp"]
    assert one["PrivateIp"].startswith("192.168.1.")
    eni = interface(client, one["NetworkInterfaceId"])
    assert (eni["Status"], eni["InterfaceType"]) == ("in-use", "nat_gateway")
    assert eni["Attachment"]["InstanceOwnerId"] == "amazon-aws"
    attachment_id = eni["Attachment"]["AttachmentId"]
    assert refusal(client.detach_network_interface, AttachmentId=attachment_id) == "OperationNotPermitted"
    used = refusal(client.delete_network_interface, NetworkInterfaceId=one["NetworkInterfaceId"])
    assert used == "InvalidParameterValue"
    table_id = client.create_route_table(VpcId=connected.vpc_id)["RouteTable"]["RouteTableId"]
    client.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway_id)
    client.delete_nat_gateway(NatGatewayId=gateway_id)
    assert nat_gateway(client, gateway_id)["State"] == "deleted"
    client.release_address(AllocationId=address["AllocationId"])
    client.delete_subnet(SubnetId=connected.subnet_id)


def test_public_nat_gateway_needs_an_internet_gateway(client: EC2Client, network: Network) -> None:
    allocation_id = client.allocate_address(Domain="vpc")["AllocationId"]
    created = client.create_nat_gateway(SubnetId=network.subnet_id, AllocationId=allocation_id)["NatGateway"]
    described = nat_gateway(client, created["NatGatewayId"])
    assert (described["State"], described["FailureCode"]) == ("failed", "Gateway.NotAttached")
    assert refusal(client.create_nat_gateway, SubnetId=network.subnet_id) == "MissingParameter"
    client.release_address(AllocationId=allocation_id)


def test_private_nat_gateway_takes_a_given_address(client: EC2Client, network: Network) -> None:
    created = client.create_nat_gateway(
        SubnetId=network.subnet_id, ConnectivityType="private", PrivateIpAddress="192.168.1.9"
    )["NatGateway"]
    (one,) = nat_gateway(client, created["NatGatewayId"])["NatGatewayAddresses"]
    assert one["PrivateIp"] == "192.168.1.9"
    assert "PublicIp" not in one


def test_gateway_filters_are_honored(client: EC2Client, connected: Network) -> None:
    def internet_gateways(name: str, value: str) -> list[Any]:
        filters: Any = [{"Name": name, "Values": [value]}]
        return client.describe_internet_gateways(Filters=filters)["InternetGateways"]

    (attached,) = internet_gateways("attachment.vpc-id", connected.vpc_id)
    assert internet_gateways("internet-gateway-id", attached["InternetGatewayId"]) == [attached]
    assert internet_gateways("attachment.state", "detached") == []
    assert internet_gateways("tag:Name", "none") == []
    created = client.create_nat_gateway(SubnetId=connected.subnet_id, ConnectivityType="private")["NatGateway"]
    client.create_tags(Resources=[created["NatGatewayId"]], Tags=[{"Key": "purpose", "Value": "test"}])
    for name, value in (("tag:purpose", "test"), ("subnet-id", connected.subnet_id)):
        found = client.describe_nat_gateways(Filters=[{"Name": name, "Values": [value]}])["NatGateways"]
        assert [one["NatGatewayId"] for one in found] == [created["NatGatewayId"]]
    egress = client.create_egress_only_internet_gateway(VpcId=connected.vpc_id)["EgressOnlyInternetGateway"]
    for value, ids in (("mine", []), ("yours", [])):
        answer = client.describe_egress_only_internet_gateways(Filters=[{"Name": "tag:of", "Values": [value]}])
        assert [one["EgressOnlyInternetGatewayId"] for one in answer["EgressOnlyInternetGateways"]] == ids
    client.create_tags(Resources=[egress["EgressOnlyInternetGatewayId"]], Tags=[{"Key": "of", "Value": "mine"}])
    answer = client.describe_egress_only_internet_gateways(Filters=[{"Name": "tag:of", "Values": ["mine"]}])
    assert len(answer["EgressOnlyInternetGateways"]) == 1


def test_main_route_table_stays(client: EC2Client, network: Network) -> None:
    filters: Any = [{"Name": "vpc-id", "Values": [network.vpc_id]}]
    (main,) = client.describe_route_tables(Filters=filters)["RouteTables"]
    assert refusal(client.delete_route_table, RouteTableId=main["RouteTableId"]) == "DependencyViolation"
    client.delete_subnet(SubnetId=network.subnet_id)
    client.delete_vpc(VpcId=network.vpc_id)
    assert client.describe_route_tables(Filters=filters)["RouteTables"] == []
    assert client.describe_network_acls(Filters=filters)["NetworkAcls"] == []


def test_dhcp_options_outlive_their_vpc(client: EC2Client, network: Network) -> None:
    options_id = client.create_dhcp_options(DhcpConfigurations=[{"Key": "domain-name", "Values": ["example.com"]}])[
        "DhcpOptions"
    ]["DhcpOptionsId"]
    default_id = client.describe_vpcs(VpcIds=[network.vpc_id])["Vpcs"][0]["DhcpOptionsId"]
    assert default_id == default_vpc(client)["DhcpOptionsId"]
    described = client.describe_dhcp_options(DhcpOptionsIds=[default_id])["DhcpOptions"][0]["DhcpConfigurations"]
    assert {one["Key"]: one["Values"][0]["Value"] for one in described} == {
        "domain-name": "ec2.internal",
        "domain-name-servers": "AmazonProvidedDNS",
    }
    client.associate_dhcp_options(DhcpOptionsId=options_id, VpcId=network.vpc_id)
    assert refusal(client.delete_dhcp_options, DhcpOptionsId=options_id) == "DependencyViolation"
    client.delete_subnet(SubnetId=network.subnet_id)
    client.delete_vpc(VpcId=network.vpc_id)
    assert client.describe_dhcp_options(DhcpOptionsIds=[options_id])["DhcpOptions"]
    client.delete_dhcp_options(DhcpOptionsId=options_id)


def test_default_vpc_reaches_the_internet(client: EC2Client) -> None:
    vpc_id = default_vpc(client)["VpcId"]
    (gateway,) = client.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc_id]}])[
        "InternetGateways"
    ]
    filters: Any = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "association.main", "Values": ["true"]}]
    (table,) = client.describe_route_tables(Filters=filters)["RouteTables"]
    routes = {one["DestinationCidrBlock"]: one["GatewayId"] for one in table["Routes"]}
    assert routes == {"172.31.0.0/16": "local", "0.0.0.0/0": gateway["InternetGatewayId"]}


def test_account_attributes_are_the_accounts(client: EC2Client) -> None:
    def values(*names: str) -> dict[str, str]:
        wanted: Any = {"AttributeNames": list(names)} if names else {}
        found = client.describe_account_attributes(**wanted)["AccountAttributes"]
        return {one["AttributeName"]: one["AttributeValues"][0]["AttributeValue"] for one in found}

    assert values()["default-vpc"] == default_vpc(client)["VpcId"]
    assert values("supported-platforms") == {"supported-platforms": "VPC"}
    assert values("max-elastic-ips") == {"max-elastic-ips": "5"}


def test_region_and_zone_filters_are_honored(client: EC2Client) -> None:
    def regions(name: str, value: str) -> set[str]:
        found = client.describe_regions(Filters=[{"Name": name, "Values": [value]}])["Regions"]
        return {one["RegionName"] for one in found}

    assert regions("region-name", "eu-*-1") >= {"eu-central-1", "eu-west-1"}
    assert "us-east-1" not in regions("region-name", "eu-*-1")
    assert regions("endpoint", "ec2.eu-west-3.amazonaws.com") == {"eu-west-3"}
    assert regions("opt-in-status", "nonsense") == set()

    def zones(name: str, value: str) -> list[str]:
        found = client.describe_availability_zones(Filters=[{"Name": name, "Values": [value]}])["AvailabilityZones"]
        return [one["ZoneName"] for one in found]

    assert zones("zone-id", "use1-az2") == ["us-east-1c"]
    assert zones("zone-name", "us-east-1b") == ["us-east-1b"]
    assert zones("opt-in-status", "not-opted-in") == []
    assert zones("parent-zone-name", "us-east-1a") == []
    assert refusal(client.describe_availability_zones, ZoneNames=["us-east-1z"]) == "InvalidParameterValue"


def test_route_without_its_target_is_a_blackhole(client: EC2Client, network: Network) -> None:
    gateway_id = client.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    client.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=network.vpc_id)
    table_id = client.create_route_table(VpcId=network.vpc_id)["RouteTable"]["RouteTableId"]
    client.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway_id)

    def states() -> dict[str, str]:
        (table,) = client.describe_route_tables(RouteTableIds=[table_id])["RouteTables"]
        return {route.get("GatewayId", ""): route["State"] for route in table["Routes"]}

    assert states() == {"local": "active", gateway_id: "active"}
    client.detach_internet_gateway(InternetGatewayId=gateway_id, VpcId=network.vpc_id)
    assert states() == {"local": "active", gateway_id: "blackhole"}
    blackholes = [{"Name": "route.state", "Values": ["blackhole"]}]
    found = client.describe_route_tables(RouteTableIds=[table_id], Filters=blackholes)["RouteTables"]
    assert [table["RouteTableId"] for table in found] == [table_id]
    client.delete_internet_gateway(InternetGatewayId=gateway_id)
    assert states() == {"local": "active", gateway_id: "blackhole"}


def test_association_of_the_main_route_table_stays(client: EC2Client, network: Network) -> None:
    filters: Any = [{"Name": "vpc-id", "Values": [network.vpc_id]}]
    (main,) = client.describe_route_tables(Filters=filters)["RouteTables"]
    wanted = {"AssociationId": main["Associations"][0]["RouteTableAssociationId"]}
    assert refusal(client.disassociate_route_table, **wanted) == "InvalidParameterValue"
    assert client.describe_route_tables(Filters=filters)["RouteTables"] == [main]
