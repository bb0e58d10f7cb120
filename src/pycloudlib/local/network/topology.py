"""The network of all accounts and regions as data: VPCs, subnets, interfaces, and rules.

A topology is an immutable snapshot of the API's records, taken under their lock. The namespaces network driver applies
it to the kernel, and the reachability analysis reads it.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from pycloudlib.local.network.attachment import NetworkAttachment

ALL_PROTOCOLS = "-1"
AMAZON_PROVIDED_DNS = "AmazonProvidedDNS"
"""The VPC's own DNS server, as a value of the DHCP option domain-name-servers."""

_LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")


@dataclass(frozen=True)
class Traffic:
    """The traffic that a rule matches, without the peer.

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
    """A security group rule, which allows inbound or outbound traffic.

    Args:
        rule_id: the id of the rule, such as "sgr-0123456789abcdef0".
        traffic: the traffic that the rule allows.
        cidrs: peers as IPv4 and IPv6 CIDR blocks, including those of prefix lists.
        group_ids: peers as security group ids.
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
        target: the kind of the target; BLACKHOLE if the target does not exist.
        target_id: the id of the target, such as "igw-0123456789abcdef0"; "local" for the VPC itself.
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
    """A subnet with its effective network ACL and route table: its own, or the VPC's main one."""

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
        attachment: the MAC and the addresses.
        subnet_id: the subnet.
        group_ids: the security groups.
        source_dest_check: whether to drop packets from or to other addresses than the interface's; default yes.
        instance_id: the instance that the interface is attached to; None if detached.
        running: whether the instance is neither stopped nor terminated; default yes.
        device_index: the device index; 0 (default) for the primary interface.
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
        """The id of the interface."""
        return self.attachment.interface_id


@dataclass(frozen=True)
class NatGateway:
    """A NAT gateway.

    Args:
        nat_gateway_id: the id of the gateway.
        subnet_id: the subnet, whose route table and network ACL apply to the gateway.
        private_ip: the private address in the subnet.
        public_ip: the public address; None for a private NAT gateway.
    """

    nat_gateway_id: str
    subnet_id: str
    private_ip: str
    public_ip: str | None


@dataclass(frozen=True)
class Vpc:
    """A VPC and its contents, by id.

    Args:
        internet_gateway_id: the attached internet gateway; None without one.
        dns_support: enableDnsSupport; default true.
        dns_hostnames: enableDnsHostnames; default true.
        dhcp_options: the DHCP options, by key; None for EC2's default: the VPC's DNS server and domain.
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
    dhcp_options: Mapping[str, tuple[str, ...]] | None = None

    def interface_at(self, address: str) -> Interface | None:
        """Return the interface with an IPv4 or IPv6 address; None without one."""
        return next(
            (interface for interface in self.interfaces.values() if address in interface.attachment.private_addresses),
            None,
        )


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
        """Return the VPC of an interface; None if unknown."""
        return next((vpc for vpc in self.vpcs.values() if interface_id in vpc.interfaces), None)

    def find_interface(self, resource_id: str) -> Interface | None:
        """Return an interface by its id, or the primary one of an instance; None if unknown."""
        matching = [
            interface
            for vpc in self.vpcs.values()
            for interface in vpc.interfaces.values()
            if resource_id in (interface.interface_id, interface.instance_id)
        ]
        return min(matching, key=lambda interface: interface.device_index, default=None)

    def peers_of(self, vpc: Vpc) -> dict[str, Vpc]:
        """Return the VPCs that are peered with one, by the id of the peering connection."""
        return {
            peering_id: self.vpcs[vpc_id]
            for peering_id, peering in self.peerings.items()
            if vpc.vpc_id in peering.vpc_ids
            for vpc_id in peering.vpc_ids
            if vpc_id != vpc.vpc_id
        }


def is_routable(public_ip: str) -> bool:
    """Return whether guests can send packets to a public address: a loopback address would lead them to themselves."""
    return ipaddress.IPv4Address(public_ip) not in _LOOPBACK
