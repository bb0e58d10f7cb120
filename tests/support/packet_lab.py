"""A laboratory for packets: a topology's VPCs and interfaces as network namespaces of one process.

Each interface has a namespace that plays the guest, joined to its VPC's by a veth pair. The internet is another
namespace behind the VPC's device `igw`. Run as a program, it is that process; a test holds a PacketLab. Everything ends
with the process.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import ipaddress
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pycloudlib.local.network.document import to_document, topology_from
from pycloudlib.local.network.faults import Fault, fault_from
from pycloudlib.local.network.namespaces.routing import INTERNET_DEVICE, KernelRoute, RouteKind, routing
from pycloudlib.local.network.namespaces.ruleset import ruleset
from pycloudlib.local.network.namespaces.ruleset_changes import changes
from pycloudlib.local.network.namespaces.service_addresses import HOST, service_addresses
from pycloudlib.local.network.namespaces.shaping import shaping
from pycloudlib.local.network.topology import Topology, Vpc

INTERNET, INTERNET_IPV6 = "203.0.113.9", "2001:db8:ffff::9"
PATIENCE = 60.0
"""Seconds for a packet that is to arrive."""
HOST_PORTS = (3128,)
"""The ports of the host that guests reach."""
SILENCE = 0.15
"""Seconds after which a packet that is not to arrive counts as lost."""
NFT = next((path for path in ("/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft") if Path(path).exists()), None)
_IP_TRANSPARENT = 19
_LIBC_NEWUSER, _LIBC_NEWNET = 0x10000000, 0x40000000


def why_not() -> str:
    """Return why there can be no laboratory here; "" if there can."""
    if NFT is None:
        return "nft is not installed"
    if importlib.util.find_spec("pyroute2") is None:
        return "pyroute2 is not installed"
    try:
        with PacketLab() as lab:
            lab.build(Topology())
    except (OSError, AssertionError) as error:
        return f"no network namespaces: {error}"
    return ""


class PacketLab:
    """The laboratory, as a test drives it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def build(self, topology: Topology) -> None:
        """Create namespaces for a topology, after removing those of the one before. Interfaces that run get a guest."""
        self._call("build", topology=to_document(topology))

    def apply(self, topology: Topology, *faults: Fault) -> None:
        """Apply other rules and routes to the namespaces that there are."""
        self._call("apply", topology=to_document(topology), faults=[fault.to_document() for fault in faults])

    def reaches(
        self,
        source: str,
        address: str,
        protocol: str = "tcp",
        port: int = 8080,
        *,
        expected: bool,
        sender: str | None = None,
    ) -> bool:
        """Tell whether a client gets an answer from a server.

        Args:
            source: the id of an interface, or "host@VPC".
            address: of the server, which is started.
            protocol: "tcp", "udp" or "icmp".
            port: of the server.
            expected: whether an answer is expected, and thus how long to wait.
            sender: the source address; default: the guest's choice.
        """
        wanted = {"source": source, "address": address, "protocol": protocol, "port": port, "sender": sender}
        return bool(self._call("probe", seconds=PATIENCE if expected else SILENCE, **wanted))

    def arrives(
        self, source: str, address: str, *, expected: bool, at: str | None = None, sender: str | None = None
    ) -> bool:
        """Tell whether a datagram arrives, whatever becomes of an answer.

        Args:
            source: the id of an interface.
            address: where the datagram goes.
            expected: whether it is expected, and thus how long to wait.
            at: the id of the interface at which it is to arrive; default: the one that has the address.
            sender: the source address, which may be forged; default: the guest's choice.
        """
        wanted = {"source": source, "address": address, "at": at, "sender": sender}
        return bool(self._call("send", seconds=PATIENCE if expected else SILENCE, **wanted))

    def arrivals(self, source: str, address: str, count: int) -> int:
        """Send datagrams, and return how many arrive."""
        return int(self._call("arrivals", source=source, address=address, count=count))

    def overflows(self, source: str, address: str) -> bool:
        """Send more than the queue of a slow rate holds; tell whether a queue dropped some, instead of all arriving."""
        return bool(self._call("overflows", source=source, address=address))

    def transfers(self, source: str, address: str, size: int) -> bool:
        """Tell whether a connection carries so many bytes."""
        return bool(self._call("transfer", source=source, address=address, size=size))

    def round_trip(self, source: str, address: str) -> float:
        """Return the seconds from a datagram to its answer."""
        return float(self._call("round_trip", source=source, address=address))

    def connect(self, source: str, address: str, port: int = 8080) -> None:
        """Open a connection, for talks() to use."""
        assert self._call("connect", source=source, address=address, port=port)

    def talks(self, *, expected: bool) -> bool:
        """Tell whether the connection still carries data."""
        return bool(self._call("talk", seconds=PATIENCE if expected else SILENCE))

    def run_nft(self, commands: str) -> list[str]:
        """Run commands of nftables in a namespace of its own, and list the rules that there are then, sorted."""
        found: list[str] = self._call("run_nft", commands=commands)
        return found

    def _call(self, action: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"action": action, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or '{"error": "the laboratory has ended"}')
        except BrokenPipeError:
            answer = {"error": "the laboratory has ended"}
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """End it, and all namespaces with it."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> PacketLab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Namespace:
    """A network namespace. The process is moved into it to create it, and by enter()."""

    def __init__(self) -> None:
        from pyroute2 import IPRoute

        _syscall("unshare", _LIBC_NEWNET)
        self.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.netlink = IPRoute(groups=0)
        for name, value in (
            ("ipv4/ip_forward", 1),
            ("ipv6/conf/all/forwarding", 1),
            ("ipv4/conf/all/rp_filter", 0),
            ("ipv4/conf/default/rp_filter", 0),
            ("ipv4/conf/all/send_redirects", 0),
            ("ipv4/conf/default/send_redirects", 0),
            ("ipv6/conf/default/accept_dad", 0),
        ):
            _set_sysctl(name, value)
        self.netlink.link("set", index=1, state="up")

    def enter(self) -> None:
        _syscall("setns", self.fd, _LIBC_NEWNET)

    def index(self, name: str) -> int:
        self.enter()
        return socket.if_nametoindex(name)

    def add_address(self, device: str, address: str, bits: int, *, flags: int = 0) -> None:
        flags |= 0x02 if ":" in address else 0  # IFA_F_NODAD
        self.netlink.addr("add", index=self.index(device), address=address, prefixlen=bits, flags=flags)

    def add_route(self, cidr: str, device: str | None = None, **more: Any) -> None:
        family = socket.AF_INET6 if ":" in cidr else socket.AF_INET
        if device is not None:
            more["oif"] = self.index(device)
        self.netlink.route("add", dst=cidr, family=family, **more)

    def up(self, device: str) -> None:
        self.netlink.link("set", index=self.index(device), state="up")

    def close(self) -> None:
        self.netlink.close()
        os.close(self.fd)


class _Lab:
    """What the process does."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._vpcs: dict[str, _Namespace] = {}
        self._guests: dict[str, _Namespace] = {}
        self._internet: dict[str, _Namespace] = {}
        self._devices: dict[str, dict[str, str]] = {}
        self._neighbors: dict[str, dict[str, dict[str, str]]] = {}
        self._tables: dict[str, set[int]] = {}
        self._owners: dict[str, _Namespace] = {}
        self._rulesets: dict[str, str] = {}
        self._large: dict[str, Any] = {}
        self._serial = 0
        self._connection: tuple[socket.socket, socket.socket] | None = None

    def build(self, topology: dict[str, Any]) -> None:
        for namespace in (*self._vpcs.values(), *self._guests.values(), *self._internet.values()):
            namespace.close()
        for nftables in self._large.values():
            nftables.close()
        self.__init__()  # type: ignore[misc]
        wanted = topology_from(topology)
        for vpc in wanted.vpcs.values():
            self._build_vpc(vpc)
        for number, peering in enumerate(wanted.peerings.values(), 1):
            one, other = (self._vpcs[vpc_id] for vpc_id in peering.vpc_ids)
            name = f"pcx{number}"
            _join(one, name, other, name)
            for vpc_id, namespace in zip(peering.vpc_ids, (one, other), strict=True):
                self._devices[vpc_id][peering.peering_id] = name
                # The VPCs' services have the same addresses, which would not do as the source of an ARP request.
                first = vpc_id == peering.vpc_ids[0]
                own, peer = ("1", "2") if first else ("2", "1")
                namespace.add_address(name, f"169.254.254.{own}", 30)
                namespace.add_address(name, f"fe80::{own}", 64)
                self._neighbors[vpc_id][name] = {"ip": f"169.254.254.{peer}", "ip6": f"fe80::{peer}"}
        self._apply(wanted, [])

    def _build_vpc(self, vpc: Vpc) -> None:
        namespace = self._vpcs[vpc.vpc_id] = _Namespace()
        devices = self._devices[vpc.vpc_id] = {}
        self._neighbors[vpc.vpc_id] = {INTERNET_DEVICE: {"ip": "192.0.2.1", "ip6": "2001:db8:fffe::1"}}
        self._tables[vpc.vpc_id] = set()
        for address in service_addresses(vpc):
            namespace.add_address("lo", address, ipaddress.ip_address(address).max_prefixlen)
        self._owners[f"{vpc.vpc_id}/{HOST}"] = namespace
        for cidr in (*vpc.cidrs, *vpc.ipv6_cidrs):
            namespace.add_route(cidr, type="blackhole", priority=4096)
        internet = self._internet[vpc.vpc_id] = _Namespace()
        _join(namespace, INTERNET_DEVICE, internet, "eth0")
        for one, device, last in ((namespace, INTERNET_DEVICE, 2), (internet, "eth0", 1)):
            one.add_address(device, f"192.0.2.{last}", 24)
            one.add_address(device, f"2001:db8:fffe::{last}", 64)
        for address in (INTERNET, INTERNET_IPV6):
            internet.add_address("lo", address, ipaddress.ip_address(address).max_prefixlen)
            self._owners[f"{vpc.vpc_id}/{address}"] = internet
        # Slirp would translate IPv6 addresses, too; here the ruleset's masquerade does.
        for number, interface in enumerate(vpc.interfaces.values(), 1):
            if interface.running:
                name = f"eni{number}"
                guest = self._build_guest(namespace, name, interface.attachment)
                self._guests[interface.interface_id] = guest
                devices[interface.interface_id] = name
                for address in _addresses(interface.attachment):
                    self._owners[f"{vpc.vpc_id}/{address}"] = guest

    def _build_guest(self, vpc: _Namespace, name: str, attachment: Any) -> _Namespace:
        guest = _Namespace()
        _join(vpc, name, guest, "eth0")
        mac = dict(guest.netlink.link("get", index=guest.index("eth0"))[0]["attrs"])["IFLA_ADDRESS"]
        vpc.enter()
        _set_sysctl(f"ipv4/conf/{name}/proxy_arp", 1)
        _set_sysctl(f"ipv4/neigh/{name}/proxy_delay", 0)
        subnet = ipaddress.ip_network(attachment.subnet)
        vpc.add_address(name, str(subnet[1]), subnet.prefixlen, flags=0x200)  # IFA_F_NOPREFIXROUTE
        if attachment.ipv6_subnet:
            vpc.add_address(name, str(ipaddress.ip_network(attachment.ipv6_subnet)[1]), 64, flags=0x200)
        for address in _addresses(attachment):
            bits = ipaddress.ip_address(address).max_prefixlen
            vpc.add_route(f"{address}/{bits}", name, **({} if ":" in address else {"scope": "link"}))
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            vpc.netlink.neigh("add", dst=address, lladdr=mac, ifindex=vpc.index(name), state="permanent", family=family)
            guest.add_address("eth0", address, 128 if ":" in address else subnet.prefixlen)
        guest.add_route("0.0.0.0/0", gateway=str(subnet[1]))
        if attachment.ipv6_addresses:
            gateway = str(ipaddress.ip_network(attachment.ipv6_subnet)[1])
            guest.add_route(f"{gateway}/128", "eth0")
            guest.add_route("::/0", gateway=gateway)
        return guest

    def apply(self, topology: dict[str, Any], faults: list[dict[str, Any]]) -> None:
        self._apply(topology_from(topology), [fault_from(fault.pop("fault_id"), fault) for fault in faults])

    def _apply(self, topology: Topology, faults: list[Fault]) -> None:
        from pycloudlib.local.network.namespaces.queues import set_queue

        for vpc in topology.vpcs.values():
            namespace, devices = self._vpcs[vpc.vpc_id], self._devices[vpc.vpc_id]
            self._route(vpc, namespace, devices)
            namespace.enter()
            wanted = ruleset(vpc, topology, devices, faults, HOST_PORTS)
            self._apply_ruleset(vpc.vpc_id, wanted)
            classes = shaping(vpc, topology, devices, faults)
            for device in (*devices.values(), INTERNET_DEVICE):
                set_queue(namespace.netlink, namespace.index(device), [asdict(one) for one in classes.get(device, [])])

    def _apply_ruleset(self, vpc_id: str, wanted: str) -> None:
        from pycloudlib.local.network.namespaces.nftables import Nftables

        if vpc_id not in self._large:
            try:
                _run_nft("-f", "-", commands=changes(self._rulesets.get(vpc_id, ""), wanted))
            except OSError as error:
                if os.strerror(errno.EMSGSIZE) not in str(error):
                    raise
                # An ordinary user's limit. From now on, the table has a substitute, in which changes find nothing.
                self._large[vpc_id] = Nftables()
        if vpc_id in self._large:
            self._large[vpc_id].apply(wanted)
        self._rulesets[vpc_id] = wanted

    def run_nft(self, commands: str) -> list[str]:
        """Run commands of nftables in a namespace without interfaces, and list what it then has."""
        _syscall("setns", self._home, _LIBC_NEWNET)
        _run_nft("-f", "-", commands=commands)
        sections = _run_nft("list", "ruleset").split("\n\t}\n")
        # The kernel lists the elements of sets in no order.
        words = (re.split(r"[\s,]+", section) for section in sections)
        return sorted(" ".join(one if "chain" in one[:3] else sorted(one)) for one in words)

    def _route(self, vpc: Vpc, namespace: _Namespace, devices: dict[str, str]) -> None:
        for number in self._tables[vpc.vpc_id]:
            for family in (socket.AF_INET, socket.AF_INET6):
                namespace.netlink.flush_routes(table=number, family=family)
                namespace.netlink.flush_rules(table=number, family=family)
        for subnet in routing(vpc, devices, self._neighbors[vpc.vpc_id]):
            self._tables[vpc.vpc_id].add(subnet.table)
            for family in (socket.AF_INET, socket.AF_INET6):
                namespace.netlink.rule("add", table=subnet.table, fwmark=subnet.mark, priority=100, family=family)
            for route in subnet.routes:
                _add_kernel_route(namespace, route, subnet.table)

    def probe(self, *, source: str, address: str, protocol: str, port: int, sender: str | None, seconds: float) -> bool:
        """Start a server where the address is, and let a client ask it."""
        client = self._socket(source, protocol, address, sender)
        server = self._server(source, address, protocol, port)
        with contextlib.ExitStack() as stack:
            stack.enter_context(client)
            if server is not None:
                stack.enter_context(server)
            if protocol == "icmp":
                return _ping(client, address, self._serial, seconds)
            if protocol == "udp":
                return _exchange(client, server, (address, port), seconds)
            return _connect(client, (address, port), seconds)

    def send(self, source: str, address: str, at: str | None, sender: str | None, seconds: float) -> bool:
        """Send a datagram, and look for it where it is to arrive."""
        receiver = self._guests[at] if at is not None else self._owner(source, address)
        assert receiver is not None
        receiver.enter()
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as heard:  # ETH_P_ALL
            heard.bind(("eth0", 0))
            client = self._socket(source, "udp", address, sender)
            with client:
                for _ in _attempts(seconds):
                    client.sendto(b"is there anybody", (address, 8080))
                    while _readable(heard, SILENCE):
                        if b"is there anybody" in heard.recv(65536):
                            return True
        return False

    def arrivals(self, source: str, address: str, count: int) -> int:
        client, server = self._socket(source, "udp", address, None), self._server(source, address, "udp", 8080)
        assert server is not None
        arrived = 0
        with client, server:
            for _ in range(count):
                client.sendto(b"counted", (address, 8080))
                arrived += sum(one == b"counted" for one in _received(server))
            # Packets stay in order: after the last one has arrived, no other is on its way.
            for _ in _attempts(PATIENCE):
                client.sendto(b"the last one", (address, 8080))
                _readable(server, SILENCE)
                received = _received(server)
                arrived += sum(one == b"counted" for one in received)
                if b"the last one" in received:
                    return arrived
        raise AssertionError("nothing arrives")

    def overflows(self, source: str, address: str) -> bool:
        client, server = self._socket(source, "udp", address, None), self._server(source, address, "udp", 8080)
        assert server is not None
        arrived, before, count = 0, self._dropped_by_queues(), 300
        with client, server:
            for _ in range(count):
                client.sendto(bytes(1400), (address, 8080))
                arrived += len(_received(server))
            for _ in _attempts(PATIENCE):
                _readable(server, SILENCE)
                arrived += len(_received(server))
                if self._dropped_by_queues() > before:
                    return True
                if arrived == count:
                    return False
        raise AssertionError(f"{arrived} of {count} datagrams arrived, and no queue dropped one")

    def round_trip(self, source: str, address: str) -> float:
        client, server = self._socket(source, "udp", address, None), self._server(source, address, "udp", 8080)
        assert server is not None
        with client, server:
            began = time.monotonic()
            client.sendto(b"hello", (address, 8080))
            server.sendto(*server.recvfrom(1000))
            client.recv(1000)
            return time.monotonic() - began

    def transfer(self, source: str, address: str, size: int) -> bool:
        assert self.connect(source, address, 8080)
        assert self._connection is not None
        client, server = self._connection
        self._connection = None
        left, arrived = memoryview(bytes(size)), 0
        with client, server:
            for _ in _attempts(PATIENCE):
                if left and select.select([], [client], [], 0)[1]:
                    left = left[client.send(left) :]
                if _readable(server, SILENCE):
                    arrived += len(server.recv(1 << 20))
                if arrived == size:
                    return True
        return False

    def _dropped_by_queues(self) -> int:
        queues = [queue for namespace in self._vpcs.values() for queue in namespace.netlink.get_qdiscs()]
        return sum(queue.get_nested("TCA_STATS2", "TCA_STATS_QUEUE")["drops"] for queue in queues)

    def connect(self, source: str, address: str, port: int) -> bool:
        client = self._socket(source, "tcp", address, None)
        server = self._server(source, address, "tcp", port)
        assert server is not None
        if not _connect(client, (address, port), PATIENCE):
            return False
        self._connection = client, server.accept()[0]
        return True

    def talk(self, seconds: float) -> bool:
        assert self._connection is not None
        client, server = self._connection
        client.send(b"x")
        return _readable(server, seconds) and bool(server.recv(1000))

    def _socket(self, source: str, protocol: str, address: str, sender: str | None) -> socket.socket:
        if source.startswith("host@"):
            self._vpcs[source.removeprefix("host@")].enter()
            sender = HOST
        else:
            self._guests[source].enter()
        client = _make_socket(protocol, address)
        if sender is not None:
            client.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
        # Ports in turn: an answered datagram leaves a connection, which would let through others with its port.
        self._serial += 1
        if sender is not None or protocol == "udp":
            port = 32768 + self._serial % 28000 if protocol == "udp" else 0
            client.bind((sender or ("::" if ":" in address else "0.0.0.0"), port))
        return client

    def _server(self, source: str, address: str, protocol: str, port: int) -> socket.socket | None:
        owner = self._owner(source, address)
        if owner is None or protocol == "icmp":
            return None
        owner.enter()
        server = _make_socket(protocol, address)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        if protocol == "tcp":
            server.listen()
        return server

    def _owner(self, source: str, address: str) -> _Namespace | None:
        """Return the guest, or the internet, that has an address as its client sees it."""
        own = next(
            (vpc_id for vpc_id, devices in self._devices.items() if source in devices), source.removeprefix("host@")
        )
        others = [vpc_id for vpc_id in self._vpcs if vpc_id != own]
        found = (self._owners.get(f"{vpc_id}/{address}") for vpc_id in (own, *others))
        return next((one for one in found if one is not None), None)


def _make_socket(protocol: str, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if protocol == "icmp":
        kind = socket.IPPROTO_ICMPV6 if ":" in address else socket.IPPROTO_ICMP
        return socket.socket(family, socket.SOCK_RAW, kind)
    return socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)


def _connect(client: socket.socket, address: tuple[str, int], seconds: float) -> bool:
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        client.connect(address)
    poll = select.poll()
    poll.register(client, select.POLLOUT)
    if not poll.poll(seconds * 1000):
        return False
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def _exchange(client: socket.socket, server: socket.socket | None, address: tuple[str, int], seconds: float) -> bool:
    for _ in _attempts(seconds):
        _send(client, b"hello", address)
        if server is not None and _readable(server, SILENCE):
            _send(server, b"hello", server.recvfrom(1000)[1])
            if _readable(client, SILENCE):
                return True
    return False


def _ping(client: socket.socket, address: str, number: int, seconds: float) -> bool:
    kind, reply = (128, 129) if ":" in address else (8, 0)
    # Of a message that is zero but for its type and its identifier; the kernel computes that of ICMPv6.
    checksum = 0 if ":" in address else ~((kind << 8) + number) & 0xFFFF
    for _ in _attempts(seconds):
        _send(client, struct.pack("!BBHHH", kind, 0, checksum, number, 0), (address, 0))
        while _readable(client, SILENCE):
            packet, sender = client.recvfrom(1000)
            message = packet if ":" in address else packet[(packet[0] & 15) * 4 :]
            if sender[0] == address and message[0] == reply:
                return True
    return False


def _send(one: socket.socket, message: bytes, address: Any) -> None:
    # Rules that drop the host's own packets are reported to it; guests learn nothing.
    with contextlib.suppress(PermissionError):
        one.sendto(message, address)


def _attempts(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    yield
    while time.monotonic() < end:
        yield


def _readable(one: socket.socket, seconds: float) -> bool:
    return bool(select.select([one], [], [], seconds)[0])


def _received(one: socket.socket) -> list[bytes]:
    """Return what has arrived already."""
    received = []
    while _readable(one, 0):
        received.append(one.recv(65536))
    return received


def _addresses(attachment: Any) -> list[str]:
    return [*(address.private_ip for address in attachment.addresses), *attachment.ipv6_addresses]


def _run_nft(*arguments: str, commands: str = "") -> str:
    done = subprocess.run([str(NFT), *arguments], input=commands, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr)
    return done.stdout


def _join(one: _Namespace, name: str, other: _Namespace, peer: str) -> None:
    one.enter()
    one.netlink.link("add", ifname=name, kind="veth", peer={"ifname": peer, "net_ns_fd": other.fd})
    one.up(name)
    other.up(peer)


def _add_kernel_route(namespace: _Namespace, route: KernelRoute, table: int) -> None:
    more: dict[str, Any] = {"table": table}
    if route.kind is not RouteKind.DEVICE:
        more["type"] = route.kind.value
    if route.via is not None:
        more |= {"gateway": route.via, "flags": ["onlink"]}
    elif route.device is not None and ":" not in route.cidr:
        more["scope"] = "link"
    namespace.add_route(route.cidr, route.device, **more)


def _set_sysctl(name: str, value: int) -> None:
    Path("/proc/sys/net", name).write_text(str(value), encoding="ascii")


def _syscall(name: str, *arguments: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _become_root() -> None:
    if os.geteuid() == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    _syscall("unshare", _LIBC_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")


def _main() -> None:
    _become_root()
    _syscall("unshare", _LIBC_NEWNET)
    lab = _Lab()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(lab, request["action"])(**request["arguments"])}
        except Exception as error:
            import traceback

            answer = {"error": f"{request['action']}: {error}\n{traceback.format_exc()}"}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    _main()
