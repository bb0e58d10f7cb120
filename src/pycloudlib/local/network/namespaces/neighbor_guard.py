"""The neighbor guard: limits how many neighbors a guest can add to the kernel's neighbor tables.

All network namespaces share the host's neighbor tables, by default with 1,024 entries for ARP and for IPv6 each. The
kernel adds the sender of every request. A guest that forges senders would fill them, and then neither other guests nor
the host could reach new neighbors.
"""

from __future__ import annotations

_TABLE = "ec2_neighbors"
_BURST, _PER_SECOND = 64, 5
"""New senders of an interface: at once, and per second after that. Interfaces have up to 50 addresses of a family."""

_MEMORY = "10m"
"""The time after which a silent sender is new again."""


def neighbor_guard(devices: str, *, has_ipv6: bool) -> list[str]:
    """Return the nftables commands for a new namespace: those for ARP, and those for IPv6.

    Args:
        devices: the names of the taps, as a pattern such as "eni*".
        has_ipv6: whether the kernel has IPv6.
    """
    families = [("arp", "ipv4_addr", "arp saddr ip")]
    if has_ipv6:
        families.append(("ip6", "ipv6_addr", "ip6 saddr"))
    return [_table(family, kind, sender, devices) for family, kind, sender in families]


def _table(family: str, kind: str, sender: str, devices: str) -> str:
    return f"""table {family} {_TABLE} {{
  set known {{ type ifname . {kind}; size 65536; flags dynamic,timeout; timeout {_MEMORY}; }}
  set newcomers {{ type ifname; size 65536; flags dynamic,timeout; timeout {_MEMORY}; }}
  chain input {{
    type filter hook input priority -300;
    iifname != "{devices}" accept
    iifname . {sender} @known update @known {{ iifname . {sender} }} accept
    update @newcomers {{ iifname limit rate over {_PER_SECOND}/second burst {_BURST} packets }} drop
    add @known {{ iifname . {sender} }}
  }}
}}
"""
