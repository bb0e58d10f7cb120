"""Peering connections between VPCs: veth pairs between namespaces, with fixed addresses."""

from __future__ import annotations

NEIGHBORS = {"ip": "169.254.0.1", "ip6": "fe80::1"}
"""The next hop of routes to the peer, by family; a permanent neighbor entry replaces ARP."""

MACS = ("0a:00:00:00:01:01", "0a:00:00:00:01:02")
"""The MAC addresses of the two ends of a pair."""
