from __future__ import annotations

from collections.abc import Callable

import pytest

from pycloudlib import EC2
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.network.vpc_plan import VPCDraft
from pycloudlib.ec2.network.vpc_removal import VPCRemoval
from pycloudlib.ec2.vpc import KIND, VPC, VPCs
from pycloudlib.errors import CloudError, IllegalStateError, InvalidArgumentError, PermissionDeniedError
from pycloudlib.lifecycle import UndoOrder
from support.region_contexts import region_context_at
from support.scripted_ec2 import ScriptedEC2, instances_xml

ID = "vpc-0123456789abcdef0"
DRAFT = VPCDraft.of("web", "10.0.0.0/16", (), {"z1": "10.0.0.0/16"}, ssh_cidr="::/0", ssh_port=22)
ZONES = "<availabilityZoneInfo><item><zoneName>z1</zoneName></item></availabilityZoneInfo>"
DONE = "<return>true</return>"


@pytest.fixture
def scope(script: ScriptedEC2) -> RegionContext:
    return region_context_at(script.url)


@pytest.fixture
def empty(script: ScriptedEC2) -> ScriptedEC2:
    """There is nothing in the VPC."""
    script.answer("DescribeInternetGateways", "<internetGatewaySet/>")
    script.answer("DescribeSubnets", "<subnetSet/>")
    script.answer("DescribeRouteTables", "<routeTableSet/>")
    script.answer("DescribeSecurityGroups", "<securityGroupInfo/>")
    script.answer("DescribeNetworkInterfaces", "<networkInterfaceSet/>")
    return script


def described(state: str, ipv6_state: str) -> str:
    block = f"<ipv6CidrBlock>2001:db8::/56</ipv6CidrBlock><ipv6CidrBlockState><state>{ipv6_state}</state>"
    blocks = f"<ipv6CidrBlockAssociationSet><item>{block}</ipv6CidrBlockState></item></ipv6CidrBlockAssociationSet>"
    return f"<vpcSet><item><vpcId>{ID}</vpcId><state>{state}</state>{blocks}</item></vpcSet>"


def test_a_new_vpc_is_waited_for_until_it_has_its_ipv6_network(scope: RegionContext, empty: ScriptedEC2) -> None:
    empty.answer("DescribeAvailabilityZones", ZONES)
    empty.answer("CreateVpc", f"<vpc><vpcId>{ID}</vpcId></vpc>")
    for _ in ("before it is created", "for another one of its name"):
        empty.answer("DescribeVpcs", "<vpcSet/>")
    empty.refuse("DescribeVpcs", "InvalidVpcID.NotFound", f"'{ID}' does not exist")
    empty.answer("DescribeVpcs", described("pending", "associating"))
    empty.answer("DescribeVpcs", described("available", "associating"))
    empty.answer("DescribeVpcs", described("available", "associated"))
    empty.refuse("ModifyVpcAttribute", "UnauthorizedOperation")
    empty.answer("DescribeInstances", instances_xml())
    empty.answer("DeleteVpc", DONE)
    with pytest.raises(PermissionDeniedError):
        VPCs(scope).get_or_create(DRAFT, Deadline.after(60))
    assert empty.count("DescribeVpcs") == 6
    # And what came after it failed, so that it is deleted again.
    assert (empty.count("DeleteVpc"), len(scope.ledger)) == (1, 0)


def test_what_could_not_be_deleted_after_a_failure_stays_recorded(scope: RegionContext, empty: ScriptedEC2) -> None:
    empty.answer("DescribeAvailabilityZones", ZONES)
    empty.answer("CreateVpc", f"<vpc><vpcId>{ID}</vpcId></vpc>")
    empty.answer("DescribeVpcs", "<vpcSet/>")
    empty.refuse("DescribeVpcs", "UnauthorizedOperation")
    empty.answer("DescribeInstances", instances_xml())
    empty.refuse("DeleteVpc", "UnauthorizedOperation")
    with pytest.raises(PermissionDeniedError, match="DescribeVpcs"):
        VPCs(scope).get_or_create(DRAFT, Deadline.after(60))
    assert scope.ledger.ids(KIND) == [ID]


def test_deleting_waits_until_the_instances_are_terminated(scope: RegionContext, empty: ScriptedEC2) -> None:
    scope.record("instance", "i-1", lambda: None, UndoOrder.INSTANCE)
    empty.answer("DescribeInstances", instances_xml(("i-1", "running")))
    empty.answer("TerminateInstances", "<instancesSet/>")
    empty.refuse("DescribeInstances", "ServiceUnavailable", status=503)
    empty.answer("DescribeInstances", instances_xml(("i-1", "shutting-down")))
    empty.answer("DescribeInstances", instances_xml())
    empty.refuse("DeleteVpc", "DependencyViolation", "not yet")
    empty.answer("DeleteVpc", DONE)
    assert VPCRemoval(scope, ID, Deadline.after(60)).run() == []
    actions = [asked["Action"] for asked in empty.asked]
    assert actions.index("DeleteVpc") > max(n for n, one in enumerate(actions) if one == "DescribeInstances")
    assert len(scope.ledger) == 0


def test_instances_that_do_not_end_in_time_keep_their_network(scope: RegionContext, empty: ScriptedEC2) -> None:
    empty.answer("DescribeInstances", instances_xml(("i-1", "shutting-down")))
    empty.answer("TerminateInstances", "<instancesSet/>")
    (error,) = VPCRemoval(scope, ID, Deadline.after(0)).run()
    assert "i-1 not yet" in str(error)
    assert empty.count("DeleteVpc") == 0


def test_removal_attempts_every_part_and_returns_every_error(scope: RegionContext, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml())
    script.answer("DescribeNetworkInterfaces", "<networkInterfaceSet/>")
    script.refuse("DescribeInternetGateways", "UnauthorizedOperation")
    subnets = "".join(f"<item><subnetId>subnet-{number}</subnetId></item>" for number in (1, 2))
    script.answer("DescribeSubnets", f"<subnetSet>{subnets}</subnetSet>")
    script.refuse("DeleteSubnet", "DependencyViolation", "subnet-1 has dependencies")
    script.answer("DeleteSubnet", DONE)
    script.answer("DescribeRouteTables", "<routeTableSet/>")
    script.answer("DescribeSecurityGroups", "<securityGroupInfo/>")
    script.refuse("DeleteVpc", "DependencyViolation", f"{ID} has dependencies")
    errors = VPCRemoval(scope, ID, Deadline.after(0)).run()
    assert [type(error) for error in errors] == [PermissionDeniedError, IllegalStateError, IllegalStateError]
    assert (script.count("DeleteSubnet"), script.count("DeleteVpc")) == (2, 1)


def test_what_will_not_go_away_is_not_waited_for(scope: RegionContext, script: ScriptedEC2) -> None:
    script.answer("DescribeSubnets", "<subnetSet><item><subnetId>subnet-1</subnetId></item></subnetSet>")
    script.refuse("DeleteSubnet", "UnauthorizedOperation")
    nothing_else_in(script)
    script.answer("DescribeInternetGateways", "<internetGatewaySet/>")
    script.refuse("DeleteVpc", "DependencyViolation", f"{ID} has dependencies")
    errors = VPCRemoval(scope, ID, Deadline.after(3600)).run()
    assert [type(error) for error in errors] == [PermissionDeniedError, IllegalStateError]
    assert script.count("DeleteVpc") == 1


def test_a_gateway_that_was_detached_and_not_deleted_is_deleted_by_the_next_clean_up(
    scope: RegionContext, script: ScriptedEC2
) -> None:
    item = "<item><internetGatewayId>igw-1</internetGatewayId></item>"
    script.answer("DescribeInternetGateways", f"<internetGatewaySet>{item}</internetGatewaySet>")
    script.answer("DescribeSubnets", "<subnetSet/>")
    nothing_else_in(script)
    script.answer("DetachInternetGateway", DONE)
    script.refuse("DetachInternetGateway", "Gateway.NotAttached")
    script.refuse("DeleteInternetGateway", "UnauthorizedOperation")
    script.answer("DeleteInternetGateway", DONE)
    script.answer("DeleteVpc", DONE)
    (error,) = VPCRemoval(scope, ID, Deadline.after(0)).run()
    assert isinstance(error, PermissionDeniedError)
    assert "igw-1" in scope.ledger
    assert scope.ledger.undo_all() == []
    assert script.count("DeleteInternetGateway") == 2


def nothing_else_in(script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml())
    script.answer("DescribeNetworkInterfaces", "<networkInterfaceSet/>")
    script.answer("DescribeRouteTables", "<routeTableSet/>")
    script.answer("DescribeSecurityGroups", "<securityGroupInfo/>")


def test_local_zones_and_zones_out_of_service_are_left_out(scope: RegionContext, script: ScriptedEC2) -> None:
    def zone(name: str, kind: str, state: str) -> str:
        return f"<item><zoneName>{name}</zoneName><zoneType>{kind}</zoneType><zoneState>{state}</zoneState></item>"

    zones = [
        zone("r-1b", "availability-zone", "available"),
        zone("r-1-city-1a", "local-zone", "available"),
        zone("r-1c", "availability-zone", "impaired"),
        zone("r-1a", "availability-zone", "available"),
    ]
    script.answer("DescribeAvailabilityZones", f"<availabilityZoneInfo>{''.join(zones)}</availabilityZoneInfo>")
    assert VPCs(scope).zones() == ["r-1a", "r-1b"]


def test_failed_vpc_lookup_is_not_a_missing_vpc(scope: RegionContext, script: ScriptedEC2) -> None:
    script.refuse("DescribeVpcs", "UnauthorizedOperation")
    with pytest.raises(CloudError, match="DescribeVpcs"):
        VPCs(scope).get_or_create(DRAFT, Deadline.after(60))


def test_a_vpc_without_subnets_cannot_be_launched_into(scope: RegionContext) -> None:
    vpc = VPC(ID, "web", "10.0.0.0/16", "", {}, "sg-1", scope)
    with pytest.raises(InvalidArgumentError, match=r"vpc-.* \(web\) has no subnet"):
        vpc.network_parameters()


def test_ssh_is_let_in_from_the_setting_and_nothing_else_from_outside(
    connect: Callable[..., EC2], moto_url: str
) -> None:
    ec2 = connect(moto_url, ssh_port=2222, settings='ssh_cidr = "203.0.113.0/24"')
    vpc = ec2.get_or_create_vpc(f"{ec2.tag}-narrow")
    (group,) = [one for one in ec2.security_groups() if one.id == vpc.security_group_id]
    assert {(rule.protocol, rule.from_port, rule.source) for rule in group.rules if rule.direction == "ingress"} == {
        ("tcp", 22, "203.0.113.0/24"),
        ("tcp", 2222, "203.0.113.0/24"),
        ("icmp", -1, "0.0.0.0/0"),
        ("icmpv6", -1, "::/0"),
        ("all", None, group.id),
    }
    assert vpc.delete() == []
