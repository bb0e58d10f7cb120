"""Small topologies to test networks with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pycloudlib.local.network.attachment import Address, NetworkAttachment
from pycloudlib.local.network.topology import Interface, Subnet, Topology, Vpc

ACCEPT_ALL = """
table inet vpc
delete table inet vpc
table inet vpc {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "igw" masquerade
  }
}
"""
"""A ruleset that lets everything pass."""


def accept_all(_vpc: Vpc, _topology: Topology, _devices: Mapping[str, str]) -> str:
    return ACCEPT_ALL


def mac_of(number: int) -> str:
    return f"0e:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def make_interface(
    number: int,
    addresses: str | Sequence[str],
    subnet: str = "10.0.1.0/24",
    *,
    ipv6_addresses: Sequence[str] = (),
    ipv6_subnet: str | None = None,
) -> Interface:
    """Make interface "eni-NUMBER" of instance "i-NUMBER", in a subnet that is named after its CIDR block."""
    texts = [addresses] if isinstance(addresses, str) else addresses
    attachment = NetworkAttachment(
        interface_id=f"eni-{number}",
        mac=mac_of(number),
        addresses=tuple(Address(text) for text in texts),
        subnet=subnet,
        ipv6_addresses=tuple(ipv6_addresses),
        ipv6_subnet=ipv6_subnet,
    )
    return Interface(attachment, f"subnet-{subnet}", ("sg-1",), instance_id=f"i-{number}")


def make_vpc(vpc_id: str, *interfaces: Interface, cidrs: Sequence[str] = ("10.0.0.0/16",)) -> Vpc:
    """Make a VPC with those interfaces and their subnets."""
    attachments = [interface.attachment for interface in interfaces]
    subnets = {
        interface.subnet_id: Subnet(
            subnet_id=interface.subnet_id,
            cidr=interface.attachment.subnet,
            zone="us-east-1a",
            acl_id="acl-1",
            route_table_id="rtb-1",
            ipv6_cidr=interface.attachment.ipv6_subnet,
        )
        for interface in interfaces
    }
    return Vpc(
        vpc_id=vpc_id,
        cidrs=tuple(cidrs),
        ipv6_cidrs=("2600:1f13:0:1::/56",) if any(one.ipv6_subnet for one in attachments) else (),
        subnets=subnets,
        interfaces={interface.interface_id: interface for interface in interfaces},
    )


def make_topology(*vpcs: Vpc) -> Topology:
    return Topology({vpc.vpc_id: vpc for vpc in vpcs})
