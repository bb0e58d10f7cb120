"""Rendering of a topology as human-readable text: a tree of VPCs, subnets, machines, and rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pycloudlib.local.network.topology import (
    ALL_PROTOCOLS,
    AclEntry,
    GroupRule,
    Interface,
    NetworkAcl,
    RouteTable,
    SecurityGroup,
    Subnet,
    Target,
    Topology,
    Traffic,
    Vpc,
)

_INDENT = "  "
_LAST_ENTRIES = 32767
"""The first number of the default entries of network ACLs, which deny all other traffic."""


def draw(topology: Topology, names: Mapping[str, str] | None = None) -> str:
    """Render a topology as text.

    Args:
        topology: all VPCs.
        names: the names of resources, by id; default none.
    """
    drawing = _Drawing(topology, names or {})
    return "\n".join(line for vpc in topology.vpcs.values() for line in drawing.vpc(vpc))


class _Drawing:
    def __init__(self, topology: Topology, names: Mapping[str, str]) -> None:
        self._topology = topology
        self._names = names

    def vpc(self, vpc: Vpc) -> Iterator[str]:
        yield _columns(f"VPC {self._named(vpc.vpc_id)}", ", ".join((*vpc.cidrs, *vpc.ipv6_cidrs)))
        yield from _indented(self._gateways(vpc))
        for subnet in sorted(vpc.subnets.values(), key=lambda subnet: subnet.subnet_id):
            yield from _indented(self._subnet(vpc, subnet))
        for group in vpc.groups.values():
            yield from _indented(self._group(vpc, group))

    def _gateways(self, vpc: Vpc) -> Iterator[str]:
        if vpc.internet_gateway_id is not None:
            yield f"internet gateway {self._named(vpc.internet_gateway_id)}"
        for gateway_id in sorted(vpc.egress_only_gateway_ids):
            yield f"egress-only internet gateway {self._named(gateway_id)}"
        for peering in self._topology.peerings.values():
            if vpc.vpc_id in peering.vpc_ids:
                peers = [self._named(vpc_id) for vpc_id in peering.vpc_ids if vpc_id != vpc.vpc_id]
                yield f"VPC peering connection {self._named(peering.peering_id)} with {', '.join(peers)}"

    def _subnet(self, vpc: Vpc, subnet: Subnet) -> Iterator[str]:
        blocks = ", ".join(filter(None, (subnet.cidr, subnet.ipv6_cidr)))
        yield _columns(f"subnet {self._named(subnet.subnet_id)}", blocks, subnet.zone)
        table = vpc.route_tables.get(subnet.route_table_id)
        if table is not None:
            yield from _indented([self._routes(table)])
        acl = vpc.acls.get(subnet.acl_id)
        if acl is not None:
            yield from _indented(self._acl(acl))
        for gateway in vpc.nat_gateways.values():
            if gateway.subnet_id == subnet.subnet_id:
                facts = (gateway.private_ip, f"public {gateway.public_ip}" if gateway.public_ip else "private")
                yield from _indented([_columns(f"NAT gateway {self._named(gateway.nat_gateway_id)}", *facts)])
        for interface in vpc.interfaces.values():
            if interface.subnet_id == subnet.subnet_id:
                yield from _indented([self._interface(interface)])

    def _routes(self, table: RouteTable) -> str:
        routes = [
            f"{route.cidr} to {'nowhere: ' if route.target is Target.BLACKHOLE else ''}{self._named(route.target_id)}"
            for route in table.routes
        ]
        return f"route table {self._named(table.table_id)}: {', '.join(routes) or 'no routes'}"

    def _acl(self, acl: NetworkAcl) -> Iterator[str]:
        name = f"network ACL {self._named(acl.acl_id)}"
        own = {
            direction: [entry for entry in entries if entry.number < _LAST_ENTRIES]
            for direction, entries in (("in", acl.ingress), ("out", acl.egress))
        }
        if all(entry.allow and entry.traffic == Traffic() for entries in own.values() for entry in entries) and all(
            any(entry.cidr == "0.0.0.0/0" for entry in entries) for entries in own.values()
        ):
            yield f"{name}: everything in and out"
            return
        yield f"{name}:"
        for direction, entries in own.items():
            yield from _indented(_entry_line(direction, entry) for entry in entries)
        yield from _indented(["nothing else"])

    def _interface(self, interface: Interface) -> str:
        machine = self._named(interface.instance_id) if interface.instance_id else "no instance"
        state = "" if interface.running or interface.instance_id is None else "not running"
        addresses = [
            mapping.private_ip + (f" (public {mapping.public_ip})" if mapping.public_ip else "")
            for mapping in interface.attachment.addresses
        ]
        return _columns(
            machine,
            state,
            self._named(interface.interface_id),
            ", ".join((*addresses, *interface.attachment.ipv6_addresses)),
            ", ".join(self._named(group_id) for group_id in interface.group_ids),
            "" if interface.source_dest_check else "no source/destination check",
        )

    def _group(self, vpc: Vpc, group: SecurityGroup) -> Iterator[str]:
        members = sum(group.group_id in interface.group_ids for interface in vpc.interfaces.values())
        count = f"{members} interface{'' if members == 1 else 's'}"
        yield _columns(f"security group {self._named(group.group_id)}", count)
        yield from _indented(self._rules("in", "from", group.ingress))
        yield from _indented(self._rules("out", "to", group.egress))

    def _rules(self, direction: str, preposition: str, rules: Iterable[GroupRule]) -> Iterator[str]:
        lines = [
            f"{direction}: {describe_traffic(rule.traffic)} {preposition} "
            + (
                ", ".join((*rule.cidrs, *(f"members of {self._named(group_id)}" for group_id in rule.group_ids)))
                or "nobody"
            )
            for rule in rules
        ]
        return iter(lines or [f"{direction}: nothing"])

    def _named(self, resource_id: str) -> str:
        name = self._names.get(resource_id)
        return f"{resource_id} ({name})" if name else resource_id


def describe_traffic(traffic: Traffic) -> str:
    """Return a short name of a rule's traffic: "tcp/22", "udp/1024-65535", "icmp type 8", or "all"."""
    protocol, first, last = traffic.protocol, traffic.first, traffic.last
    if protocol == ALL_PROTOCOLS:
        return "all"
    if first is None:
        return protocol if not protocol.isdigit() else f"protocol {protocol}"
    if protocol in ("tcp", "udp"):
        return f"{protocol}/{first}" if first == last else f"{protocol}/{first}-{last}"
    return f"{protocol} type {first}" + (f" code {last}" if last is not None else "")


def _entry_line(direction: str, entry: AclEntry) -> str:
    preposition = "from" if direction == "in" else "to"
    verb = "allow" if entry.allow else "deny"
    return f"{direction} {entry.number}: {verb} {describe_traffic(entry.traffic)} {preposition} {entry.cidr}"


def _columns(*texts: str) -> str:
    return _INDENT.join(text for text in texts if text)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (_INDENT + line for line in lines)
