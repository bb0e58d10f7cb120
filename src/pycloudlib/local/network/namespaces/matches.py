"""Parts of rules as expressions of nftables."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from pycloudlib.local.network.topology import ALL_PROTOCOLS, Traffic

FAMILIES = ("ip", "ip6")


def family_of(cidr: str) -> str:
    """Return the family of an address or a CIDR block: "ip" or "ip6"."""
    return "ip6" if ":" in cidr else "ip"


def in_blocks(side: str, cidrs: Iterable[str]) -> Iterator[str]:
    """Return the expressions for addresses in CIDR blocks, one per address family in use.

    Args:
        side: "saddr" or "daddr".
        cidrs: the blocks; overlapping blocks, which nftables rejects, are merged.
    """
    return iter(_in_blocks(side, tuple(cidrs)))


@lru_cache(maxsize=10_000)
def _in_blocks(side: str, cidrs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_expressions(side, [ipaddress.ip_network(cidr) for cidr in cidrs]))


def _expressions(side: str, networks: Iterable[Any]) -> Iterator[str]:
    for family, version in (("ip", 4), ("ip6", 6)):
        family_networks = [network for network in networks if network.version == version]
        merged = [str(network) for network in ipaddress.collapse_addresses(family_networks)]
        if any(network.endswith("/0") for network in merged):
            yield f"meta nfproto ipv{version}"
        elif merged:
            yield f"{family} {side} {elements(merged)}"


def elements(values: Iterable[str]) -> str:
    """Return an anonymous set, or the value itself if there is only one."""
    listed = list(values)
    return listed[0] if len(listed) == 1 else f"{{ {', '.join(listed)} }}"


def of_traffic(traffic: Traffic) -> str:
    """Return the expression for a protocol and its ports or ICMP types; "" for all traffic."""
    protocol, first, last = traffic.protocol, traffic.first, traffic.last
    if protocol == ALL_PROTOCOLS:
        return ""
    if first is None or protocol not in ("tcp", "udp", "icmp", "icmpv6"):
        return f"meta l4proto {protocol if protocol != 'icmpv6' else 'ipv6-icmp'}"
    if protocol in ("tcp", "udp"):
        return f"{protocol} dport {first if first == last else f'{first}-{last}'}"
    return f"{protocol} type {first}" + (f" {protocol} code {last}" if last is not None else "")


def words(*parts: str) -> str:
    """Join the parts of a rule, leaving out empty ones."""
    return " ".join(part for part in parts if part)
