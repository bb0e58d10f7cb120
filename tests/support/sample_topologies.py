"""Topologies to test rules, routes and reachability on."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

from pycloudlib.local.network.attachment import Address, NetworkAttachment
from pycloudlib.local.network.topology import (
    AclEntry,
    GroupRule,
    Interface,
    NatGateway,
    NetworkAcl,
    Peering,
    Route,
    RouteTable,
    SecurityGroup,
    Subnet,
    Target,
    Topology,
    Traffic,
    Vpc,
)

OPEN_ACL = NetworkAcl(
    "acl-open",
    (AclEntry(100, True, Traffic(), "0.0.0.0/0"), AclEntry(101, True, Traffic(), "::/0")),
    (AclEntry(100, True, Traffic(), "0.0.0.0/0"), AclEntry(101, True, Traffic(), "::/0")),
)
ANYWHERE = ("0.0.0.0/0", "::/0")
LOCAL_ROUTES = (Route("10.0.0.0/16", Target.LOCAL, "local"), Route("2001:db8:1::/56", Target.LOCAL, "local"))
INTERNET_ROUTES = (
    Route("0.0.0.0/0", Target.INTERNET_GATEWAY, "igw-1"),
    Route("::/0", Target.INTERNET_GATEWAY, "igw-1"),
)
PEERING_CIDR = "10.1.0.0/16"


def rule(number: int, protocol: str = "-1", ports: Any = None, *, cidrs: Any = (), groups: Any = ()) -> GroupRule:
    first, last = ports if isinstance(ports, tuple) else (ports, ports)
    return GroupRule(f"sgr-{number}", Traffic(protocol, first, last), tuple(cidrs), tuple(groups))


def group(group_id: str, *ingress: GroupRule, egress: Any = None) -> SecurityGroup:
    allow_all = (GroupRule(f"sgr-{group_id}-out", Traffic(), ANYWHERE),)
    return SecurityGroup(group_id, ingress, allow_all if egress is None else tuple(egress))


def interface(name: str, ip: str, *groups: str, public: bool = False, ipv6: bool = True, **more: Any) -> Interface:
    """An interface eni-NAME of i-NAME in subnet-NUMBER of 10.V.NUMBER.0/24."""
    _, vpc, number, last = ip.split(".")
    subnet = more.pop("subnet_id", f"subnet-{number}" if vpc == "0" else f"subnet-{vpc}-{number}")
    prefix = f"2001:db8:{int(vpc) + 1}:{number}"
    attachment = NetworkAttachment(
        interface_id=f"eni-{name}",
        mac="0a:00:00:00:00:02",
        addresses=(Address(ip, f"127.9.{number}.{last}" if public else None),),
        subnet=str(ipaddress.ip_network(f"{ip}/24", strict=False)),
        ipv6_addresses=(f"{prefix}::{last}",) if ipv6 else (),
        ipv6_subnet=f"{prefix}::/64" if ipv6 else None,
    )
    return Interface(attachment, subnet, groups or ("sg-all",), instance_id=f"i-{name}", **more)


def lab(*interfaces: Interface, **changes: Any) -> Topology:
    """A VPC with a public subnet (1), a private one (2), one behind a NAT gateway in the first (3), and a peered VPC.

    Args:
        *interfaces: in 10.0.0.0/16 or the peered 10.1.0.0/16.
        **changes: of the VPC.
    """
    tables = {
        "rtb-1": RouteTable("rtb-1", LOCAL_ROUTES + INTERNET_ROUTES),
        "rtb-2": RouteTable("rtb-2", (*LOCAL_ROUTES, Route(PEERING_CIDR, Target.PEERING, "pcx-1"))),
        "rtb-3": RouteTable(
            "rtb-3",
            (
                *LOCAL_ROUTES,
                Route("0.0.0.0/0", Target.NAT_GATEWAY, "nat-1"),
                Route("::/0", Target.EGRESS_ONLY_GATEWAY, "eigw-1"),
            ),
        ),
    }
    subnets = {
        f"subnet-{number}": Subnet(
            f"subnet-{number}",
            f"10.0.{number}.0/24",
            "us-east-1a",
            "acl-open",
            f"rtb-{number}",
            f"2001:db8:1:{number}::/64",
        )
        for number in (1, 2, 3)
    }
    groups = {
        "sg-all": group("sg-all", rule(1, cidrs=ANYWHERE)),
        "sg-none": group("sg-none", egress=()),
        "sg-web": group("sg-web", rule(2, "tcp", 8080, cidrs=ANYWHERE)),
        "sg-peers": group("sg-peers", rule(3, groups=["sg-web"])),
        "sg-host": group("sg-host", rule(4, "tcp", 22, cidrs=["127.0.0.0/8"])),
    }
    vpc = Vpc(
        vpc_id="vpc-1",
        cidrs=("10.0.0.0/16",),
        ipv6_cidrs=("2001:db8:1::/56",),
        subnets=subnets,
        interfaces={one.interface_id: one for one in interfaces if one.attachment.private_ip.startswith("10.0.")},
        groups=groups,
        acls={"acl-open": OPEN_ACL},
        route_tables=tables,
        nat_gateways={"nat-1": NatGateway("nat-1", "subnet-1", "10.0.1.250", "127.9.9.9")},
        internet_gateway_id="igw-1",
        egress_only_gateway_ids=frozenset({"eigw-1"}),
    )
    peered = Vpc(
        vpc_id="vpc-2",
        cidrs=(PEERING_CIDR,),
        subnets={"subnet-1-1": Subnet("subnet-1-1", "10.1.1.0/24", "us-east-1a", "acl-peered", "rtb-peered")},
        interfaces={one.interface_id: one for one in interfaces if one.attachment.private_ip.startswith("10.1.")},
        groups={"sg-all": group("sg-all", rule(1, cidrs=ANYWHERE))},
        acls={"acl-peered": replace(OPEN_ACL, acl_id="acl-peered")},
        route_tables={
            "rtb-peered": RouteTable(
                "rtb-peered",
                (Route(PEERING_CIDR, Target.LOCAL, "local"), Route("10.0.0.0/16", Target.PEERING, "pcx-1")),
            )
        },
    )
    return Topology(
        {"vpc-1": replace(vpc, **changes), "vpc-2": peered}, {"pcx-1": Peering("pcx-1", ("vpc-1", "vpc-2"))}
    )


def with_acl(topology: Topology, subnet_id: str, ingress: Any = (), egress: Any = ()) -> Topology:
    """Give a subnet of the first VPC a network ACL of its own."""
    vpc = topology.vpcs["vpc-1"]
    acl = NetworkAcl(f"acl-{subnet_id}", tuple(ingress), tuple(egress))
    subnets = {**vpc.subnets, subnet_id: replace(vpc.subnets[subnet_id], acl_id=acl.acl_id)}
    changed = replace(vpc, acls={**vpc.acls, acl.acl_id: acl}, subnets=subnets)
    return replace(topology, vpcs={**topology.vpcs, "vpc-1": changed})


def with_routes(topology: Topology, table_id: str, *routes: Route) -> Topology:
    """Give a route table of the first VPC these routes besides its local ones."""
    vpc = topology.vpcs["vpc-1"]
    tables = {**vpc.route_tables, table_id: RouteTable(table_id, LOCAL_ROUTES + routes)}
    return replace(topology, vpcs={**topology.vpcs, "vpc-1": replace(vpc, route_tables=tables)})


def with_groups(topology: Topology, *groups: SecurityGroup) -> Topology:
    """Replace security groups of the first VPC."""
    vpc = topology.vpcs["vpc-1"]
    changed = replace(vpc, groups={**vpc.groups, **{one.group_id: one for one in groups}})
    return replace(topology, vpcs={**topology.vpcs, "vpc-1": changed})


def entry(number: int, cidr: str, protocol: str = "-1", ports: Any = None, *, allow: bool = True) -> AclEntry:
    first, last = ports if isinstance(ports, tuple) else (ports, ports)
    return AclEntry(number, allow, Traffic(protocol, first, last), cidr)
