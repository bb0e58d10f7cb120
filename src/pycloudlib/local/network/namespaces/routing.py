"""The route tables of a VPC's subnets as the kernel's policy routing: plain data, for the helper to apply.

Packets of a subnet's interfaces carry the subnet's mark, which the ruleset sets. A rule leads a mark to the subnet's
route table. A local route there goes on to the main table, in which each address has a route to its device.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from pycloudlib.local.network.namespaces.matches import family_of
from pycloudlib.local.network.topology import Interface, Route, Subnet, Target, Vpc

INTERNET_DEVICE = "igw"
"""The device that leads out of a VPC: what is behind it has the internet."""
FIRST_TABLE = 1000
"""The number of the first subnet's route table; the kernel's own tables have smaller ones."""

Neighbors = Mapping[str, Mapping[str, str]]
"""The addresses that packets are sent to on a device, by its name and the family: "ip" or "ip6"."""

EXCHANGE = "exchange"
"""The id under which the names of devices have the one that leads to public addresses; see `exchange`."""

_LEADS_OUT = (Target.INTERNET_GATEWAY, Target.NAT_GATEWAY)


class RouteKind(enum.Enum):
    """What the kernel does with a packet."""

    DEVICE = "device"
    """Send it out of a device."""
    MAIN = "throw"
    """Look in the main table."""
    DROP = "blackhole"
    """Drop it."""


@dataclass(frozen=True)
class KernelRoute:
    """A route of the kernel.

    Args:
        cidr: the destination, IPv4 or IPv6.
        kind: what to do.
        device: the device, for RouteKind.DEVICE.
        via: the neighbor on that device; None to send as if the destination were one.
    """

    cidr: str
    kind: RouteKind
    device: str | None = None
    via: str | None = None


@dataclass(frozen=True)
class SubnetRouting:
    """The routing of the packets that a subnet's interfaces send.

    Args:
        mark: what the ruleset marks them with; an `ip rule` leads it to the table. None: no rule does.
        table: the number of the kernel's table.
        routes: what the table holds, one for each destination; there is one for every address.
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
        devices: the names of devices, by the id of the interface or of the VPC peering connection.
        neighbors: the addresses to send to on INTERNET_DEVICE and on devices of peering connections; default: none,
            every destination counts as a neighbor.
        public_cidr: the CIDR block of public addresses, which the device of EXCHANGE leads to; default none.
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
    """Return the routes to public addresses: where a route leads to the internet, they are not beyond slirp4netns."""
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
