"""The neighbor proxy: answers neighbor solicitations among the IPv6 guests of a subnet, for the helper only.

Each guest is alone on its tap. A guest that considers its IPv6 subnet on-link solicits the MAC addresses of others,
which do not receive the solicitation. The proxy responds with the gateway's MAC address. The kernel's own proxy_ndp
needs an entry per pair of interfaces.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

_ETH_P_IPV6 = 0x86DD
_SO_ATTACH_FILTER = 26
_NEIGHBOR_SOLICITATION, _NEIGHBOR_ADVERTISEMENT = 135, 136
_HOP_LIMIT = 255
"""The hop limit of all neighbor discovery messages; routers do not forward them (RFC 4861, section 7.1)."""
_SOLICITED = 0x40000000
"""The Solicited flag. A proxy does not set the Override flag (RFC 4861, section 7.2.8)."""
_TARGET_LINK_LAYER_ADDRESS = 2

_IPV6_HEADER = struct.Struct("!IHBB16s16s")
_SOLICITATION = struct.Struct("!BBHI16s")
_ADVERTISEMENT = struct.Struct("!BBHI16sBB6s")
_PSEUDO_HEADER = struct.Struct("!16s16sII")
_IPV6_VERSION = 6
_UNSPECIFIED = bytes(16)

_FRAME_BYTES = 2048
_BATCH = 64
"""The maximum number of solicitations per call of answer(), so that the helper stays responsive to commands."""

_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_BYTE, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x15, 0x06
# The BPF filter, which passes neighbor solicitations only.
_FILTER = (
    (_LOAD_BYTE, 0, 0, 6),
    (_JUMP_IF_EQUAL, 0, 3, socket.IPPROTO_ICMPV6),
    (_LOAD_BYTE, 0, 0, _IPV6_HEADER.size),
    (_JUMP_IF_EQUAL, 0, 1, _NEIGHBOR_SOLICITATION),
    (_RETURN, 0, 0, _FRAME_BYTES),
    (_RETURN, 0, 0, 0),
)


@dataclass(frozen=True)
class Solicitation:
    """A valid neighbor solicitation.

    Args:
        source: the sender's IPv6 address; `::` during duplicate address detection.
        target: the IPv6 address to resolve.
    """

    source: bytes
    target: bytes


class NeighborProxy:
    """Answers neighbor solicitations on the taps of a network namespace.

    It answers for addresses of other interfaces of the same subnet only. It ignores duplicate address detection, the
    interface's own addresses, and unassigned addresses.

    Args:
        mac: the MAC address of every tap.
        packets: the socket from open_socket() in the namespace; closed by close().
    """

    def __init__(self, mac: str, packets: socket.socket) -> None:
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._link_local = _link_local(self._mac)
        self._subnets: dict[str, ipaddress.IPv6Network] = {}
        self._addresses: dict[str, list[bytes]] = {}
        self._devices: dict[bytes, str] = {}
        self._packets = packets

    def fileno(self) -> int:
        """Return the file descriptor of the socket, which is readable when solicitations are pending."""
        return self._packets.fileno()

    def assign(self, device: str, gateways: Iterable[str], addresses: Iterable[str]) -> None:
        """Set the addresses of a tap and its guest; IPv4 addresses are ignored.

        Args:
            device: the name of the tap.
            gateways: the tap's own addresses with the subnet's prefix length, such as "2600:1f13:0:1::1/64".
            addresses: the guest's addresses.
        """
        self.remove(device)
        for gateway in gateways:
            if ":" in gateway:
                self._subnets[device] = ipaddress.IPv6Network(gateway, strict=False)
        self._addresses[device] = [_packed(address) for address in addresses if ":" in address]
        self._devices.update(dict.fromkeys(self._addresses[device], device))

    def remove(self, device: str) -> None:
        """Forget a tap. No-op if it is unknown."""
        self._subnets.pop(device, None)
        for address in self._addresses.pop(device, ()):
            # The address may already be assigned to another interface.
            if self._devices.get(address) == device:
                del self._devices[address]

    def answer(self) -> None:
        """Answer the pending solicitations, at most a batch of them."""
        for _ in range(_BATCH):
            try:
                packet, (device, _, _, _, sender_mac) = self._packets.recvfrom(_FRAME_BYTES)
            except OSError:
                # No packet is pending, or the socket was closed concurrently.
                return
            advertisement = self.advertisement(device, packet)
            if advertisement is not None:
                self._send(advertisement, device, sender_mac)

    def advertisement(self, device: str, packet: bytes) -> bytes | None:
        """Return the neighbor advertisement that answers a packet; None if the packet is to be ignored.

        Args:
            device: the name of the tap that received the packet.
            packet: the IPv6 packet, without the Ethernet header.
        """
        solicitation = parse_solicitation(packet)
        if solicitation is None or solicitation.source == _UNSPECIFIED:
            return None
        if not self._is_neighbor(device, solicitation.target):
            return None
        message = _ADVERTISEMENT.pack(
            _NEIGHBOR_ADVERTISEMENT, 0, 0, _SOLICITED, solicitation.target, _TARGET_LINK_LAYER_ADDRESS, 1, self._mac
        )
        checksum = _checksum(self._link_local, solicitation.source, message)
        header = _IPV6_HEADER.pack(
            _IPV6_VERSION << 28, len(message), socket.IPPROTO_ICMPV6, _HOP_LIMIT, self._link_local, solicitation.source
        )
        return header + message[:2] + struct.pack("!H", checksum) + message[4:]

    def close(self) -> None:
        """Close the socket."""
        self._packets.close()

    def _is_neighbor(self, device: str, address: bytes) -> bool:
        """Return whether an address belongs to another interface of the tap's subnet."""
        other = self._devices.get(address)
        if other is None or other == device:
            return False
        subnet = self._subnets.get(device)
        return subnet is not None and subnet == self._subnets.get(other)

    def _send(self, packet: bytes, device: str, mac: bytes) -> None:
        try:
            self._packets.sendto(packet, (device, _ETH_P_IPV6, 0, 0, mac))
        except OSError:
            # The queue is full, or the tap was deleted. The guest retransmits the solicitation.
            return


def open_socket() -> socket.socket:
    """Open a packet socket for neighbor solicitations in the process's network namespace.

    Raises:
        OSError: the kernel rejected the socket.
    """
    # Packets that arrive before the filter is attached are rejected by parse_solicitation().
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IPV6))
    try:
        program = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*instruction) for instruction in _FILTER))
        packets.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(_FILTER), ctypes.addressof(program))
        )
        packets.setblocking(False)
    except BaseException:
        packets.close()
        raise
    return packets


def parse_solicitation(packet: bytes) -> Solicitation | None:
    """Parse a neighbor solicitation; return None for an invalid one or another packet (RFC 4861, section 7.1.1).

    Args:
        packet: an IPv6 packet, without the Ethernet header.
    """
    if len(packet) < _IPV6_HEADER.size + _SOLICITATION.size:
        return None
    first, size, protocol, hop_limit, source, destination = _IPV6_HEADER.unpack_from(packet)
    message = packet[_IPV6_HEADER.size :][:size]
    if first >> 28 != _IPV6_VERSION or protocol != socket.IPPROTO_ICMPV6 or hop_limit != _HOP_LIMIT:
        return None
    if len(message) != size or size < _SOLICITATION.size or _is_multicast(source):
        return None
    kind, code, _, _, target = _SOLICITATION.unpack_from(message)
    if kind != _NEIGHBOR_SOLICITATION or code != 0 or _is_multicast(target):
        return None
    if not _are_options(message[_SOLICITATION.size :]) or _checksum(source, destination, message) != 0:
        return None
    return Solicitation(source, target)


def _are_options(data: bytes) -> bool:
    """Return whether data consists of complete options, each with its length in units of 8 bytes."""
    while data:
        size = 8 * data[1] if len(data) > 1 else 0
        if size == 0 or size > len(data):
            return False
        data = data[size:]
    return True


def _checksum(source: bytes, destination: bytes, message: bytes) -> int:
    """Return the checksum of an ICMPv6 message; 0 if the message contains it (RFC 4443, section 2.3)."""
    data = _PSEUDO_HEADER.pack(source, destination, len(message), socket.IPPROTO_ICMPV6) + message
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _is_multicast(address: bytes) -> bool:
    return address[0] == 0xFF  # noqa: PLR2004  (ff00::/8)


def _link_local(mac: bytes) -> bytes:
    """Return the link-local address that the kernel gives a device (RFC 4291, appendix A)."""
    return bytes.fromhex("fe80000000000000") + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


def _packed(address: str) -> bytes:
    return ipaddress.IPv6Address(address).packed
