"""VPCs and what they hold: what the local EC2 answers, with machines that are simulated."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.moto_adapter import EC2ClientError
from support.local_network import Launch, Network, create, wait_for
from support.plain_ec2 import connect, refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from pycloudlib.local import LocalEC2


def ec2_of_account(local: LocalEC2, account_id: str) -> EC2Client:
    """EC2 of another account, by a role that is assumed in it."""
    server = {"endpoint_url": local.endpoint_url, "region_name": local.region}
    keys = {"aws_access_key_id": local.access_key_id, "aws_secret_access_key": local.secret_access_key}
    role = {"RoleArn": f"arn:aws:iam::{account_id}:role/peer", "RoleSessionName": "peer"}
    made = boto3.client("sts", **server, **keys).assume_role(**role)["Credentials"]
    return boto3.client(
        "ec2",
        **server,
        aws_access_key_id=made["AccessKeyId"],
        aws_secret_access_key=made["SecretAccessKey"],
        aws_session_token=made["SessionToken"],
    )


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


def test_ipv6_block_of_subnet_is_canonical(client: EC2Client, network: Network) -> None:
    block = ipaddress.IPv6Network(network.ipv6_cidr)
    spare = ipaddress.IPv6Network((int(block.network_address) + (1 << 64), 64))
    subnet = client.create_subnet(VpcId=network.vpc_id, CidrBlock="192.168.7.0/24", Ipv6CidrBlock=spare.exploded)[
        "Subnet"
    ]
    (association,) = subnet["Ipv6CidrBlockAssociationSet"]
    assert (association["Ipv6CidrBlock"], association["Ipv6CidrBlockState"]) == (str(spare), {"State": "associated"})
    (described,) = client.describe_subnets(SubnetIds=[subnet["SubnetId"]])["Subnets"]
    assert described["Ipv6CidrBlockAssociationSet"] == [association]


def outbound(client: EC2Client, vpc_id: str) -> list[str]:
    of_vpc = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "group-name", "Values": ["default"]}]
    (group,) = client.describe_security_groups(Filters=of_vpc)["SecurityGroups"]  # type: ignore[arg-type]
    (permission,) = group["IpPermissionsEgress"]
    return [one["CidrIp"] for one in permission["IpRanges"]] + [one["CidrIpv6"] for one in permission["Ipv6Ranges"]]


def test_default_group_of_vpc_that_gets_ipv6_allows_it_outbound(client: EC2Client) -> None:
    vpc_id = client.create_vpc(CidrBlock="192.168.0.0/16")["Vpc"]["VpcId"]
    assert outbound(client, vpc_id) == ["0.0.0.0/0"]
    client.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)
    assert outbound(client, vpc_id) == ["0.0.0.0/0", "::/0"]


def test_default_group_with_modified_rules_keeps_them(client: EC2Client) -> None:
    vpc_id = client.create_vpc(CidrBlock="192.168.0.0/16")["Vpc"]["VpcId"]
    of_vpc = [{"Name": "vpc-id", "Values": [vpc_id]}]
    (group,) = client.describe_security_groups(Filters=of_vpc)["SecurityGroups"]  # type: ignore[arg-type]
    everything, within = ({"IpProtocol": "-1", "IpRanges": [{"CidrIp": cidr}]} for cidr in ("0.0.0.0/0", "10.0.0.0/8"))
    client.revoke_security_group_egress(GroupId=group["GroupId"], IpPermissions=[everything])  # type: ignore[list-item]
    client.authorize_security_group_egress(GroupId=group["GroupId"], IpPermissions=[within])  # type: ignore[list-item]
    client.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)
    assert outbound(client, vpc_id) == ["10.0.0.0/8"]


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


def test_peering_request_names_the_owner_of_its_own_peer(client: EC2Client, local: LocalEC2, network: Network) -> None:
    peer = ec2_of_account(local, "222222222222")
    peer_vpc_id = peer.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    own_vpc_id = client.create_vpc(CidrBlock="10.78.0.0/16")["Vpc"]["VpcId"]
    (own_id,) = {one["OwnerId"] for one in client.describe_vpcs(VpcIds=[own_vpc_id])["Vpcs"]}
    for vpc_id, owner_id in ((own_vpc_id, own_id), (peer_vpc_id, "222222222222")):
        answer = client.create_vpc_peering_connection(VpcId=network.vpc_id, PeerVpcId=vpc_id, PeerOwnerId=owner_id)[
            "VpcPeeringConnection"
        ]
        assert answer["AccepterVpcInfo"]["OwnerId"] == owner_id
        assert answer["Status"] == {"Code": "initiating-request", "Message": f"Initiating Request to {owner_id}"}


@pytest.mark.parametrize("cidr", ["0.0.0.0/16", "127.0.0.0/16", "169.254.0.0/24", "224.0.0.0/16", "255.0.0.0/16"])
def test_vpc_of_a_reserved_range_is_refused(client: EC2Client, cidr: str) -> None:
    assert refusal(client.create_vpc, CidrBlock=cidr) == "InvalidVpc.Range"


@pytest.mark.parametrize(
    "zone",
    [{"AvailabilityZone": "eu-west-1a"}, {"AvailabilityZone": "us-east-1z"}, {"AvailabilityZoneId": "euw1-az1"}],
)
def test_subnet_in_a_zone_of_another_region_is_refused(
    client: EC2Client, network: Network, zone: dict[str, str]
) -> None:
    wanted = {"VpcId": network.vpc_id, "CidrBlock": "192.168.7.0/24"}
    assert refusal(client.create_subnet, **wanted, **zone) == "InvalidParameterValue"


def test_subnet_is_in_its_region(local: LocalEC2) -> None:
    elsewhere = connect(local, "eu-west-1")
    vpc_id = elsewhere.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    subnet = elsewhere.create_subnet(VpcId=vpc_id, CidrBlock="10.7.0.0/24")["Subnet"]
    assert subnet["AvailabilityZone"].startswith("eu-west-1")
    by_id = elsewhere.create_subnet(VpcId=vpc_id, CidrBlock="10.7.1.0/24", AvailabilityZoneId="euw1-az1")["Subnet"]
    assert by_id["AvailabilityZoneId"] == "euw1-az1"


def test_local_route_cannot_be_deleted(client: EC2Client, network: Network) -> None:
    table_id = client.create_route_table(VpcId=network.vpc_id)["RouteTable"]["RouteTableId"]
    route = {"RouteTableId": table_id, "DestinationCidrBlock": "192.168.0.0/16"}
    assert refusal(client.delete_route, **route) == "InvalidParameterValue"


def test_route_destination_is_canonical(client: EC2Client, network: Network) -> None:
    gateway_id = client.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    client.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=network.vpc_id)
    table_id = client.create_route_table(VpcId=network.vpc_id)["RouteTable"]["RouteTableId"]
    client.create_route(RouteTableId=table_id, DestinationCidrBlock="100.1.2.3/8", GatewayId=gateway_id)
    routes = client.describe_route_tables(RouteTableIds=[table_id])["RouteTables"][0]["Routes"]
    assert "100.0.0.0/8" in [one.get("DestinationCidrBlock") for one in routes]
    client.delete_route(RouteTableId=table_id, DestinationCidrBlock="100.1.2.3/8")


def test_route_to_a_nat_gateway_that_does_not_exist_is_refused(client: EC2Client, network: Network) -> None:
    table_id = client.create_route_table(VpcId=network.vpc_id)["RouteTable"]["RouteTableId"]
    route = {"RouteTableId": table_id, "NatGatewayId": "nat-0123456789abcdef0"}
    assert refusal(client.create_route, DestinationCidrBlock="9.0.0.0/8", **route) == "InvalidNatGatewayID.NotFound"


@pytest.mark.parametrize(("host", "sources"), [(None, []), ("198.51.100.1", ["198.51.100.1/32"])])
def test_default_group_of_the_default_vpc_allows_ssh_from_the_host_if_groups_take_effect(
    records: LocalEC2Backend, host: str | None, sources: list[str]
) -> None:
    records.cloud.driver.host_address = host
    other = LocalEC2Backend("us-east-1", "210987654321")
    allowed = {
        vpc.is_default: [
            (rule.ip_protocol, rule.from_port, rule.to_port, rule.ip_range["CidrIp"])
            for group in other.groups[vpc.id].values()
            for rule in group.ingress_rules
            if rule.ip_range
        ]
        for vpc in (other.default_vpc, other.create_vpc("10.0.0.0/16"))
    }
    assert allowed == {True: [("tcp", 22, 22, source) for source in sources], False: []}


def test_subnet_with_the_hosts_address_is_refused_by_name(records: LocalEC2Backend) -> None:
    records.cloud.driver.host_address = "198.51.100.1"
    vpc = records.create_vpc("198.51.0.0/16")
    with pytest.raises(EC2ClientError, match=r"It contains 198\.51\.100\.1, the address at which"):
        records.create_subnet(vpc.id, "198.51.96.0/20")
    assert records.create_subnet(vpc.id, "198.51.101.0/24").cidr_block == "198.51.101.0/24"


def public_names(client: EC2Client, instance_id: str) -> list[str]:
    """The public host name wherever it is described."""
    instance: Any = client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    (interface,) = instance["NetworkInterfaces"]
    interface_id = interface["NetworkInterfaceId"]
    (described,) = client.describe_network_interfaces(NetworkInterfaceIds=[interface_id])["NetworkInterfaces"]
    return [
        instance["PublicDnsName"],
        interface["Association"]["PublicDnsName"],
        interface["PrivateIpAddresses"][0]["Association"]["PublicDnsName"],
        described["Association"]["PublicDnsName"],  # type: ignore[typeddict-item]
    ]


def test_public_host_names_follow_the_attributes_of_the_vpc(
    client: EC2Client, network: Network, launch: Launch
) -> None:
    client.modify_subnet_attribute(SubnetId=network.subnet_id, MapPublicIpOnLaunch={"Value": True})
    instance_id = launch(SubnetId=network.subnet_id)
    address = client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]["PublicIpAddress"]
    name = f"ec2-{address.replace('.', '-')}.compute-1.amazonaws.com"
    # A new VPC has enableDnsSupport, but not enableDnsHostnames.
    assert public_names(client, instance_id) == [""] * 4
    client.modify_vpc_attribute(VpcId=network.vpc_id, EnableDnsHostnames={"Value": True})
    assert public_names(client, instance_id) == [name] * 4
    client.modify_vpc_attribute(VpcId=network.vpc_id, EnableDnsSupport={"Value": False})
    assert public_names(client, instance_id) == [""] * 4
