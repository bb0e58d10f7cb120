"""The neighbor proxy, first by itself, then with guests."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.local.network.namespaces.neighbor_proxy import NeighborProxy, Solicitation, parse_solicitation
from pycloudlib.local.network.topology import Topology
from support.guest_network import PATIENCE, Guest
from support.neighbor_discovery import is_checksum_right, packed, packet, solicitation, with_checksum
from support.topologies import make_interface, make_topology, make_vpc

from .conftest import GATEWAY_LINK_LOCAL, Connect

GATEWAY_MAC = "0a:00:00:00:00:01"
SUBNET, OTHER_SUBNET = "2600:1f13:0:1::/64", "2600:1f13:0:2::/64"
A6, B6, C6, FAR6, NOBODY6 = (f"2600:1f13:0:{one}" for one in ("1::5", "1::6", "1::7", "2::5", "1::99"))
A = make_interface(1, "10.0.1.5", ipv6_addresses=[A6], ipv6_subnet=SUBNET)
B = make_interface(2, "10.0.1.6", ipv6_addresses=[B6], ipv6_subnet=SUBNET)
C = make_interface(3, "10.0.1.7", ipv6_addresses=[C6], ipv6_subnet=SUBNET)
FAR = make_interface(4, "10.0.2.5", "10.0.2.0/24", ipv6_addresses=[FAR6], ipv6_subnet=OTHER_SUBNET)

MAC_OPTION = bytes.fromhex("01010e0000000001")
MESSAGE = struct.pack("!BBHI16s", 135, 0, 0, 0, packed(B6))
MALFORMED = {
    "empty": b"",
    "header only": solicitation(A6, B6)[:40],
    "cut off": solicitation(A6, B6)[:-1],
    "of another IP version": b"\x40" + solicitation(A6, B6)[1:],
    "of another protocol": packet(A6, packed(B6), MESSAGE, protocol=17),
    "forwarded by a router": packet(A6, packed(B6), MESSAGE, hop_limit=254),
    "from a multicast address": packet("ff02::1", packed(B6), MESSAGE),
    "for a multicast address": solicitation(A6, "ff02::1"),
    "with a code": packet(A6, packed(B6), MESSAGE[:1] + b"\1" + MESSAGE[2:]),
    "an advertisement": packet(A6, packed(B6), b"\x88" + MESSAGE[1:]),
    "with a wrong checksum": solicitation(A6, B6)[:42] + b"\0\0" + solicitation(A6, B6)[44:],
    "shorter than its target": packet(A6, packed(B6), MESSAGE[:20]) + bytes(8),
    "with an empty option": solicitation(A6, B6, options=bytes(8)),
    "with half an option": solicitation(A6, B6, options=b"\1"),
    "with an option beyond its end": solicitation(A6, B6, options=b"\1\2" + bytes(6)),
    "longer than it says": struct.pack("!IH", 6 << 28, 2000) + solicitation(A6, B6)[6:],
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[NeighborProxy]:
    """A proxy that knows interfaces of two subnets, and whose socket no packet reaches."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with theirs, closing(NeighborProxy(GATEWAY_MAC, ours)) as proxy:
        for device, interface in (("eni1", A), ("eni2", B), ("eni4", FAR)):
            attachment = interface.attachment
            subnet = str(attachment.ipv6_subnet).replace("::/", "::1/")
            addresses = (*(one.private_ip for one in attachment.addresses), *attachment.ipv6_addresses)
            proxy.assign(device, [attachment.subnet.replace(".0/", ".1/"), subnet], addresses)
        yield proxy


def test_parses_what_a_guest_asks() -> None:
    for options in (b"", MAC_OPTION, MAC_OPTION + bytes.fromhex("0e01aabbccddeeff")):
        asked = parse_solicitation(solicitation(A6, B6, options=options))
        assert asked == Solicitation(source=packed(A6), target=packed(B6))


def test_ignores_padding_after_the_packet() -> None:
    assert parse_solicitation(solicitation(A6, B6) + bytes(6)) is not None


@pytest.mark.parametrize("kind", MALFORMED)
def test_ignores_a_malformed_solicitation(kind: str) -> None:
    assert parse_solicitation(MALFORMED[kind]) is None


@given(st.binary(max_size=200))
def test_survives_any_packet(data: bytes) -> None:
    assert parse_solicitation(data) is None


@given(st.integers(0, 79), st.integers(1, 255), st.booleans())
def test_answers_a_changed_packet_only_if_it_is_valid(
    proxy: NeighborProxy, place: int, change: int, is_checksum_mended: bool
) -> None:
    changed = bytearray(solicitation(A6, B6, options=MAC_OPTION) + bytes(8))
    changed[place] ^= change
    whole = with_checksum(bytes(changed[:72])) if is_checksum_mended else bytes(changed)
    answer = proxy.advertisement("eni1", whole)
    if answer is not None:
        assert parse_solicitation(whole) is not None
        assert answer[48:64] == packed(B6)


def test_advertisement_leads_to_the_gateway(proxy: NeighborProxy) -> None:
    answer = proxy.advertisement("eni1", solicitation(A6, B6))
    assert answer is not None
    assert struct.unpack_from("!IHBB", answer) == (6 << 28, 32, socket.IPPROTO_ICMPV6, 255)
    assert answer[8:24] == packed(GATEWAY_LINK_LOCAL)
    assert answer[24:40] == packed(A6)
    kind, code, _, flags, target = struct.unpack_from("!BBHI16s", answer, 40)
    assert (kind, code, flags, target) == (136, 0, 0x40000000, packed(B6))
    assert answer[64:] == bytes.fromhex("0201" + GATEWAY_MAC.replace(":", ""))
    assert is_checksum_right(answer)


@pytest.mark.parametrize(
    ("source", "target"),
    [("::", B6), ("::", A6), (A6, A6), (A6, NOBODY6), (A6, FAR6), (A6, "fe80::1")],
    ids=["duplicate of another", "duplicate of its own", "its own", "unassigned", "of another subnet", "link-local"],
)
def test_advertises_no_other_address(proxy: NeighborProxy, source: str, target: str) -> None:
    assert proxy.advertisement("eni1", solicitation(source, target)) is None


def test_advertises_nothing_to_an_unknown_device(proxy: NeighborProxy) -> None:
    assert proxy.advertisement("igw", solicitation(A6, B6)) is None


def test_address_that_moves_is_the_new_owners(proxy: NeighborProxy) -> None:
    gateway = SUBNET.replace("::/", "::1/")
    for device, addresses in (("eni8", [C6]), ("eni9", [C6]), ("eni8", [])):
        proxy.assign(device, [gateway], addresses)
    assert proxy.advertisement("eni8", solicitation(A6, C6)) is not None
    assert proxy.advertisement("eni9", solicitation(A6, C6)) is None
    proxy.remove("eni9")
    proxy.remove("eni9")
    assert proxy.advertisement("eni8", solicitation(A6, C6)) is None


# with guests


def advertised(guest: Guest, *packets: bytes) -> list[str]:
    """The advertised targets, up to C's, which the last packet solicits; the gateway's own are left out."""
    hexadecimal = [one.hex() for one in (*packets, solicitation(A6, C6))]
    found = guest.call("solicit", packets=hexadecimal, last=C6, seconds=PATIENCE)
    assert all(mac == GATEWAY_MAC for _, mac in found)
    return [target for target, _ in found if target != GATEWAY_LINK_LOCAL]


def test_guests_that_take_their_subnet_for_on_link_reach_each_other(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    a, b = connect(fabric, A, on_link=True), connect(fabric, B, on_link=True)
    b.call("serve", port=80, ipv6=True)
    assert a.peer_seen_at(B6, 80) == A6


def test_guest_gets_advertisements_of_its_neighbors_only(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B, C, FAR)))
    a = connect(fabric, A)
    for other in (B, C, FAR):
        connect(fabric, other)
    asked = [solicitation("::", B6), *(solicitation(A6, target) for target in (A6, NOBODY6, FAR6, B6))]
    assert advertised(a, *asked) == [B6, C6]


def test_malformed_solicitations_do_not_end_the_proxy(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B, C)))
    a = connect(fabric, A)
    for other in (B, C):
        connect(fabric, other)
    # The guest's own kernel sends nothing shorter than a header.
    assert advertised(a, *(data for data in MALFORMED.values() if len(data) > 40)) == [C6]


def test_moved_and_removed_addresses_are_advertised_as_they_are(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B, C)))
    a, _, _ = (connect(fabric, one) for one in (A, B, C))
    given_up = replace(B, attachment=replace(B.attachment, ipv6_addresses=()))
    taken = replace(C, attachment=replace(C.attachment, ipv6_addresses=(C6, B6)))
    fabric.apply(make_topology(make_vpc("vpc-1", A, given_up, taken)))
    assert advertised(a, solicitation(A6, B6)) == [B6, C6]
    fabric.apply(make_topology(make_vpc("vpc-1", A, given_up, C)))
    assert advertised(a, solicitation(A6, B6)) == [C6]
    fabric.apply(make_topology(make_vpc("vpc-1", A, B, C)))
    assert advertised(a, solicitation(A6, B6)) == [B6, C6]
    fabric.remove_interface("eni-2")
    assert advertised(a, solicitation(A6, B6)) == [C6]


def test_flood_of_solicitations_leaves_the_helper_to_its_commands(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    a, _ = connect(fabric, A), connect(fabric, B)
    before = fabric.helper_pid
    a.call("flood", packet=solicitation(A6, B6).hex())
    for number in range(20):
        more = make_interface(9, f"10.0.1.{100 + number}")
        fabric.apply(make_topology(make_vpc("vpc-1", A, B, more)))
        os.close(fabric.add_interface("eni-9"))
    fabric.apply(Topology())
    assert fabric.helper_pid == before
