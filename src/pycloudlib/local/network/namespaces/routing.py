"""The route tables of a VPC's subnets as policy routing of the kernel: plain data that the helper applies.

The ruleset marks packets of a subnet's interfaces with the subnet's mark. An `ip rule` selects the subnet's route table
by the mark. Local routes there continue in the main table, which has a route to each address's device.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from pycloudlib.local.network.namespaces.matches import family_of
from pycloudlib.local.network.topology import Interface, Route, Subnet, Target, Vpc

INTERNET_DEVICE = "igw"
"""The device that connects a VPC to the internet."""
FIRST_TABLE = 1000
"""The number of the first subnet's route table, above the kernel's own tables."""

Neighbors = Mapping[str, Mapping[str, str]]
"""The next hop on each device, by the device's name and the family ("ip" or "ip6")."""

EXCHANGE = "exchange"
"""The key of the exchange's device among the device names; see `exchange`."""

_LEADS_OUT = (Target.INTERNET_GATEWAY, Target.NAT_GATEWAY)


class RouteKind(enum.Enum):
    """The kernel's action on a packet."""

    DEVICE = "device"
    """Send the packet out of a device."""
    MAIN = "throw"
    """Continue the lookup in the main table."""
    DROP = "blackhole"
    """Drop the packet."""


@dataclass(frozen=True)
class KernelRoute:
    """A route of the kernel.

    Args:
        cidr: the destination, IPv4 or IPv6.
        kind: the action.
        device: the device, for RouteKind.DEVICE.
        via: the next hop on the device; None if the destination is on-link.
    """

    cidr: str
    kind: RouteKind
    device: str | None = None
    via: str | None = None


@dataclass(frozen=True)
class SubnetRouting:
    """The routing of packets from a subnet's interfaces.

    Args:
        mark: the packet mark, for which an `ip rule` selects the table; None for no rule.
        table: the number of the kernel's table.
        routes: the routes of the table, by destination; they cover all addresses.
    """

    mark: int | None
    table: int
    routes: tuple[KernelRoute, ...]


def subnet_marks(vpc: Vpc) -> dict[str, int]:
    """Return the mark of each subnet's packets, by subnet id."""
    return {subnet_id: number for number, subnet_id in enumerate(sorted(vpc.subnets), 1)}


def routing(
    vpc: Vpc, devices: Mapping[str, str], neighbors: Neighbors | None = None, public_cidr: str | None = None
) -> tuple[SubnetRouting, ...]:
    """Return the policy routing of a VPC's namespace.

    Args:
        vpc: the VPC.
        devices: the names of devices, by the id of the interface or VPC peering connection.
        neighbors: the next hops on INTERNET_DEVICE and on devices of peering connections; by default, all destinations
            are on-link.
        public_cidr: the CIDR block of public addresses, behind the device of EXCHANGE; default none.
    """
    marks = subnet_marks(vpc)
    tables = []
    for subnet_id, subnet in sorted(vpc.subnets.items()):
        routes = _routes(vpc, subnet, devices, neighbors or {})
        if public_cidr is not None and EXCHANGE in devices:
            routes |= _exchange_routes(vpc, subnet, devices[EXCHANGE], neighbors or {}, public_cidr)
        tables.append(SubnetRouting(marks[subnet_id], FIRST_TABLE + marks[subnet_id], tuple(routes.values())))
    return tuple(tables)


def _exchange_routes(
    vpc: Vpc, subnet: Subnet, device: str, neighbors: Neighbors, public_cidr: str
) -> dict[str, KernelRoute]:
    """Return the routes to public addresses through the exchange, for subnets with a route to the internet."""
    public = ipaddress.IPv4Network(public_cidr)
    table = vpc.route_tables.get(subnet.route_table_id)
    networks = {ipaddress.ip_network(route.cidr): route.target for route in (table.routes if table else ())}
    ipv4 = {block: target for block, target in networks.items() if isinstance(block, ipaddress.IPv4Network)}
    public_blocks = [block for block, target in ipv4.items() if target in _LEADS_OUT and block.subnet_of(public)]
    enclosing = [block for block in ipv4 if public.subnet_of(block)]
    if enclosing and ipv4[max(enclosing, key=lambda block: block.prefixlen)] in _LEADS_OUT:
        public_blocks.append(public)
    via = neighbors.get(device, {}).get("ip")
    return {str(block): KernelRoute(str(block), RouteKind.DEVICE, device, via) for block in public_blocks}


def _routes(vpc: Vpc, subnet: Subnet, devices: Mapping[str, str], neighbors: Neighbors) -> dict[str, KernelRoute]:
    table = vpc.route_tables.get(subnet.route_table_id)
    routes = {route.cidr: _kernel_route(vpc, route, devices, neighbors) for route in (table.routes if table else ())}
    for cidr in ("0.0.0.0/0", "::/0"):
        routes.setdefault(cidr, KernelRoute(cidr, RouteKind.DROP))
    return routes


def _kernel_route(vpc: Vpc, route: Route, devices: Mapping[str, str], neighbors: Neighbors) -> KernelRoute:
    if route.target is Target.LOCAL:
        return KernelRoute(route.cidr, RouteKind.MAIN)
    if route.target in (Target.INTERNET_GATEWAY, Target.NAT_GATEWAY, Target.EGRESS_ONLY_GATEWAY):
        via = neighbors.get(INTERNET_DEVICE, {}).get(family_of(route.cidr))
        return KernelRoute(route.cidr, RouteKind.DEVICE, INTERNET_DEVICE, via)
    device = devices.get(route.target_id)
    if route.target is Target.PEERING and device is not None:
        return KernelRoute(route.cidr, RouteKind.DEVICE, device, neighbors.get(device, {}).get(family_of(route.cidr)))
    interface = vpc.interfaces.get(route.target_id)
    if route.target is Target.INTERFACE and device is not None and interface is not None:
        neighbor = _neighbor(interface, ipv6=":" in route.cidr)
        if neighbor is not None:
            return KernelRoute(route.cidr, RouteKind.DEVICE, device, neighbor)
    return KernelRoute(route.cidr, RouteKind.DROP)


def _neighbor(interface: Interface, *, ipv6: bool) -> str | None:
    if ipv6:
        return next(iter(interface.attachment.ipv6_addresses), None)
    return interface.attachment.private_ip
