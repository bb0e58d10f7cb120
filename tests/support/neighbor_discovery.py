"""Neighbor solicitations as guests send them, and as they should not."""

from __future__ import annotations

import ipaddress
import socket
import struct


def solicitation(source: str, target: str, *, options: bytes = b"") -> bytes:
    """Make a valid neighbor solicitation, an IPv6 packet to the solicited-node multicast address of the target.

    Args:
        source: who asks; "::" for duplicate address detection.
        target: who is asked for.
        options: such as the source's MAC address; default none.
    """
    group = ipaddress.IPv6Address("ff02::1:ff00:0").packed[:13] + packed(target)[13:]
    return packet(source, group, struct.pack("!BBHI16s", 135, 0, 0, 0, packed(target)) + options)


def packet(
    source: str, destination: bytes, message: bytes, *, hop_limit: int = 255, protocol: int = socket.IPPROTO_ICMPV6
) -> bytes:
    """Make an IPv6 packet with an ICMPv6 message, whose checksum is computed."""
    header = struct.pack("!IHBB", 6 << 28, len(message), protocol, hop_limit) + packed(source) + destination
    return with_checksum(header + message)


def with_checksum(whole: bytes) -> bytes:
    """Set the checksum of the ICMPv6 message in an IPv6 packet."""
    zeroed = whole[:42] + b"\0\0" + whole[44:]
    return whole[:42] + struct.pack("!H", 0xFFFF - _sum(zeroed)) + whole[44:]


def is_checksum_right(whole: bytes) -> bool:
    """Tell whether the checksum of the ICMPv6 message in an IPv6 packet is right."""
    return _sum(whole) == 0xFFFF


def packed(address: str) -> bytes:
    """Return the 16 bytes of an IPv6 address."""
    return ipaddress.IPv6Address(address).packed


def _sum(whole: bytes) -> int:
    message = whole[40:]
    data = whole[8:40] + struct.pack("!II", len(message), socket.IPPROTO_ICMPV6) + message
    # The ones' complement sum of 16-bit words is the remainder by 0xFFFF, which stands for zero.
    return int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF or 0xFFFF
