"""get_or_create_vpc(), launching into a VPC, and deleting it with everything in it."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.ec2.network.rules import Rule
from pycloudlib.ec2.vpc import VPC
from pycloudlib.errors import InvalidArgumentError, PycloudlibError

"""A machine in a VPC is launched in tests/vm."""


def in_vpc(vpc: VPC) -> list[dict[str, Any]]:
    return [{"Name": "vpc-id", "Values": [vpc.id]}]


def parts_of(ec2: EC2, vpc: VPC) -> list[str]:
    """The ids of everything that there is of a VPC, its instances left out."""
    client: Any = ec2.client
    attached = [{"Name": "attachment.vpc-id", "Values": [vpc.id]}]
    found = [
        *(one["VpcId"] for one in client.describe_vpcs(Filters=in_vpc(vpc))["Vpcs"]),
        *(one["SubnetId"] for one in client.describe_subnets(Filters=in_vpc(vpc))["Subnets"]),
        *(one["RouteTableId"] for one in client.describe_route_tables(Filters=in_vpc(vpc))["RouteTables"]),
        *(one["GroupId"] for one in client.describe_security_groups(Filters=in_vpc(vpc))["SecurityGroups"]),
        *(one["InternetGatewayId"] for one in client.describe_internet_gateways(Filters=attached)["InternetGateways"]),
        *(
            one["NetworkInterfaceId"]
            for one in client.describe_network_interfaces(Filters=in_vpc(vpc))["NetworkInterfaces"]
        ),
    ]
    return [str(one) for one in found]


@pytest.fixture
def vpc(ec2: EC2) -> VPC:
    return ec2.get_or_create_vpc(ec2.tag)


@pytest.fixture
def launch_into(ec2: EC2, image_id: str) -> Callable[..., Any]:
    return lambda vpc, **more: ec2.launch(image_id, vpc=vpc, wait=False, **more)


def test_a_vpc_is_dual_stack_and_has_host_names(ec2: EC2, vpc: VPC) -> None:
    (record,) = ec2.client.describe_vpcs(VpcIds=[vpc.id])["Vpcs"]
    assert record["CidrBlock"] == vpc.ipv4_cidr == "192.168.0.0/20"
    assert IPv6Network(vpc.ipv6_cidr).prefixlen == 56
    for attribute in ("enableDnsHostnames", "enableDnsSupport"):
        answer: Any = ec2.client.describe_vpc_attribute(VpcId=vpc.id, Attribute=attribute)  # type: ignore[arg-type]
        assert answer[attribute[0].upper() + attribute[1:]]["Value"] is True


def test_its_subnet_gives_public_addresses_and_ipv6_ones(ec2: EC2, vpc: VPC) -> None:
    (subnet_id,) = vpc.subnet_ids
    (subnet,) = ec2.client.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    assert (subnet["MapPublicIpOnLaunch"], subnet["AssignIpv6AddressOnCreation"]) == (True, True)
    (association,) = subnet["Ipv6CidrBlockAssociationSet"]
    assert IPv6Network(association["Ipv6CidrBlock"]).subnet_of(IPv6Network(vpc.ipv6_cidr))


def test_both_default_routes_lead_to_its_gateway(ec2: EC2, vpc: VPC) -> None:
    attached: Any = [{"Name": "attachment.vpc-id", "Values": [vpc.id]}]
    (gateway,) = ec2.client.describe_internet_gateways(Filters=attached)["InternetGateways"]
    used: Any = [{"Name": "association.subnet-id", "Values": vpc.subnet_ids}]
    (table,) = ec2.client.describe_route_tables(Filters=used)["RouteTables"]
    targets = {
        route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock"): route.get("GatewayId")
        for route in table["Routes"]
    }
    assert (targets["0.0.0.0/0"], targets["::/0"]) == (gateway["InternetGatewayId"],) * 2


def test_its_security_group_lets_in_ssh_icmp_and_its_members(ec2: EC2, vpc: VPC) -> None:
    (group,) = ec2.security_groups(group_id=vpc.security_group_id)
    let_in = {(rule.protocol, rule.from_port, rule.source) for rule in group.rules if rule.direction == "ingress"}
    assert let_in >= {
        ("tcp", 22, "0.0.0.0/0"),
        ("tcp", 22, "::/0"),
        ("icmp", -1, "0.0.0.0/0"),
        ("icmpv6", -1, "::/0"),
        ("all", None, group.id),
    }
    assert ("all", None, "0.0.0.0/0") not in let_in


def test_ingress_rules_open_further_ports(ec2: EC2) -> None:
    rules = [("tcp", 80, 80, "0.0.0.0/0"), Rule("ingress", "udp", 53, 53, "10.0.0.0/8", "names")]
    vpc = ec2.get_or_create_vpc(ec2.tag, ingress=rules)
    (group,) = ec2.security_groups(group_id=vpc.security_group_id)
    assert Rule("ingress", "tcp", 80, 80, "0.0.0.0/0") in group.rules
    assert Rule("ingress", "udp", 53, 53, "10.0.0.0/8", "names") in group.rules


def test_every_part_carries_the_tags_of_its_run(ec2: EC2, vpc: VPC) -> None:
    own = [part for part in parts_of(ec2, vpc) if _tags(ec2, part).get("Name") == ec2.tag]
    assert sorted({part.split("-")[0] for part in own}) == ["igw", "rtb", "sg", "subnet", "vpc"]
    assert all({"pycloudlib:run", "pycloudlib:owner", "pycloudlib:created"} <= set(_tags(ec2, part)) for part in own)


def _tags(ec2: EC2, resource_id: str) -> dict[str, str]:
    answer = ec2.client.describe_tags(Filters=[{"Name": "resource-id", "Values": [resource_id]}])
    return {tag["Key"]: tag["Value"] for tag in answer["Tags"]}


def test_a_vpc_is_found_again_by_its_name_and_nothing_is_created(ec2: EC2, other_ec2: EC2, vpc: VPC) -> None:
    before = parts_of(ec2, vpc)
    found = other_ec2.get_or_create_vpc(vpc.name)
    assert (found.id, found.ipv4_cidr, found.ipv6_cidr) == (vpc.id, vpc.ipv4_cidr, vpc.ipv6_cidr)
    assert found.network_parameters() == vpc.network_parameters()
    assert parts_of(ec2, vpc) == before
    assert other_ec2.created_vpcs == []
    assert ec2.get_or_create_vpc(vpc.name) is vpc


def test_clean_deletes_a_vpc_that_was_created_and_leaves_one_that_was_found(ec2: EC2, other_ec2: EC2, vpc: VPC) -> None:
    other_ec2.get_or_create_vpc(vpc.name)
    assert other_ec2.clean() == []
    assert vpc.id in parts_of(ec2, vpc)
    assert ec2.created_vpcs == [vpc]
    assert ec2.clean() == []
    assert (ec2.created_vpcs, parts_of(ec2, vpc)) == ([], [])


def test_the_oldest_of_several_vpcs_of_one_name_is_used(
    ec2: EC2, other_ec2: EC2, vpc: VPC, caplog: pytest.LogCaptureFixture
) -> None:
    tags: Any = [
        {
            "ResourceType": "vpc",
            "Tags": [
                {"Key": "Name", "Value": vpc.name},
                {"Key": "pycloudlib:created", "Value": "9999-01-01T00:00:00Z"},
            ],
        }
    ]
    second = ec2.client.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=tags)["Vpc"]["VpcId"]
    try:
        assert ec2.get_or_create_vpc(vpc.name) is vpc
        assert other_ec2.get_or_create_vpc(vpc.name).id == vpc.id
        assert f"there are 2 VPCs named {vpc.name}: using {vpc.id}, not {second}" in caplog.messages
    finally:
        ec2.client.delete_vpc(VpcId=second)


def test_an_instance_is_launched_into_it(ec2: EC2, vpc: VPC, launch_into: Callable[..., Any]) -> None:
    instance = launch_into(vpc)
    assert IPv4Address(instance.private_ip) in IPv4Network(vpc.ipv4_cidr)
    (interface,) = instance.network_interfaces()
    assert (interface.subnet_id, interface.security_group_ids) == (vpc.subnet_ids[0], (vpc.security_group_id,))


def test_deleting_it_deletes_its_instances_and_everything_else(
    ec2: EC2, vpc: VPC, launch_into: Callable[..., Any]
) -> None:
    instances = [launch_into(vpc) for _ in range(2)]
    assert vpc.delete() == []
    assert parts_of(ec2, vpc) == []
    assert {instance.state for instance in instances} == {InstanceState.TERMINATED}
    assert (ec2.created_vpcs, ec2.created_instances) == ([], [])
    assert vpc.delete() == []


def test_deleting_it_deletes_what_others_put_there(ec2: EC2, other_ec2: EC2, vpc: VPC) -> None:
    one = other_ec2.create_security_group("one", "of two", vpc)
    two = other_ec2.create_security_group("two", "of two", vpc)
    one.authorize("all", source_group=two)
    two.authorize("all", source_group=one)
    table = ec2.client.create_route_table(VpcId=vpc.id)["RouteTable"]["RouteTableId"]
    ec2.client.create_network_interface(SubnetId=vpc.subnet_ids[0])
    assert table in parts_of(ec2, vpc)
    assert other_ec2.get_or_create_vpc(vpc.name).delete() == []
    assert parts_of(ec2, vpc) == []


def test_vpc_of_a_protected_instance_remains_and_the_error_names_it(
    ec2: EC2, vpc: VPC, launch_into: Callable[..., Any]
) -> None:
    protected, other = launch_into(vpc), launch_into(vpc)
    protected.termination_protection = True
    before = parts_of(ec2, vpc)
    (error,) = vpc.delete()
    assert protected.id in str(error)
    assert other.state is InstanceState.TERMINATED
    assert set(vpc.subnet_ids) <= set(parts_of(ec2, vpc)) <= set(before)
    protected.termination_protection = False
    assert vpc.delete() == []


def test_a_subnet_in_each_zone(ec2: EC2) -> None:
    known = [one["ZoneName"] for one in ec2.client.describe_availability_zones()["AvailabilityZones"]]
    vpc = ec2.get_or_create_vpc(ec2.tag, "10.20.0.0/16", zones="all")
    assert sorted(vpc.subnets) == sorted(known)
    found = ec2.client.describe_subnets(SubnetIds=vpc.subnet_ids)["Subnets"]
    assert len({subnet["CidrBlock"] for subnet in found}) == len(known)
    assert {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in found} == dict(vpc.subnets)
    assert vpc.network_parameters(known[1])["SubnetId"] == vpc.subnets[known[1]]


def test_a_network_for_each_zone(ec2: EC2) -> None:
    zones = {f"{ec2.region}b": "10.20.1.0/24", f"{ec2.region}a": "10.20.0.0/24"}
    vpc = ec2.get_or_create_vpc(ec2.tag, "10.20.0.0/16", zones=zones)
    found = ec2.client.describe_subnets(SubnetIds=vpc.subnet_ids)["Subnets"]
    assert {subnet["AvailabilityZone"]: subnet["CidrBlock"] for subnet in found} == zones
    with pytest.raises(InvalidArgumentError, match=f"no subnet in {ec2.region}c"):
        vpc.network_parameters(f"{ec2.region}c")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"ipv4_cidr": "not a network"}, "must be an IPv4 network"),
    ({"ipv4_cidr": "2001:db8::/56"}, "must be an IPv4 network"),
    ({"ipv4_cidr": "10.0.0.0/8"}, "from /16 to /28"),
    ({"ipv4_cidr": "10.0.0.0/29"}, "from /16 to /28"),
    ({"zones": ["mars-1a"]}, "the zone 'mars-1a' is unknown"),
    ({"ipv4_cidr": "10.0.0.0/28", "zones": "all"}, "too small"),
    ({"ingress": [("tcp", 80, 80, "10.0.0.1/8")]}, "the network of this address is '10.0.0.0/8'"),
    ({"ingress": [("tcp", 80)]}, "is not a rule"),
]


def test_bad_input_is_refused_before_anything_is_created(ec2: EC2) -> None:
    for arguments, reason in REFUSED:
        with pytest.raises(InvalidArgumentError, match=reason):
            ec2.get_or_create_vpc(ec2.tag, **arguments)
    assert ec2.client.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [ec2.tag]}])["Vpcs"] == []


def test_networks_that_overlap_are_refused(ec2: EC2) -> None:
    zones = {f"{ec2.region}a": "10.0.0.0/24", f"{ec2.region}b": "10.0.0.128/25"}
    with pytest.raises(InvalidArgumentError, match="overlap"):
        ec2.get_or_create_vpc(ec2.tag, "10.0.0.0/16", zones=zones)


STEPS = [
    "DescribeVpcs",
    "ModifyVpcAttribute",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "CreateInternetGateway",
    "AttachInternetGateway",
    "CreateRouteTable",
    "CreateRoute",
    "CreateSubnet",
    "ModifySubnetAttribute",
    "AssociateRouteTable",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_on_the_way_leaves_nothing(ec2: EC2, step: str) -> None:
    def refuse(**_: object) -> None:
        raise PycloudlibError("no")

    def refuse_from_now_on(**_: object) -> None:
        ec2.client.meta.events.register(f"before-call.ec2.{step}", refuse)

    named: Any = [{"Name": "tag:Name", "Values": [ec2.tag]}]
    ec2.client.meta.events.register("after-call.ec2.CreateVpc", refuse_from_now_on)
    with pytest.raises(PycloudlibError, match="no"):
        ec2.get_or_create_vpc(ec2.tag)
    ec2.client.meta.events.unregister(f"before-call.ec2.{step}", refuse)
    assert ec2.client.describe_vpcs(Filters=named)["Vpcs"] == []
    gateways = ec2.client.describe_internet_gateways(Filters=named)["InternetGateways"]
    assert (gateways, ec2.created_vpcs) == ([], [])
