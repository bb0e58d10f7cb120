"""The DNS names that EC2 gives instances.

See https://docs.aws.amazon.com/vpc/latest/userguide/vpc-dns.html
"""

from __future__ import annotations

from pycloudlib.local.network.topology import Vpc

_FIRST_REGION = "us-east-1"
_ZONE_LETTER = "abcdefghijklmnopqrstuvwxyz"


def name_of_address(address: str, kind: str = "ip") -> str:
    """Return the first label of an address's name, such as "ip-10-0-1-5".

    Args:
        address: an IPv4 address.
        kind: "ip" (the default) for private addresses, "ec2" for public ones.
    """
    return f"{kind}-{address.replace('.', '-')}"


def domain_of(vpc: Vpc) -> str:
    """Return the domain of a VPC's private names: "ec2.internal", or "REGION.compute.internal"."""
    region = _region_of(vpc)
    return "ec2.internal" if region == _FIRST_REGION else f"{region}.compute.internal"


def public_domain_of(vpc: Vpc) -> str:
    """Return the domain of a VPC's public names."""
    region = _region_of(vpc)
    return "compute-1.amazonaws.com" if region == _FIRST_REGION else f"{region}.compute.amazonaws.com"


def host_names(vpc: Vpc) -> list[str]:
    """Return lines of a hosts file: instances by id, and public names as they resolve inside the VPC.

    Names of private addresses are derived from the addresses; dnsmasq synthesizes them without a line.
    """
    lines = []
    named: set[str] = set()
    domain, public_domain = domain_of(vpc), public_domain_of(vpc)
    for interface in vpc.interfaces.values():
        attachment = interface.attachment
        # An instance's first interface is its primary one.
        if interface.instance_id is not None and interface.instance_id not in named:
            named.add(interface.instance_id)
            addresses = (attachment.private_ip, *attachment.ipv6_addresses[:1])
            lines += [f"{address} {interface.instance_id}.{domain}" for address in addresses]
        lines += [
            f"{address.private_ip} {name_of_address(address.public_ip, 'ec2')}.{public_domain}"
            for address in attachment.addresses
            if address.public_ip is not None and vpc.dns_hostnames
        ]
    return lines


def _region_of(vpc: Vpc) -> str:
    zones = sorted(subnet.zone for subnet in vpc.subnets.values())
    return zones[0].rstrip(_ZONE_LETTER) if zones else _FIRST_REGION
