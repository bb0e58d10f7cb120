"""The two ends of a reachability analysis, resolved from user input."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.service_addresses import HOST
from pycloudlib.local.network.rule_matching import IpAddress, addresses, network
from pycloudlib.local.network.topology import Interface, Subnet, Topology, Vpc

INTERNET_NAME, HOST_NAME = "internet", "host"
HOST_ADDRESS = ipaddress.ip_address(HOST)
SOMEWHERE: dict[int, IpAddress] = {
    4: ipaddress.ip_address("203.0.113.9"),
    6: ipaddress.ip_address("2001:db8:ffff::9"),
}
"""The addresses of "internet", by IP version: only rules for all addresses match them."""

LOOPBACK = network("127.0.0.0/8")


@dataclass(frozen=True)
class Inside:
    """An interface of a VPC, with one of its addresses."""

    address: IpAddress
    vpc: Vpc
    interface: Interface

    @property
    def subnet(self) -> Subnet:
        """The interface's subnet."""
        return self.vpc.subnets[self.interface.subnet_id]

    @property
    def name(self) -> str:
        """The interface's id."""
        return self.interface.interface_id

    @property
    def public_address(self) -> str | None:
        """The public address of the private one; None without one."""
        mappings = (
            mapping for mapping in self.interface.attachment.addresses if mapping.private_ip == str(self.address)
        )
        return next((mapping.public_ip for mapping in mappings), None)

    def is_public_address(self, text: str) -> bool:
        """Return whether a text is the public address, not a private one or a name."""
        return text == self.public_address


@dataclass(frozen=True)
class Outside:
    """The host, an internet address, or an unused address."""

    address: IpAddress

    @property
    def is_host(self) -> bool:
        """Whether this is the host of the local EC2."""
        return self.address == HOST_ADDRESS

    @property
    def name(self) -> str:
        """The name of the host, or the address."""
        return HOST_NAME if self.is_host else str(self.address)


End = Inside | Outside


def find_end(topology: Topology, text: str, *, ipv6: bool, preferred: Vpc | None = None) -> End:
    """Resolve an end that a user named.

    Args:
        topology: all VPCs.
        text: the id of an interface or of an instance (its primary interface), an address, "internet", or "host".
        ipv6: whether to use an interface's IPv6 address.
        preferred: the VPC of the other end, searched first for addresses; default none.

    Raises:
        LocalEC2Error: the interface or instance is unknown, or has no IPv6 address.
    """
    if text == HOST_NAME:
        return Outside(HOST_ADDRESS)
    if text == INTERNET_NAME:
        return Outside(SOMEWHERE[6 if ipv6 else 4])
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _find_named(topology, text, ipv6=ipv6)
    return _find_address(topology, address, preferred)


def is_outside(text: str) -> bool:
    """Return whether a text names no instance or interface, but "internet", "host", or an IP address."""
    try:
        return text in (INTERNET_NAME, HOST_NAME) or bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def unknown_end(text: str) -> str:
    """Return the message for an instance or interface that does not exist."""
    return f"unknown interface or instance {text!r}; give its id, an IP address, {INTERNET_NAME!r}, or {HOST_NAME!r}"


def _find_named(topology: Topology, text: str, *, ipv6: bool) -> Inside:
    interface = topology.find_interface(text)
    vpc = topology.vpc_of(interface.interface_id) if interface is not None else None
    if interface is None or vpc is None:
        raise LocalEC2Error(unknown_end(text))
    of_family = [address for address in addresses(interface) if isinstance(address, ipaddress.IPv6Address) == ipv6]
    if not of_family:
        raise LocalEC2Error(f"{interface.interface_id} has no IPv6 address; assign one, or give an IPv4 address")
    return Inside(of_family[0], vpc, interface)


def _find_address(topology: Topology, address: IpAddress, preferred: Vpc | None) -> End:
    preferred_id = preferred.vpc_id if preferred is not None else ""
    peers = {
        vpc_id
        for peering in topology.peerings.values()
        if preferred_id in peering.vpc_ids
        for vpc_id in peering.vpc_ids
    }
    vpcs = sorted(topology.vpcs.values(), key=lambda vpc: (vpc.vpc_id != preferred_id, vpc.vpc_id not in peers))
    for vpc in vpcs:
        for interface in vpc.interfaces.values():
            if address in addresses(interface):
                return Inside(address, vpc, interface)
            for mapping in interface.attachment.addresses:
                if mapping.public_ip == str(address):
                    return Inside(ipaddress.ip_address(mapping.private_ip), vpc, interface)
    return Outside(address)
