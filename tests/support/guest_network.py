"""A guest without a machine: a process in a network namespace of its own, whose eth0 is wired to a tap.

Frames are copied between the tap's file descriptor, as QEMU would do it, and a tap of the guest's own, so that the
kernel plays the guest. Run as a program, it is the guest; a test holds a Guest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from pycloudlib.local.network.namespaces import syscalls, taps

PATIENCE = 60.0
"""Seconds for what must happen."""
SILENCE = 1.0
"""Seconds after which a packet that must not arrive counts as lost."""
MTU = 9001
_ETH_P_IPV6 = 0x86DD
_ALL_NEIGHBORS = ("eth0", _ETH_P_IPV6, 0, 0, bytes.fromhex("3333ff000000"))


class Guest:
    """A guest, as a test drives it.

    Args:
        tap: the file descriptor of its interface's tap; the guest takes a copy, and this one is closed.
        mac: its MAC address.
        addresses: its addresses with prefix lengths, such as "10.0.1.5/24".
        gateways: its default gateways.
    """

    def __init__(self, tap: int, mac: str, addresses: list[str], gateways: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(os.getpid()), str(tap)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[tap],
            text=True,
        )
        os.close(tap)
        self.call("configure", mac=mac, addresses=addresses, gateways=gateways)

    def call(self, action: str, **arguments: Any) -> Any:
        """Let the guest do something; see _Actions."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"action": action, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["result"]

    def reaches(self, address: str, port: int) -> bool:
        """Tell whether a server answers; retries until it does."""
        return self.call("connect", address=address, port=port, seconds=PATIENCE) is not None

    def is_cut_off_from(self, address: str, port: int) -> bool:
        """Tell whether a single short attempt fails."""
        return self.call("connect", address=address, port=port, seconds=SILENCE) is None

    def peer_seen_at(self, address: str, port: int) -> str:
        """Return the address from which a server there sees this guest."""
        seen: str = self.call("connect", address=address, port=port, seconds=PATIENCE)
        return seen

    def close(self) -> None:
        """End the guest and its tap."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Actions:
    """What a guest can do. Only the guest's process makes one."""

    def __init__(self, tap: int) -> None:
        self._wire = tap
        self._eth0 = taps.open_tun()
        taps.attach(self._eth0, "eth0")
        self._servers: list[socket.socket] = []
        threading.Thread(target=_copy_frames, args=(self._wire, self._eth0), daemon=True).start()

    def configure(self, mac: str, addresses: list[str], gateways: list[str]) -> None:
        from pyroute2 import IPRoute

        with contextlib.closing(IPRoute(groups=0)) as netlink:
            _set_sysctl("ipv6/conf/default/accept_dad", "0")
            _set_sysctl("ipv6/conf/eth0/accept_dad", "0")
            if any(":" in gateway for gateway in gateways):
                _set_sysctl("ipv6/conf/eth0/accept_ra", "0")
            index = socket.if_nametoindex("eth0")
            netlink.link("set", index=1, state="up")
            netlink.link("set", index=index, address=mac, mtu=MTU, state="up")
            for address in addresses:
                host, bits = address.split("/")
                netlink.addr("add", index=index, address=host, prefixlen=int(bits))
            for gateway in gateways:
                family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
                netlink.route("add", dst="default", gateway=gateway, oif=index, family=family)

    def lease_ipv6(self, duid: str, seconds: float) -> str | None:
        """Return the address that a DHCPv6 server offers to eth0, and lease it; None without one until `seconds` pass.

        The DUID is in hexadecimal digits.
        """
        end = time.monotonic() + seconds
        client = _option(1, bytes.fromhex(duid))
        while time.monotonic() < end:
            offered = _ask_dhcpv6(1, client + _option(3, bytes(12)))
            address = _options(_options(offered).get(3, b"")[12:]).get(5)
            if address is not None:
                server = _option(2, _options(offered)[2])
                _ask_dhcpv6(3, client + server + _option(3, bytes(12) + _option(5, address)))
                return socket.inet_ntop(socket.AF_INET6, address[:16])
        return None

    def add_address(self, address: str) -> None:
        """Give eth0 another address, such as "192.168.7.7/32"."""
        from pyroute2 import IPRoute

        host, bits = address.split("/")
        with contextlib.closing(IPRoute(groups=0)) as netlink:
            netlink.addr("add", index=socket.if_nametoindex("eth0"), address=host, prefixlen=int(bits))

    def serve(self, port: int, kind: str = "tcp", ipv6: bool = False) -> None:
        """Answer every connection or datagram with the address that it came from."""
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        server = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        server.bind(("", port))
        self._servers.append(server)
        if kind == "tcp":
            server.listen()
        threading.Thread(target=_answer_tcp if kind == "tcp" else _answer_udp, args=(server,), daemon=True).start()

    def connect(self, address: str, port: int, seconds: float) -> str | None:
        return _retry(lambda left: _connect(address, port, left), seconds)

    def get(self, url: str, seconds: float) -> str | None:
        """Return what a GET is answered with."""

        def once(left: float) -> str:
            with urllib.request.urlopen(url, timeout=left) as response:
                body: bytes = response.read()
                return body.decode()

        return _retry(once, seconds)

    def exchange(self, address: str, port: int, seconds: float, text: str = "hello") -> str | None:
        """Send a datagram until an answer comes."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def once(left: float) -> str:
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(min(1.0, left))
                client.connect((address, port))
                client.send(text.encode())
                return client.recv(65536).decode()

        return _retry(once, seconds)

    def ask_time(self, address: str, seconds: float) -> str | None:
        """Send an SNTP request until an answer comes; return the answer in hexadecimal digits."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def once(left: float) -> str:
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(min(1.0, left))
                client.connect((address, 123))
                client.send(b"\x23" + bytes(47))
                return client.recv(65536).hex()

        return _retry(once, seconds)

    def ping(self, address: str, seconds: float, size: int = 56, source: str | None = None) -> bool:
        """Send ICMP echo requests, unfragmented, until a reply comes."""
        ipv6 = ":" in address
        return _retry(lambda left: _ping(address, ipv6, size, source, min(1.0, left)), seconds) is not None

    def solicit(self, packets: list[str], last: str, seconds: float) -> list[tuple[str, str]]:
        """Send IPv6 packets to all neighbors; return the advertisements until `last`: pairs of target and MAC address.

        The packets are in hexadecimal digits. None is sent again: an answer that comes late would be taken for another.
        """
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IPV6)) as wire:
            wire.settimeout(seconds)
            for packet in packets:
                wire.sendto(bytes.fromhex(packet), _ALL_NEIGHBORS)
            found: list[tuple[str, str]] = []
            while not found or found[-1][0] != last:
                found += _advertised(wire.recv(65536))
            return found

    def send_frames(self, frames: list[str]) -> None:
        """Send Ethernet frames, in hexadecimal digits, each once."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("eth0", 0))
            for frame in frames:
                wire.send(bytes.fromhex(frame))

    def flood(self, packet: str) -> None:
        """Send an IPv6 packet, in hexadecimal digits, to all neighbors for as long as the guest lives."""

        def send() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as wire:
                while True:
                    with contextlib.suppress(OSError):
                        wire.sendto(bytes.fromhex(packet), _ALL_NEIGHBORS)

        threading.Thread(target=send, daemon=True).start()

    def resolve(self, name: str, server: str, seconds: float) -> list[str]:
        """Return the IPv4 addresses of a name; none if there is no such name."""

        def once(left: float) -> list[str]:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(min(2.0, left))
                client.connect((server, 53))
                client.send(_dns_query(name))
                return _dns_addresses(client.recv(65536))

        return _retry(once, seconds) or []


def _advertised(packet: bytes) -> list[tuple[str, str]]:
    """Return the target and the MAC address of a neighbor advertisement; none of another packet."""
    if packet[6] != socket.IPPROTO_ICMPV6 or packet[40] != 136:
        return []
    return [(socket.inet_ntop(socket.AF_INET6, packet[48:64]), packet[66:72].hex(":"))]


def _ask_dhcpv6(kind: int, options: bytes) -> bytes:
    """Return the options of the response to a message, such as Solicit (1); empty without one within a second."""
    transaction = os.urandom(3)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("::", 546))
        client.settimeout(1)
        with contextlib.suppress(OSError):
            servers = ("ff02::1:2", 547, 0, socket.if_nametoindex("eth0"))
            client.sendto(bytes([kind]) + transaction + options + _option(8, bytes(2)), servers)
            response = client.recv(70000)
            if response[1:4] == transaction:
                return response[4:]
    return b""


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


def _options(data: bytes) -> dict[int, bytes]:
    found = {}
    while data:
        code, length = struct.unpack("!HH", data[:4])
        found[code] = data[4 : 4 + length]
        data = data[4 + length :]
    return found


def _copy_frames(one: int, other: int) -> None:
    poller = select.poll()
    for fd in (one, other):
        poller.register(fd, select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            try:
                frame = os.read(fd, 70000)
            except BlockingIOError:
                continue
            except OSError:
                return
            # A full queue or a link that is down loses frames, as a real one does.
            with contextlib.suppress(OSError):
                os.write(other if fd == one else one, frame)


def _retry(attempt: Callable[[float], Any], seconds: float) -> Any:
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        try:
            return attempt(max(left, 0.1))
        except OSError:
            if time.monotonic() >= end:
                return None
            time.sleep(0.05)


def _connect(address: str, port: int, seconds: float) -> str:
    with socket.create_connection((address, port), min(seconds, 5.0)) as connection:
        answer = connection.recv(1000)
        if not answer:
            raise ConnectionResetError("closed without an answer")
        return answer.decode()


def _dns_query(name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def _dns_addresses(answer: bytes) -> list[str]:
    count = struct.unpack("!H", answer[6:8])[0]
    rest = answer[answer.index(b"\0", 12) + 5 :]
    addresses = []
    for _ in range(count):
        # The name is a pointer of two bytes.
        kind, _, _, length = struct.unpack("!HHIH", rest[2:12])
        if kind == 1:
            addresses.append(socket.inet_ntoa(rest[12 : 12 + length]))
        rest = rest[12 + length :]
    return addresses


def _answer_tcp(server: socket.socket) -> None:
    while True:
        connection, peer = server.accept()
        with contextlib.suppress(OSError), connection:
            connection.sendall(peer[0].encode())


def _answer_udp(server: socket.socket) -> None:
    while True:
        _, peer = server.recvfrom(65536)
        with contextlib.suppress(OSError):
            server.sendto(peer[0].encode(), peer)


def _ping(address: str, ipv6: bool, size: int, source: str | None, seconds: float) -> bool:
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if ipv6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    request, reply = (128, 129) if ipv6 else (8, 0)
    identifier, payload = os.getpid() & 0xFFFF, bytes(size)
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        if source:
            raw.bind((source, 0))
        if not ipv6:
            raw.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: DO
        head = struct.pack("!BBHHH", request, 0, 0, identifier, 1)
        checksum = 0 if ipv6 else _checksum(head + payload)
        raw.sendto(struct.pack("!BBHHH", request, 0, checksum, identifier, 1) + payload, (address, 0))
        end = time.monotonic() + seconds
        while True:
            raw.settimeout(max(end - time.monotonic(), 0.01))
            packet, sender = raw.recvfrom(65536)
            message = packet if ipv6 else packet[(packet[0] & 15) * 4 :]
            if sender[0] == address and message[0] == reply and message[4:6] == struct.pack("!H", identifier):
                return True


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _set_sysctl(name: str, value: str) -> None:
    with contextlib.suppress(FileNotFoundError), open(f"/proc/sys/net/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(value)


def _main() -> None:
    parent, tap = int(sys.argv[1]), int(sys.argv[2])
    os.set_blocking(tap, False)
    if os.geteuid() != 0:
        uid, gid = os.geteuid(), os.getegid()
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        syscalls.map_root(uid, gid)
    syscalls.die_with_parent(parent)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    fcntl.fcntl(tap, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    actions = _Actions(tap)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(actions, request["action"])(**request["arguments"])}
        except Exception as error:
            answer = {"error": f"{request['action']}: {type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    _main()
