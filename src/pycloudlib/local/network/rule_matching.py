"""Matching of packets against security groups, network ACLs, and route tables."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from pycloudlib.local.network.namespaces.service_addresses import HOST
from pycloudlib.local.network.topology import (
    ALL_PROTOCOLS,
    AclEntry,
    GroupRule,
    Interface,
    NetworkAcl,
    Route,
    RouteTable,
    Topology,
    Traffic,
)

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

EPHEMERAL_PORTS = (32768, 60999)
"""Linux's ephemeral port range, the destination of replies."""
PORT_PROTOCOLS = ("tcp", "udp")

_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
_HOST = ipaddress.IPv4Address(HOST)


@dataclass(frozen=True)
class Packets:
    """Packets of one kind in one direction.

    Args:
        source: the sender's address.
        destination: the receiver's address.
        protocol: "tcp", "udp", "icmp", "icmpv6", or an IP protocol number as text.
        first: the lowest destination port, or the ICMP type; None for a protocol without either.
        last: the highest destination port, or the ICMP code.
    """

    source: IpAddress
    destination: IpAddress
    protocol: str
    first: int | None = None
    last: int | None = None

    def narrowed(self, port: int) -> Packets:
        """Return the packets to one port only."""
        return Packets(self.source, self.destination, self.protocol, port, port)

    def __str__(self) -> str:
        if self.protocol in PORT_PROTOCOLS and self.first is not None:
            ports = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
            return f"{self.protocol}/{ports}"
        return self.protocol


@cache
def network(cidr: str) -> IpNetwork:
    """Parse a CIDR block."""
    return ipaddress.ip_network(cidr)


def contains(cidr: str, address: IpAddress) -> bool:
    """Return whether a rule's CIDR block contains an address; 127.0.0.1 includes the host's address."""
    block = network(cidr)
    return address in block or (address == _HOST and _LOOPBACK in block)


def matches(traffic: Traffic, packets: Packets) -> bool:
    """Return whether a rule's traffic includes all of the packets, whatever their ports."""
    if traffic.protocol == ALL_PROTOCOLS:
        return True
    if traffic.protocol != packets.protocol:
        return False
    if traffic.first is None or packets.first is None or packets.last is None:
        return traffic.first is None
    if packets.protocol in PORT_PROTOCOLS:
        return traffic.last is not None and traffic.first <= packets.first and packets.last <= traffic.last
    return traffic.first == packets.first and traffic.last in (None, packets.last)


def matching_rule(
    topology: Topology, rules: Iterable[GroupRule], packets: Packets, peer: IpAddress
) -> GroupRule | None:
    """Return the first security group rule that allows packets; None if none does.

    Args:
        topology: all VPCs, for the members of groups.
        rules: the rules of one direction.
        packets: the packets.
        peer: the address of the other end.
    """
    for rule in rules:
        if matches(rule.traffic, packets) and (
            any(contains(cidr, peer) for cidr in rule.cidrs)
            or any(_has_member(topology, group_id, peer) for group_id in rule.group_ids)
        ):
            return rule
    return None


def _has_member(topology: Topology, group_id: str, address: IpAddress) -> bool:
    return any(
        group_id in interface.group_ids and address in addresses(interface)
        for vpc in topology.vpcs.values()
        for interface in vpc.interfaces.values()
    )


def addresses(interface: Interface) -> list[IpAddress]:
    """Return the private and IPv6 addresses of an interface."""
    texts = [address.private_ip for address in interface.attachment.addresses]
    return [ipaddress.ip_address(text) for text in (*texts, *interface.attachment.ipv6_addresses)]


def deciding_entry(acl: NetworkAcl, packets: Packets, *, egress: bool) -> AclEntry | None:
    """Return the entry of a network ACL that decides on packets; None for the final deny entry.

    For packets to several ports, an entry that denies one of them takes precedence.
    """
    entries = sorted(acl.egress if egress else acl.ingress, key=lambda entry: entry.number)
    peer = packets.destination if egress else packets.source
    entry: AclEntry | None = None
    for port in _representative_ports(entries, packets):
        narrowed = packets if port is None else packets.narrowed(port)
        entry = next(
            (entry for entry in entries if contains(entry.cidr, peer) and matches(entry.traffic, narrowed)), None
        )
        if entry is None or not entry.allow:
            return entry
    return entry


def _representative_ports(entries: Iterable[AclEntry], packets: Packets) -> list[int | None]:
    """Return one port of each range that the entries treat alike."""
    first, last = packets.first, packets.last
    if packets.protocol not in PORT_PROTOCOLS or first is None or last is None or first == last:
        return [None]
    edges = {first}
    for entry in entries:
        if entry.traffic.first is not None and entry.traffic.last is not None:
            edges |= {edge for edge in (entry.traffic.first, entry.traffic.last + 1) if first <= edge <= last}
    return [*sorted(edges)]


def longest_match(table: RouteTable, address: IpAddress) -> Route | None:
    """Return the route with the longest prefix that contains an address; None without one."""
    matching = [route for route in table.routes if address in network(route.cidr)]
    return max(matching, key=lambda route: network(route.cidr).prefixlen, default=None)
