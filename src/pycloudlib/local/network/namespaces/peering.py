"""Peering connections between VPCs: a pair of devices between both namespaces, with fixed addresses."""

from __future__ import annotations

NEIGHBORS = {"ip": "169.254.0.1", "ip6": "fe80::1"}
"""The other end of every pair, as routes name it, by family: it has a fixed MAC address, and needs no ARP."""

MACS = ("0a:00:00:00:01:01", "0a:00:00:00:01:02")
"""The MAC addresses of a pair's two ends."""
