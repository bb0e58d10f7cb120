"""The network namespace of one VPC, with its addresses, taps, and routes, for the helper only."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces import neighbor_proxy, peering, syscalls, taps
from pycloudlib.local.network.namespaces.neighbor_guard import neighbor_guard
from pycloudlib.local.network.namespaces.neighbor_proxy import NeighborProxy
from pycloudlib.local.network.namespaces.nftables import Nftables
from pycloudlib.local.network.namespaces.queues import set_queue
from pycloudlib.local.network.namespaces.service_addresses import HOST

logger = logging.getLogger(__name__)

GATEWAY_MAC = "0a:00:00:00:00:01"
"""The gateway's MAC address, as seen by every guest."""

JUMBO_MTU = 9001

UNASSIGNED_METRIC = 4096
"""The metric of blackhole routes to a VPC's CIDR blocks, which drop packets to unassigned addresses."""

FIRST_RULE = 1000
"""The priority of the rule for mark 0, between the kernel's own rules."""

HOST_TABLE = 900
"""The route table of processes in the namespace. The default source is the host's address."""
HOST_RULE = 900
"""The priority of the rule for that table; the rule before it excludes DHCP."""

_LOOPBACK_INDEX = 1
_DHCP_SERVER_PORT = 67
_MAIN_TABLE = 254
_RTNH_F_ONLINK = 4
_IFA_F_NODAD = 0x02
_IFA_F_NOPREFIXROUTE = 0x200
_IP_BIND_ADDRESS_NO_PORT = 24
_IP_TRANSPARENT = 19

_GONE = (errno.ENODEV, errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL)

# A new namespace inherits the host's IPv4 settings.
_SYSCTLS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/arp_ignore": "0",
    "ipv4/conf/default/arp_ignore": "0",
    "ipv4/conf/all/arp_filter": "0",
    "ipv4/conf/default/arp_filter": "0",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/conf/all/accept_redirects": "0",
    "ipv4/conf/default/accept_redirects": "0",
    # Allow the server's user to send echo requests from inside.
    "ipv4/ping_group_range": "0 0",
}
_IPV6_SYSCTLS = {
    "ipv6/conf/all/disable_ipv6": "0",
    "ipv6/conf/default/disable_ipv6": "0",
    "ipv6/conf/all/forwarding": "1",
    "ipv6/conf/default/accept_dad": "0",
}


@dataclass
class Tap:
    """An interface's end in the VPC.

    Args:
        name: the name of the network device.
        index: the index of the network device.
        mac: the guest's MAC address.
        addresses: the guest's addresses, which have routes to the device.
        gateways: the device's own addresses, such as "10.0.1.1/24".
    """

    name: str
    index: int
    mac: str
    addresses: set[str] = field(default_factory=set)
    gateways: set[str] = field(default_factory=set)


class VpcNamespace:
    """A network namespace with the services' addresses on its loopback device, and a tap per interface.

    The constructor and every method move the process into the namespace. The owner calls
    `neighbor_proxy.answer()` when `neighbor_proxy`, which is None without IPv6, is readable.

    Raises:
        NetlinkError, OSError: the kernel rejected a change.
    """

    def __init__(self) -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        with contextlib.ExitStack() as on_failure:
            self.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            on_failure.callback(os.close, self.fd)
            # A netlink socket stays in the namespace in which it was opened. No groups, since notifications are unused.
            self._netlink = IPRoute(groups=0)
            on_failure.callback(self._netlink.close)
            self.nftables = Nftables()
            self._taps: dict[str, Tap] = {}
            self._service_addresses: set[str] = set()
            self._cidrs: set[str] = set()
            self._public_cidr: str | None = None
            self._routes: dict[tuple[int, str], str] = {}
            self._marks: dict[int, int] = {}
            self._classes: dict[int, Sequence[Mapping[str, Any]]] = {}
            self._configure()
            self._guard_neighbors()
            self.neighbor_proxy = NeighborProxy(GATEWAY_MAC, neighbor_proxy.open_socket()) if self.has_ipv6 else None
            on_failure.pop_all()

    def _configure(self) -> None:
        for name, value in _SYSCTLS.items():
            set_sysctl(name, value)
        self.has_ipv6 = Path("/proc/sys/net/ipv6").exists()
        if self.has_ipv6:
            for name, value in _IPV6_SYSCTLS.items():
                set_sysctl(name, value)
        self._netlink.link("set", index=_LOOPBACK_INDEX, state="up")
        # dnsmasq sends from the gateway's address.
        dhcp = {"ip_proto": socket.IPPROTO_UDP, "sport_range": f"{_DHCP_SERVER_PORT}:{_DHCP_SERVER_PORT}"}
        self._netlink.rule("add", priority=HOST_RULE - 1, table=_MAIN_TABLE, family=socket.AF_INET, **dhcp)
        self._netlink.rule("add", priority=HOST_RULE, iifname="lo", table=HOST_TABLE, family=socket.AF_INET)

    def _guard_neighbors(self) -> None:
        for table in neighbor_guard(f"{taps.PREFIX}*", has_ipv6=self.has_ipv6):
            try:
                self.nftables.run(table)
            except LocalEC2Error as error:
                # Some kernels lack the tables of ARP. The network works without the guard.
                logger.warning("guests can fill the host's neighbor table: %s", error)

    def enter(self) -> None:
        """Move the process into this namespace."""
        syscalls.setns(self.fd, syscalls.CLONE_NEWNET)

    def set_service_addresses(self, addresses: Iterable[str]) -> None:
        """Set the addresses of the loopback device, in addition to its own."""
        desired = set(self._usable(addresses))
        for address in desired - self._service_addresses:
            self._netlink.addr("add", index=_LOOPBACK_INDEX, address=address, prefixlen=_bits(address))
            self._service_addresses.add(address)
        for address in self._service_addresses - desired:
            with _ignore_missing():
                self._netlink.addr("delete", index=_LOOPBACK_INDEX, address=address, prefixlen=_bits(address))
            self._service_addresses.remove(address)

    def set_cidrs(self, cidrs: Iterable[str]) -> None:
        """Drop packets to unassigned addresses of exactly these CIDR blocks."""
        desired = set(self._usable(cidrs))
        for cidr in desired - self._cidrs:
            self._netlink.route("add", dst=cidr, type="blackhole", priority=UNASSIGNED_METRIC, family=_family(cidr))
            self._cidrs.add(cidr)
        for cidr in self._cidrs - desired:
            with _ignore_missing():
                self._netlink.route("del", dst=cidr, type="blackhole", priority=UNASSIGNED_METRIC, family=_family(cidr))
            self._cidrs.remove(cidr)

    def set_public_cidr(self, cidr: str | None) -> None:
        """Make public addresses local to processes in the namespace, which listen on them. The block never changes."""
        if cidr is not None and self._public_cidr is None:
            local = {"type": "local", "oif": _LOOPBACK_INDEX, "scope": "host", "prefsrc": HOST}
            self._netlink.route("add", dst=cidr, table=HOST_TABLE, **local)
            self._public_cidr = cidr

    def add_interface(
        self, interface_id: str, name: str, mac: str, addresses: Sequence[str], gateways: Sequence[str]
    ) -> int:
        """Create an interface's tap, replacing a previous one.

        Returns:
            The tap's file descriptor; the tap is deleted when all copies are closed.
        """
        self.enter()
        self.remove_interface(interface_id)
        fd = taps.open_tun()
        try:
            taps.attach(fd, name)
            tap = Tap(name, socket.if_nametoindex(name), mac)
            # The kernel's default delays ARP replies by up to 0.8 s.
            set_sysctl(f"ipv4/neigh/{name}/proxy_delay", "0")
            set_sysctl(f"ipv4/conf/{name}/proxy_arp", "1")
            self._netlink.link("set", index=tap.index, mtu=JUMBO_MTU, address=GATEWAY_MAC, state="up")
            self._taps[interface_id] = tap
            self._assign(tap, addresses, gateways)
        except BaseException:
            self._forget(interface_id)
            os.close(fd)
            raise
        return fd

    def interface_of(self, device: str) -> str | None:
        """Return the interface of a tap, such as "eni7"; None if there is no such tap."""
        return next((interface_id for interface_id, tap in self._taps.items() if tap.name == device), None)

    def change_interface(self, interface_id: str, addresses: Sequence[str], gateways: Sequence[str]) -> bool:
        """Set the addresses of an interface.

        Returns:
            Whether its tap still exists.
        """
        tap = self._taps.get(interface_id)
        if tap is None:
            return False
        try:
            self._assign(tap, addresses, gateways)
        except NetlinkError as error:
            if error.code not in _GONE:
                raise
            self._forget(interface_id)
            return False
        return True

    def remove_interface(self, interface_id: str) -> None:
        """Remove an interface's tap. No-op if there is none."""
        tap = self._forget(interface_id)
        if tap is not None:
            self._classes.pop(tap.index, None)
            with _ignore_missing():
                self._netlink.link("del", index=tap.index)

    def _forget(self, interface_id: str) -> Tap | None:
        tap = self._taps.pop(interface_id, None)
        if tap is not None and self.neighbor_proxy is not None:
            self.neighbor_proxy.remove(tap.name)
        return tap

    def _assign(self, tap: Tap, addresses: Sequence[str], gateways: Sequence[str]) -> None:
        wanted_gateways = set(self._usable(gateways))
        for gateway in wanted_gateways - tap.gateways:
            self._add_gateway(tap, gateway)
            tap.gateways.add(gateway)
        for gateway in tap.gateways - wanted_gateways:
            address, bits = gateway.split("/")
            with _ignore_missing():
                self._netlink.addr("delete", index=tap.index, address=address, prefixlen=int(bits))
            tap.gateways.remove(gateway)
        desired = set(self._usable(addresses))
        for address in desired - tap.addresses:
            self._add_address(tap, address)
            tap.addresses.add(address)
        for address in tap.addresses - desired:
            self._remove_address(tap, address)
            tap.addresses.remove(address)
        if self.neighbor_proxy is not None:
            self.neighbor_proxy.assign(tap.name, tap.gateways, tap.addresses)

    def _add_gateway(self, tap: Tap, gateway: str) -> None:
        address, bits = gateway.split("/")
        # Every tap of a subnet has the gateway address: a route for the prefix would lead to a single tap.
        flags = _IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if ":" in address else 0)
        self._netlink.addr("replace", index=tap.index, address=address, prefixlen=int(bits), flags=flags)

    def _add_address(self, tap: Tap, address: str) -> None:
        route = _route_to(address, tap.index)
        # Replace, because the address's previous interface may lose it later.
        self._netlink.route("replace", **route)
        if self._is_seen_from_host(address):
            self._netlink.route("replace", table=HOST_TABLE, prefsrc=HOST, **route)
        # Without ARP, packets to an unresponsive guest are dropped silently, as on EC2, without "no route to host".
        self._netlink.neigh(
            "replace", dst=address, lladdr=tap.mac, ifindex=tap.index, state="permanent", family=_family(address)
        )

    def _remove_address(self, tap: Tap, address: str) -> None:
        route = _route_to(address, tap.index)
        with _ignore_missing():
            self._netlink.route("del", **route)
        if self._is_seen_from_host(address):
            with _ignore_missing():
                self._netlink.route("del", table=HOST_TABLE, **route)
        with _ignore_missing():
            self._netlink.neigh("del", dst=address, ifindex=tap.index, family=_family(address))

    def _is_seen_from_host(self, address: str) -> bool:
        """Return whether processes in the namespace reach an address from the host's address."""
        return ":" not in address and HOST in self._service_addresses

    def _usable(self, addresses: Iterable[str]) -> Iterator[str]:
        """Omit IPv6 addresses if the kernel lacks IPv6."""
        return (address for address in addresses if self.has_ipv6 or ":" not in address)

    def apply_routing(self, tables: Sequence[Mapping[str, Any]]) -> None:
        """Route marked packets by the tables of their marks only.

        A route with a missing device drops packets until the next call.

        Args:
            tables: the tables as JSON; see SubnetRouting.
        """
        desired = {
            (table["table"], route["cidr"]): route
            for table in tables
            for route in table["routes"]
            if self.has_ipv6 or ":" not in route["cidr"]
        }
        for (number, cidr), route in desired.items():
            self._netlink.route("replace", dst=cidr, table=number, family=_family(cidr), **self._action(route))
            self._routes[number, cidr] = route["kind"]
        marks = {table["mark"]: table["table"] for table in tables if table["mark"] is not None}
        for mark in marks.keys() - self._marks.keys():
            self._rule("add", mark, marks[mark])
            self._marks[mark] = marks[mark]
        for mark in self._marks.keys() - marks.keys():
            self._rule("del", mark, self._marks.pop(mark))
        for number, cidr in self._routes.keys() - desired.keys():
            with _ignore_missing():
                self._netlink.route("del", dst=cidr, table=number, family=_family(cidr))
            del self._routes[number, cidr]

    def _action(self, route: Mapping[str, Any]) -> dict[str, Any]:
        """Return the netlink attributes of a route's action."""
        if route["kind"] != "device":
            return {"type": route["kind"]}
        try:
            index = socket.if_nametoindex(route["device"])
        except OSError:
            return {"type": "blackhole"}
        if route["via"] is None:
            return {"oif": index}
        return {"oif": index, "gateway": route["via"], "flags": _RTNH_F_ONLINK}

    def _rule(self, action: str, mark: int, table: int) -> None:
        for family in (socket.AF_INET, socket.AF_INET6) if self.has_ipv6 else (socket.AF_INET,):
            with _ignore_missing():
                self._netlink.rule(action, priority=FIRST_RULE + mark, fwmark=mark, table=table, family=family)

    def set_ipv6_address(self, device: str, address: str) -> None:
        """Assign an IPv6 address, such as "fd00::100/64", to a device. No-op if the device does not exist."""
        self.enter()
        if not self.has_ipv6:
            return
        host, bits = address.split("/")
        with contextlib.suppress(OSError), _ignore_missing():
            index = socket.if_nametoindex(device)
            self._netlink.addr("replace", index=index, address=host, prefixlen=int(bits), flags=_IFA_F_NODAD)

    def connect(self, other: VpcNamespace, device: str, *, accept_local: bool = False) -> None:
        """Connect both namespaces with a veth pair of this name.

        Args:
            other: the other namespace.
            device: the name of both devices.
            accept_local: whether to accept packets from local addresses of the namespace; default no.
        """
        self.enter()
        self._netlink.link("add", ifname=device, kind="veth", peer={"ifname": device, "net_ns_fd": other.fd})
        own_mac, peer_mac = peering.MACS
        for namespace, mac, neighbor_mac in ((self, own_mac, peer_mac), (other, peer_mac, own_mac)):
            namespace.enter()
            index = socket.if_nametoindex(device)
            netlink = namespace._netlink
            netlink.link("set", index=index, mtu=JUMBO_MTU, address=mac, state="up")
            if accept_local:
                # Public addresses of other VPCs are local to the processes here; see set_public_cidr().
                set_sysctl(f"ipv4/conf/{device}/accept_local", "1")
            for neighbor in peering.NEIGHBORS.values():
                if namespace.has_ipv6 or ":" not in neighbor:
                    netlink.neigh(
                        "replace",
                        dst=neighbor,
                        lladdr=neighbor_mac,
                        ifindex=index,
                        state="permanent",
                        family=_family(neighbor),
                    )

    def disconnect(self, device: str) -> None:
        """Remove a veth pair. No-op if it does not exist."""
        self.enter()
        with contextlib.suppress(OSError), _ignore_missing():
            self._netlink.link("del", index=socket.if_nametoindex(device))

    def open_socket(self, kind: str, *, ipv6: bool, bind: tuple[str, int] | None, backlog: int) -> socket.socket:
        """Create a socket in this namespace.

        Args:
            kind: "tcp" or "udp".
            ipv6: the address family.
            bind: the address and port to bind; None to leave the socket unbound.
            backlog: the backlog of a TCP listener; 0 for no listener.
        """
        self.enter()
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if bind is not None and bind[1] == 0 and not backlog and kind == "tcp":
                # The kernel chooses the port at connect(), so that one port serves several destinations.
                opened.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            if bind is not None and self._is_public(bind[0]):
                # The address is on no device, so that guests' packets to it are routed.
                opened.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
            if bind is not None:
                opened.bind(bind)
            if backlog:
                opened.listen(backlog)
        except BaseException:
            opened.close()
            raise
        return opened

    def _is_public(self, address: str) -> bool:
        return self._public_cidr is not None and ipaddress.ip_address(address) in ipaddress.ip_network(
            self._public_cidr
        )

    def apply_ruleset(self, ruleset: str) -> None:
        """Apply a ruleset that replaces its table.

        Raises:
            LocalEC2Error: nftables rejected the ruleset, and changed nothing.
        """
        self.enter()
        self.nftables.apply(ruleset)

    def apply_shaping(self, device: str, classes: Sequence[Mapping[str, Any]]) -> None:
        """Set the traffic classes of a device. No-op if the device does not exist.

        Args:
            device: the name of the device.
            classes: the traffic classes as JSON; see TrafficClass.
        """
        self.enter()
        try:
            index = socket.if_nametoindex(device)
        except OSError:
            return
        before = self._classes.pop(index, ())
        try:
            set_queue(self._netlink, index, classes, before)
            self._classes[index] = classes
        except NetlinkError as error:
            # Other errors of _GONE can mean that the kernel lacks a queueing discipline.
            if error.code != errno.ENODEV:
                raise

    def close(self) -> None:
        """Release the namespace, which the kernel deletes with its last tap and socket."""
        for interface_id in list(self._taps):
            self.remove_interface(interface_id)
        if self.neighbor_proxy is not None:
            self.neighbor_proxy.close()
        self.nftables.close()
        self._netlink.close()
        os.close(self.fd)


def set_sysctl(name: str, value: str) -> None:
    """Set a sysctl of the process's network namespace.

    Args:
        name: the path below "net", such as "ipv4/ip_forward".
        value: the value.
    """
    Path("/proc/sys/net", name).write_text(value, encoding="ascii")


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _route_to(address: str, device: int) -> dict[str, Any]:
    """Return the route to an address behind a device, with the scope that deleting it requires."""
    scope = {} if ":" in address else {"scope": "link"}
    return {"dst": f"{address}/{_bits(address)}", "oif": device, "family": _family(address), **scope}


def _bits(address: str) -> int:
    return ipaddress.ip_address(address).max_prefixlen


@contextlib.contextmanager
def _ignore_missing() -> Iterator[None]:
    """Ignore errors about missing objects, which were deleted with their tap."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in _GONE:
            raise
