"""The addresses that belong to no interface: those of the VPC's services and of the host."""

from __future__ import annotations

import functools
import ipaddress

from pycloudlib.local.network.topology import Vpc

METADATA = "169.254.169.254"
METADATA_IPV6 = "fd00:ec2::254"
RESOLVER = "169.254.169.253"
RESOLVER_IPV6 = "fd00:ec2::253"
TIME = "169.254.169.123"
TIME_IPV6 = "fd00:ec2::123"

HOST = "198.51.100.1"
"""The host's address in a VPC: the source address of its connections to machines."""


def resolver_of(vpc: Vpc) -> str:
    """Return the address of a VPC's DNS server: the base of its first CIDR block, plus two."""
    return str(ipaddress.IPv4Network(vpc.cidrs[0])[2])


def service_addresses(vpc: Vpc) -> list[str]:
    """Return the addresses of a VPC's services and of the host."""
    return [METADATA, RESOLVER, TIME, resolver_of(vpc), METADATA_IPV6, RESOLVER_IPV6, TIME_IPV6, HOST]


@functools.lru_cache(maxsize=1024)
def gateway_addresses(subnet: str, ipv6_subnet: str | None) -> tuple[str, ...]:
    """Return the gateway addresses of a subnet, with their prefix lengths: its first address in each family.

    Args:
        subnet: the IPv4 CIDR block, such as "10.0.1.0/24".
        ipv6_subnet: the IPv6 CIDR block, such as "2600:1f13:0:1::/64"; None without IPv6.
    """
    networks = [ipaddress.ip_network(block) for block in (subnet, ipv6_subnet) if block is not None]
    return tuple(f"{network[1]}/{network.prefixlen}" for network in networks)
