"""The exchange: a namespace that replaces the internet between machines' public addresses.

A veth pair connects each VPC to it. It routes every public address to its VPC. The VPC's ruleset translates addresses
like an internet gateway: the source of packets that leave the VPC, and the destination of packets that enter it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pycloudlib.local.network.namespaces import peering
from pycloudlib.local.network.namespaces.routing import KernelRoute, RouteKind, SubnetRouting
from pycloudlib.local.network.topology import Topology, is_routable

MAIN_TABLE = 254


def exchange_routing(topology: Topology, devices: Mapping[str, str]) -> SubnetRouting:
    """Return the routes of the exchange.

    Args:
        topology: all VPCs.
        devices: the names of the devices that lead to VPCs, by VPC id.
    """
    addresses = {
        address: device for vpc_id, device in sorted(devices.items()) for address in _public_addresses(topology, vpc_id)
    }
    routes = (
        KernelRoute(f"{address}/32", RouteKind.DEVICE, device, peering.NEIGHBORS["ip"])
        for address, device in addresses.items()
    )
    return SubnetRouting(None, MAIN_TABLE, tuple(routes))


def _public_addresses(topology: Topology, vpc_id: str) -> list[str]:
    vpc = topology.vpcs.get(vpc_id)
    if vpc is None or vpc.internet_gateway_id is None:
        return []
    public_ips = [
        address.public_ip for interface in vpc.interfaces.values() for address in interface.attachment.addresses
    ]
    public_ips += [gateway.public_ip for gateway in vpc.nat_gateways.values()]
    return [address for address in public_ips if address is not None and is_routable(address)]
