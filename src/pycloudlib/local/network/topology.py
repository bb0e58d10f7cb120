"""The network of all accounts and regions as data: VPCs, subnets, interfaces, and the rules between them.

A snapshot of the API's records, taken under their lock and immutable afterwards. The namespaces network driver applies
it to the kernel; the reachability analysis reads it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from pycloudlib.local.network.attachment import NetworkAttachment

ALL_PROTOCOLS = "-1"


@dataclass(frozen=True)
class Traffic:
    """What a rule matches of a packet besides its peer.

    Args:
        protocol: "tcp", "udp", "icmp", "icmpv6", an IP protocol number as text, or "-1" for all.
        first: the first port, or the ICMP type; None for all.
        last: the last port, or the ICMP code; None for all.
    """

    protocol: str = ALL_PROTOCOLS
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class GroupRule:
    """A rule of a security group, which lets traffic in or out.

    Args:
        rule_id: such as "sgr-0123456789abcdef0".
        traffic: what it lets pass.
        cidrs: peers by IPv4 and IPv6 CIDR block; those of prefix lists are among them.
        group_ids: peers by security group.
    """

    rule_id: str
    traffic: Traffic
    cidrs: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class SecurityGroup:
    """A security group (stateful)."""

    group_id: str
    ingress: tuple[GroupRule, ...]
    egress: tuple[GroupRule, ...]


@dataclass(frozen=True)
class AclEntry:
    """An entry of a network ACL (stateless)."""

    number: int
    allow: bool
    traffic: Traffic
    cidr: str


@dataclass(frozen=True)
class NetworkAcl:
    """A network ACL: the matching entry with the lowest number decides; without one, traffic is dropped."""

    acl_id: str
    ingress: tuple[AclEntry, ...]
    egress: tuple[AclEntry, ...]


class Target(enum.Enum):
    """The kind of a route's target."""

    LOCAL = "local"
    INTERNET_GATEWAY = "internet gateway"
    NAT_GATEWAY = "NAT gateway"
    EGRESS_ONLY_GATEWAY = "egress-only internet gateway"
    PEERING = "VPC peering connection"
    INTERFACE = "network interface"
    BLACKHOLE = "blackhole"


@dataclass(frozen=True)
class Route:
    """A route: the longest matching prefix wins.

    Args:
        cidr: the destination, IPv4 or IPv6.
        target: what kind of target it has; BLACKHOLE if the target is gone.
        target_id: the target, such as "igw-0123456789abcdef0"; "local" for the VPC itself.
    """

    cidr: str
    target: Target
    target_id: str


@dataclass(frozen=True)
class RouteTable:
    """A route table."""

    table_id: str
    routes: tuple[Route, ...]


@dataclass(frozen=True)
class Subnet:
    """A subnet, with the network ACL and the route table that apply to it (its own or the VPC's main one)."""

    subnet_id: str
    cidr: str
    zone: str
    acl_id: str
    route_table_id: str
    ipv6_cidr: str | None = None


@dataclass(frozen=True)
class Interface:
    """A network interface.

    Args:
        attachment: its MAC and addresses.
        subnet_id: its subnet.
        group_ids: its security groups.
        source_dest_check: whether it may only send from, and receive for, its own addresses.
        instance_id: the instance that it is attached to; None for none.
        running: whether that instance runs, or is about to.
        device_index: its index there; that of the primary interface is 0.
    """

    attachment: NetworkAttachment
    subnet_id: str
    group_ids: tuple[str, ...]
    source_dest_check: bool = True
    instance_id: str | None = None
    running: bool = True
    device_index: int = 0

    @property
    def interface_id(self) -> str:
        """Its id."""
        return self.attachment.interface_id


@dataclass(frozen=True)
class NatGateway:
    """A NAT gateway.

    Args:
        nat_gateway_id: its id.
        subnet_id: its subnet, whose route table and network ACL apply to it.
        private_ip: its address there.
        public_ip: the address that the internet sees; None for a private NAT gateway.
    """

    nat_gateway_id: str
    subnet_id: str
    private_ip: str
    public_ip: str | None


@dataclass(frozen=True)
class Vpc:
    """A VPC and everything in it, by id where it is looked up by id.

    Args:
        internet_gateway_id: the attached internet gateway; None for none.
        dns_support: enableDnsSupport.
        dns_hostnames: enableDnsHostnames.
    """

    vpc_id: str
    cidrs: tuple[str, ...]
    ipv6_cidrs: tuple[str, ...] = ()
    subnets: Mapping[str, Subnet] = field(default_factory=dict)
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    groups: Mapping[str, SecurityGroup] = field(default_factory=dict)
    acls: Mapping[str, NetworkAcl] = field(default_factory=dict)
    route_tables: Mapping[str, RouteTable] = field(default_factory=dict)
    nat_gateways: Mapping[str, NatGateway] = field(default_factory=dict)
    internet_gateway_id: str | None = None
    egress_only_gateway_ids: frozenset[str] = frozenset()
    dns_support: bool = True
    dns_hostnames: bool = True

    def interface_at(self, address: str) -> Interface | None:
        """Return the interface that has an address, IPv4 or IPv6; None if there is none."""
        return next((one for one in self.interfaces.values() if address in one.attachment.private_addresses), None)


@dataclass(frozen=True)
class Peering:
    """An active VPC peering connection."""

    peering_id: str
    vpc_ids: tuple[str, str]


@dataclass(frozen=True)
class Topology:
    """All VPCs, by id, and the active peering connections between them, by id."""

    vpcs: Mapping[str, Vpc] = field(default_factory=dict)
    peerings: Mapping[str, Peering] = field(default_factory=dict)

    def vpc_of(self, interface_id: str) -> Vpc | None:
        """Return the VPC that holds an interface; None if there is none."""
        return next((vpc for vpc in self.vpcs.values() if interface_id in vpc.interfaces), None)
