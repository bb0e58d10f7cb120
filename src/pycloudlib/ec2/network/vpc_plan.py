"""The plan of a new VPC, validated before anything is created."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pycloudlib.ec2.network.rules import ANYWHERE, Rule, checked_rule, rule_from
from pycloudlib.errors import InvalidArgumentError

Zones = str | Sequence[str] | Mapping[str, str] | None
"""The zones of a VPC's subnets: None for one zone, "all", zones, or a mapping of zones to CIDR blocks."""

GivenRule = Rule | tuple[str, int | None, int | None, str]
"""A rule, or (protocol, from_port, to_port, source)."""

LARGEST_PREFIX = 16
SMALLEST_PREFIX = 28
"""The prefix lengths of the largest and the smallest VPC.
See https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html"""

SSH_PORT = 22

_NAME = re.compile(r"[A-Za-z0-9_+=.:/@-]([A-Za-z0-9_+=.:/@ -]{0,253}[A-Za-z0-9_+=.:/@-])?")


@dataclass(frozen=True)
class VPCPlan:
    """A valid VPC.

    Args:
        name: the name.
        ipv4_cidr: the IPv4 CIDR block, without host bits.
        subnets: the CIDR block of the subnet in each zone.
        ssh_sources: the CIDR blocks from which to allow SSH.
        ssh_ports: the sshd ports of the instances.
        ingress: further ingress rules.
    """

    name: str
    ipv4_cidr: str
    subnets: Mapping[str, str]
    ssh_sources: tuple[str, ...]
    ssh_ports: tuple[int, ...]
    ingress: tuple[Rule, ...]

    def rules(self, security_group_id: str) -> list[Rule]:
        """Return the rules of the security group: SSH, ICMP, all traffic among its members, and `ingress`.

        Args:
            security_group_id: the id of the group itself.
        """
        ssh = [
            checked_rule("tcp", port, port, source, description="SSH")
            for port in self.ssh_ports
            for source in self.ssh_sources
        ]
        ipv4, ipv6 = ANYWHERE
        defaults = [
            checked_rule("icmp", None, None, ipv4, description="ICMP"),
            checked_rule("icmpv6", None, None, ipv6, description="ICMPv6"),
            checked_rule("all", None, None, security_group_id, description="its members"),
        ]
        by_meaning = {(r.protocol, r.from_port, r.to_port, r.source): r for r in (*ssh, *defaults, *self.ingress)}
        return list(by_meaning.values())


@dataclass(frozen=True)
class VPCDraft:
    """A valid VPC whose subnets depend on the region's availability zones. See `EC2.get_or_create_vpc()`."""

    name: str
    network: ipaddress.IPv4Network
    zones: Zones
    ssh_sources: tuple[str, ...]
    ssh_ports: tuple[int, ...]
    ingress: tuple[Rule, ...]

    @classmethod
    def of(
        cls,
        name: str,
        ipv4_cidr: str,
        ingress: Iterable[GivenRule],
        zones: Zones,
        *,
        ssh_cidr: object,
        ssh_port: int,
    ) -> VPCDraft:
        """Check the arguments of `EC2.get_or_create_vpc()`.

        Args:
            name: the name.
            ipv4_cidr: the IPv4 CIDR block, with or without host bits.
            ingress: further ingress rules.
            zones: the zones of the subnets.
            ssh_cidr: the CIDR block from which to allow SSH; None for anywhere.
            ssh_port: the sshd port of the instances; port 22 is allowed too.

        Raises:
            InvalidArgumentError: an argument is invalid.
        """
        check_vpc_name(name)
        return cls(
            name=name,
            network=checked_vpc_network(ipv4_cidr),
            zones=zones,
            ssh_sources=(str(ssh_cidr),) if ssh_cidr else ANYWHERE,
            ssh_ports=tuple(sorted({SSH_PORT, ssh_port})),
            ingress=checked_ingress(ingress),
        )

    def plan(self, known_zones: Sequence[str]) -> VPCPlan:
        """Return the plan of the VPC in a region.

        Args:
            known_zones: the zones of the region.

        Raises:
            InvalidArgumentError: a zone does not exist, or the CIDR blocks overlap, lie outside, or are too small.
        """
        return VPCPlan(
            name=self.name,
            ipv4_cidr=str(self.network),
            subnets=planned_subnets(self.network, self.zones, known_zones),
            ssh_sources=self.ssh_sources,
            ssh_ports=self.ssh_ports,
            ingress=self.ingress,
        )


def check_vpc_name(name: str) -> None:
    """Raise if a name cannot identify a VPC, or cannot name its security group.

    Raises:
        InvalidArgumentError: the name is invalid; the message says what is allowed.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith("sg-") or name == "default":
        raise InvalidArgumentError(
            f"the name of a VPC is {name!r}; it must have 1 to 255 characters: letters a to z, digits, spaces inside, "
            "and _+=.:/@-; and neither be 'default' nor begin with 'sg-'"
        )


def checked_vpc_network(cidr: str) -> ipaddress.IPv4Network:
    """Return the network of a VPC without host bits.

    Args:
        cidr: the CIDR block, such as "10.0.0.0/16"; "192.168.1.0/20" means "192.168.0.0/20".

    Raises:
        InvalidArgumentError: the CIDR block is not IPv4, or is too large or too small for a VPC.
    """
    network = _network("ipv4_cidr", cidr, strict=False)
    if not LARGEST_PREFIX <= network.prefixlen <= SMALLEST_PREFIX:
        raise InvalidArgumentError(
            f"ipv4_cidr is {cidr!r}; the network of a VPC must be from /{LARGEST_PREFIX} to /{SMALLEST_PREFIX}"
        )
    return network


def planned_subnets(network: ipaddress.IPv4Network, zones: Zones, available: Sequence[str]) -> dict[str, str]:
    """Return the CIDR block of the subnet in each zone.

    Args:
        network: the network of the VPC.
        zones: None for one subnet with the whole network; "all", or zones, for equal parts; or zones with CIDR blocks.
        available: the zones of the region.

    Raises:
        InvalidArgumentError: a zone does not exist, or the CIDR blocks overlap, lie outside, or are too small.
    """
    if not available:
        raise InvalidArgumentError("EC2 lists no availability zone in this region")
    if zones is None:
        return {available[0]: str(network)}
    if isinstance(zones, Mapping):
        _check_zones(list(zones), available)
        return _given_networks(network, zones)
    requested = list(available) if zones == "all" else list(zones) if not isinstance(zones, str) else [zones]
    _check_zones(requested, available)
    return _equal_parts(network, requested)


def checked_ingress(ingress: Iterable[GivenRule]) -> tuple[Rule, ...]:
    """Validate the user's ingress rules.

    Raises:
        InvalidArgumentError: a rule is invalid.
    """
    if isinstance(ingress, (Rule, str)) or not isinstance(ingress, Iterable):
        raise InvalidArgumentError(f"ingress is {ingress!r}; it must be a list of rules")
    return tuple(rule_from(rule) for rule in ingress)


def _network(what: str, cidr: object, *, strict: bool) -> ipaddress.IPv4Network:
    try:
        if not isinstance(cidr, str) or "/" not in cidr:
            raise ValueError("no prefix")
        return ipaddress.IPv4Network(cidr, strict=strict)
    except ValueError:
        raise InvalidArgumentError(f"{what} is {cidr!r}; it must be an IPv4 network such as '10.0.0.0/16'") from None


def _check_zones(zones: Sequence[str], available: Sequence[str]) -> None:
    if not zones:
        raise InvalidArgumentError(f"zones is empty; there are {', '.join(available)}, or 'all'")
    for zone in zones:
        if zone not in available:
            raise InvalidArgumentError(
                f"the zone {zone!r} is unknown or unavailable; available: {', '.join(available)}"
            )
        if zones.count(zone) > 1:
            raise InvalidArgumentError(f"the zone {zone!r} is given twice")


def _given_networks(network: ipaddress.IPv4Network, zones: Mapping[str, str]) -> dict[str, str]:
    parts = {zone: _network(f"the network of {zone}", cidr, strict=True) for zone, cidr in zones.items()}
    checked: dict[str, ipaddress.IPv4Network] = {}
    for zone, part in parts.items():
        if not part.subnet_of(network):
            raise InvalidArgumentError(f"the network of {zone}, {part}, is not within that of the VPC, {network}")
        if part.prefixlen > SMALLEST_PREFIX:
            raise InvalidArgumentError(f"the network of {zone}, {part}, is smaller than /{SMALLEST_PREFIX}")
        for other_zone, other_part in checked.items():
            if part.overlaps(other_part):
                raise InvalidArgumentError(f"the networks of {other_zone}, {other_part}, and {zone}, {part}, overlap")
        checked[zone] = part
    return {zone: str(part) for zone, part in parts.items()}


def _equal_parts(network: ipaddress.IPv4Network, zones: Sequence[str]) -> dict[str, str]:
    prefix = network.prefixlen + (len(zones) - 1).bit_length()
    if prefix > SMALLEST_PREFIX:
        raise InvalidArgumentError(
            f"{network} is too small for {len(zones)} zones: each would get less than /{SMALLEST_PREFIX}"
        )
    return {zone: str(part) for zone, part in zip(zones, network.subnets(new_prefix=prefix), strict=False)}
