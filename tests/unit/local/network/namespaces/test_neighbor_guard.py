"""The neighbor guard, with guests that forge the senders of their requests."""

from __future__ import annotations

import ipaddress
import struct
from pathlib import Path

import pytest

from pycloudlib.local.network.namespaces.fabric import Fabric
from support.guest_network import PATIENCE
from support.neighbor_discovery import packed, solicitation
from support.topologies import make_interface, make_topology, make_vpc

from .conftest import GATEWAY_LINK_LOCAL, Connect

SUBNET = "2600:1f13:0:1::/64"
A6, B6 = "2600:1f13:0:1::5", "2600:1f13:0:1::6"
FLOODER = make_interface(1, "10.0.0.5", "10.0.0.0/16", ipv6_addresses=[A6], ipv6_subnet=SUBNET)
NEIGHBOR = make_interface(2, "10.0.1.6", "10.0.0.0/16", ipv6_addresses=[B6], ipv6_subnet=SUBNET)

GATEWAY_MAC = bytes.fromhex("0a0000000001")
FORGED_MAC = bytes.fromhex("0e0000000001")
TABLE_SIZE = 1024
"""The entries of a neighbor table, unless the host's administrator has changed `gc_thresh3`."""


def arp_request(sender: str, target: str) -> bytes:
    addresses = (FORGED_MAC, ipaddress.IPv4Address(sender).packed, bytes(6), ipaddress.IPv4Address(target).packed)
    return b"\xff" * 6 + FORGED_MAC + struct.pack("!HHHBBH6s4s6s4s", 0x0806, 1, 0x0800, 6, 4, 1, *addresses)


def neighbor_solicitation(sender: str, target: str) -> bytes:
    group = bytes.fromhex("3333ff") + packed(target)[13:]
    source_mac = bytes.fromhex("0101") + FORGED_MAC
    return group + FORGED_MAC + struct.pack("!H", 0x86DD) + solicitation(sender, target, options=source_mac)


FLOODS = {
    "arp_cache": [arp_request(f"10.0.{i // 250 + 2}.{i % 250 + 1}", "10.0.0.1") for i in range(3 * TABLE_SIZE)],
    "ndisc_cache": [neighbor_solicitation(f"fe80::1:{i:x}", GATEWAY_LINK_LOCAL) for i in range(3 * TABLE_SIZE)],
}


def overflows(table: str) -> int:
    """Return how often the host's neighbor table was full."""
    names, *rows = Path("/proc/net/stat", table).read_text().splitlines()
    column = names.split().index("table_fulls")
    return sum(int(row.split()[column], 16) for row in rows)


@pytest.mark.parametrize("table", FLOODS)
def test_forged_senders_do_not_fill_the_neighbor_table_of_the_host(
    fabric: Fabric, connect: Connect, table: str
) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", FLOODER, NEIGHBOR)))
    flooder, neighbor = connect(fabric, FLOODER), connect(fabric, NEIGHBOR)
    before = overflows(table)
    flooder.call("send_frames", frames=[frame.hex() for frame in FLOODS[table]])
    # The flooder's next packet arrives after its flood.
    neighbor.call("serve", port=80)
    neighbor.call("serve", port=80, ipv6=True, kind="udp")
    assert flooder.reaches("10.0.1.6", 80)
    assert flooder.call("exchange", address=B6, port=80, seconds=PATIENCE) == A6
    assert overflows(table) == before
