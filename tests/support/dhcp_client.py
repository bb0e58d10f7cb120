"""A DHCP client that speaks Ethernet at a tap, as QEMU would carry it."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

_VNET_HEADER = bytes(10)
_COOKIE = b"\x63\x82\x53\x63"
_DISCOVER, _REQUEST = 1, 3
_OFFER, _ACK = 2, 5


@dataclass(frozen=True)
class Lease:
    """What a DHCP server gives.

    Args:
        address: the client's.
        options: the values of options, by number.
    """

    address: str
    options: dict[int, bytes]

    def addresses(self, option: int) -> list[str]:
        value = self.options.get(option, b"")
        return [socket.inet_ntoa(value[start : start + 4]) for start in range(0, len(value), 4)]

    def text(self, option: int) -> str:
        return self.options[option].decode()


def get_lease(tap: int, mac: str, seconds: float) -> Lease | None:
    """Ask for a lease until there is one.

    Args:
        tap: the file descriptor of a tap.
        mac: the client's MAC address.
        seconds: when to give up.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        offer = _exchange(tap, mac, bytes([53, 1, _DISCOVER]), _OFFER)
        if offer is None:
            continue
        request = bytes([53, 1, _REQUEST, 50, 4]) + socket.inet_aton(offer.address) + bytes([54, 4]) + offer.options[54]
        lease = _exchange(tap, mac, request, _ACK)
        if lease is not None:
            return lease
    return None


def flood(tap: int, count: int) -> None:
    """Ask for leases for many MAC addresses, without waiting for offers.

    Args:
        tap: the file descriptor of a tap.
        count: how many.
    """
    for number in range(count):
        with contextlib.suppress(BlockingIOError):
            _ask(tap, bytes([2, 0]) + number.to_bytes(4, "big"), random.randbytes(4), bytes([53, 1, _DISCOVER]))


def _exchange(tap: int, mac: str, options: bytes, wanted: int) -> Lease | None:
    hardware, transaction = bytes.fromhex(mac.replace(":", "")), random.randbytes(4)
    _ask(tap, hardware, transaction, options)
    for frame in _frames(tap, 1.0):
        message = frame[42:]
        if frame[12:14] == b"\x08\x00" and frame[23] == 17 and message[4:8] == transaction:
            found = _options(message[240:])
            if found.get(53) == bytes([wanted]):
                return Lease(socket.inet_ntoa(message[16:20]), found)
    return None


def _ask(tap: int, hardware: bytes, transaction: bytes, options: bytes) -> None:
    asked = bytes([55, 10, 1, 3, 6, 12, 15, 26, 42, 44, 46, 121])
    bootp = b"\x01\x01\x06\x00" + transaction + bytes(4) + bytes(16) + hardware + bytes(10 + 192)
    datagram = bootp + _COOKIE + options + asked + b"\xff"
    datagram += bytes(len(datagram) % 2)
    udp = struct.pack("!HHHH", 68, 67, 8 + len(datagram), 0) + datagram
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    os.write(tap, _VNET_HEADER + b"\xff" * 6 + hardware + b"\x08\x00" + header + udp)


def _frames(tap: int, seconds: float) -> Iterator[bytes]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([tap], [], [], end - time.monotonic() if end > time.monotonic() else 0)[0]:
            yield os.read(tap, 70000)[len(_VNET_HEADER) :]


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data and data[0] != 255:
        if data[0] == 0:
            data = data[1:]
            continue
        length = data[1]
        found[data[0]] = data[2 : 2 + length]
        data = data[2 + length :]
    return found


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
