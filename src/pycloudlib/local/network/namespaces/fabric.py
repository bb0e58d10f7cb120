"""Apply topologies to the kernel's networks: the server's side of the namespaces network driver."""

from __future__ import annotations

import functools
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.attachment import NetworkAttachment
from pycloudlib.local.network.namespaces import peering, slirp, taps
from pycloudlib.local.network.namespaces.dnsmasq import dnsmasq_settings
from pycloudlib.local.network.namespaces.entrance import Entrance
from pycloudlib.local.network.namespaces.exchange import exchange_routing
from pycloudlib.local.network.namespaces.helper_client import HelperClient
from pycloudlib.local.network.namespaces.host_names import domain_of
from pycloudlib.local.network.namespaces.routing import EXCHANGE, SubnetRouting, routing
from pycloudlib.local.network.namespaces.ruleset import ruleset
from pycloudlib.local.network.namespaces.ruleset_changes import changes
from pycloudlib.local.network.namespaces.service_addresses import (
    HOST,
    gateway_addresses,
    resolver_of,
    service_addresses,
)
from pycloudlib.local.network.namespaces.shaping import TrafficClass
from pycloudlib.local.network.namespaces.slirp import Slirp
from pycloudlib.local.network.topology import Peering, Topology, Vpc

logger = logging.getLogger(__name__)

Ruleset = Callable[[Vpc, Topology, Mapping[str, str]], str]
"""Composes a VPC's nftables commands, which replace its previous ruleset; see ruleset.ruleset()."""

Shaping = Callable[[Vpc, Topology, Mapping[str, str]], Mapping[str, Sequence[TrafficClass]]]
"""Returns the traffic classes of a VPC's devices, by device; see shaping.shaping()."""

BACKLOG = 128
"""The backlog of a listening socket."""


def _no_shaping(_vpc: Vpc, _topology: Topology, _devices: Mapping[str, str]) -> Mapping[str, Sequence[TrafficClass]]:
    return {}


def _warn_of_hidden_networks(vpc: Vpc) -> None:
    hidden = ", ".join(slirp.hidden_networks(vpc.cidrs, slirp.host_routes()))
    if hidden:
        logger.warning(
            "%s has addresses of the host's network %s, which its instances do not reach; "
            "use another CIDR block if they need it",
            vpc.vpc_id,
            hidden,
        )


def _ignore(_: str) -> None:
    """Do nothing."""


@dataclass
class _LiveVpc:
    """A VPC with a namespace, and the configuration last applied to the kernel."""

    namespace_fd: int = -1
    configuration: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    addressing: dict[str, dict[str, Any]] = field(default_factory=dict)
    internet: Slirp | None = None
    exchange: str | None = None
    dnsmasq: dict[str, Any] | None = None
    routing: list[dict[str, Any]] = field(default_factory=list)
    ruleset: str = ""
    shaping: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def forget_internet_device(self) -> None:
        """Clear the state that was lost with the internet device."""
        self.routing.clear()
        self.shaping.pop(slirp.DEVICE, None)


class Fabric:
    """The networks of all VPCs in use by machines. Thread-safe.

    The topology is the desired state: apply() takes a complete topology after each change of the records. A VPC's
    namespace is created with its first interface or socket, and deleted with the VPC. add_interface() creates an
    interface's tap when its machine starts, or when it is hot-plugged. Until remove_interface(), apply() keeps its
    addresses up to date.

    If the helper is killed, all taps are lost: `on_lost` is called, and the next add_interface() starts from scratch.

    Args:
        directory: the absolute path of an existing directory, for logs and files of the helper and its programs.
        ruleset: composes the nftables commands of a VPC; default ruleset.ruleset(), without faults and host ports.
        shaping: returns the traffic classes of a VPC's devices; default none.
        public_cidr: the CIDR block of public addresses that machines can reach; by default, public addresses are
            loopback addresses of the host.
        on_open: called with a VPC's id after its namespace was created or recreated, before the first interface is
            connected, to open sockets with listen(). Called in the calling thread; may call this object.
        on_close: called with a VPC's id after its namespace was deleted, to close those sockets.
        on_lost: called with the reason after the helper exited, in a separate thread, after on_close for each VPC.
            Machines have no network afterwards.

    Raises:
        LocalEC2Error: by every method: the kernel or a program reported an error, or the helper has exited.
    """

    def __init__(
        self,
        directory: Path,
        ruleset: Ruleset = ruleset,
        *,
        shaping: Shaping = _no_shaping,
        public_cidr: str | None = None,
        on_open: Callable[[str], object] = _ignore,
        on_close: Callable[[str], object] = _ignore,
        on_lost: Callable[[str], object] = _ignore,
    ) -> None:
        self._directory = directory
        self._ruleset = ruleset
        self._shaping = shaping
        self._public_cidr = public_cidr
        self._on_open = on_open
        self._on_close = on_close
        self._on_lost = on_lost
        self._lock = threading.RLock()
        self._topology = Topology()
        self._vpcs: dict[str, _LiveVpc] = {}
        self._helper: HelperClient | None = None
        self._closed = False
        self._last_device = 0
        self._peerings: dict[str, tuple[Peering, str]] = {}
        self._exchange_routing: dict[str, Any] | None = None
        # The kernel kills the helper when the thread that started it exits: this thread lives as long as the fabric.
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="network-spawner")

    def program_pids(self, vpc_id: str) -> dict[str, int | None]:
        """Return the process ids of a VPC's programs, by "dnsmasq" and "slirp4netns"; empty without a namespace."""
        with self._lock:
            live = self._vpcs.get(vpc_id)
            if live is None:
                return {}
            return {
                "dnsmasq": self._call("dnsmasq_pid", vpc_id)[0],
                "slirp4netns": live.internet.pid if live.internet is not None else None,
            }

    @property
    def helper_pid(self) -> int | None:
        """The helper's process id; None if it is not running."""
        helper = self._helper
        return helper.pid if helper is not None else None

    def apply(self, topology: Topology) -> None:
        """Apply a topology to every VPC with a namespace, and to every interface with a tap.

        Failed changes do not prevent others. Idempotent: call it again to retry.

        Args:
            topology: the topology of all regions.
        """
        with self._lock:
            self._topology = topology
            deleted = [vpc_id for vpc_id in self._vpcs if vpc_id not in topology.vpcs]
            _attempt_each(
                *(functools.partial(self._delete, vpc_id) for vpc_id in deleted),
                self._sync_peerings,
                self._route_exchange,
                *(functools.partial(self._update, vpc_id) for vpc_id in self._vpcs if vpc_id not in deleted),
            )

    def reapply(self) -> None:
        """Apply the topology again, after a change of another input of the ruleset."""
        with self._lock:
            self.apply(self._topology)

    def add_interface(self, interface_id: str) -> int:
        """Create an interface's tap, with its addresses and rules in the topology.

        An existing tap of the interface is replaced.

        Args:
            interface_id: an interface of the topology.

        Returns:
            The file descriptor for QEMU's `-netdev tap,fd=`, which the caller owns. Close it once QEMU has a copy, so
            that the tap is deleted when QEMU exits.
        """
        with self._lock:
            vpc, attachment = self._find(interface_id)
            live = self._open(vpc)
            self._last_device += 1
            name = f"{taps.PREFIX}{self._last_device}"
            addressing = _addressing(attachment)
            _, fds = self._call(
                "add_interface",
                vpc.vpc_id,
                interface_id=interface_id,
                name=name,
                mac=attachment.mac,
                **addressing,
            )
            try:
                live.devices[interface_id] = name
                live.addressing[interface_id] = addressing
                self._apply_routing(vpc, live)
                self._apply_ruleset(vpc, live)
            except BaseException:
                os.close(fds[0])
                self.remove_interface(interface_id)
                raise
            return fds[0]

    def remove_interface(self, interface_id: str) -> None:
        """Remove an interface's tap and its rules. No-op without a tap."""
        with self._lock:
            for vpc_id, live in self._vpcs.items():
                if interface_id in live.devices:
                    del live.devices[interface_id], live.addressing[interface_id]
                    self._call("remove_interface", vpc_id, interface_id=interface_id)
                    if vpc_id in self._topology.vpcs:
                        self._apply_ruleset(self._topology.vpcs[vpc_id], live)
                    return

    def missing_queues(self, kinds: Sequence[str]) -> list[str]:
        """Return the queueing disciplines that this kernel lacks.

        Args:
            kinds: "htb", "tbf", or "netem".
        """
        with self._lock:
            missing: list[str] = self._call("missing_queues", "", kinds=list(kinds))[0]
            return missing

    def device(self, interface_id: str) -> str | None:
        """Return the name of an interface's tap, such as "eni7"; None if it has none."""
        with self._lock:
            return next(
                (live.devices[interface_id] for live in self._vpcs.values() if interface_id in live.devices), None
            )

    def listen(self, vpc_id: str, address: str, port: int, kind: str = "tcp") -> socket.socket:
        """Return a listening socket inside a VPC. Ports below 1024 need no privileges.

        Args:
            vpc_id: a VPC of the topology.
            address: the IPv4 or IPv6 address of a service of the VPC; see service_addresses.
            port: the port.
            kind: "tcp" (the default), or "udp" for a bound datagram socket.
        """
        return self._open_socket(vpc_id, kind, (address, port), BACKLOG if kind == "tcp" else 0)

    def client_socket(self, vpc_id: str, kind: str = "tcp") -> socket.socket:
        """Return a socket inside a VPC that connects from the host's address.

        Args:
            vpc_id: a VPC of the topology.
            kind: "tcp" (the default) or "udp".
        """
        return self._open_socket(vpc_id, kind, (HOST, 0), 0)

    def entrance(self, vpc_id: str) -> Entrance:
        """Return the entrance by which another process of this user enters a VPC.

        Args:
            vpc_id: a VPC of the topology.
        """
        with self._lock:
            vpc = self._require(vpc_id)
            live = self._open(vpc)
            helper = self._helper
            assert helper is not None  # noqa: S101  (the VPC has a namespace)
            resolv_conf = self._directory / f"resolv-{vpc_id}.conf"
            resolv_conf.write_text(f"nameserver {resolver_of(vpc)}\nsearch {domain_of(vpc)}\n", encoding="ascii")
            # The command may change its user id.
            resolv_conf.chmod(0o644)
            return Entrance(vpc_id, helper.pid, live.namespace_fd, str(resolv_conf))

    def _open_socket(self, vpc_id: str, kind: str, bind: tuple[str, int], backlog: int) -> socket.socket:
        with self._lock:
            self._open(self._require(vpc_id))
            _, fds = self._call("open_socket", vpc_id, kind=kind, ipv6=":" in bind[0], bind=bind, backlog=backlog)
        return socket.socket(fileno=fds[0])

    def close(self) -> None:
        """Delete every network."""
        with self._lock:
            self._closed = True
            helper, self._helper = self._helper, None
            closed = self._forget_vpcs()
        # Do not hold the lock: the helper's watcher may be waiting for it.
        if helper is not None:
            helper.close()
        self._spawner.shutdown()
        for vpc_id in closed:
            self._on_close(vpc_id)

    def _require(self, vpc_id: str) -> Vpc:
        vpc = self._topology.vpcs.get(vpc_id)
        if vpc is None:
            raise LocalEC2Error(f"unknown VPC {vpc_id!r}")
        return vpc

    def _find(self, interface_id: str) -> tuple[Vpc, NetworkAttachment]:
        vpc = self._topology.vpc_of(interface_id)
        if vpc is None:
            raise LocalEC2Error(f"unknown network interface {interface_id!r}")
        return vpc, vpc.interfaces[interface_id].attachment

    def _open(self, vpc: Vpc) -> _LiveVpc:
        """Return a VPC with its namespace, which is created if necessary."""
        live = self._vpcs.get(vpc.vpc_id)
        if live is None:
            live = self._vpcs[vpc.vpc_id] = _LiveVpc()
            try:
                self._configure(vpc, live)
                self._sync_peerings()
                self._join_exchange(vpc.vpc_id, live)
                self._update(vpc.vpc_id)
                self._on_open(vpc.vpc_id)
            except BaseException:
                self._delete(vpc.vpc_id)
                raise
        return live

    def _update(self, vpc_id: str) -> None:
        vpc, live = self._topology.vpcs[vpc_id], self._vpcs[vpc_id]
        self._configure(vpc, live)
        self._connect_to_internet(vpc, live)
        for interface_id in list(live.devices):
            if interface_id in vpc.interfaces:
                self._change_interface(vpc, live, interface_id)
            else:
                self.remove_interface(interface_id)
        self._configure_dnsmasq(vpc, live)
        self._apply_routing(vpc, live)
        self._apply_ruleset(vpc, live)

    def _configure(self, vpc: Vpc, live: _LiveVpc) -> None:
        public = [self._public_cidr] if self._public_cidr is not None else []
        configuration = {
            "cidrs": [*vpc.cidrs, *vpc.ipv6_cidrs, *public],
            "service_addresses": service_addresses(vpc),
            "public_cidr": self._public_cidr,
        }
        if configuration != live.configuration:
            _warn_of_hidden_networks(vpc)
            result, _ = self._call("configure_vpc", vpc.vpc_id, **configuration)
            live.namespace_fd = result["namespace_fd"]
            live.configuration = configuration

    def _connect_to_internet(self, vpc: Vpc, live: _LiveVpc) -> None:
        if live.internet is not None and not slirp.overlaps(live.internet.network, vpc.cidrs):
            return
        if live.internet is not None:
            live.internet.close()
            live.internet = None
        helper = self._helper
        assert helper is not None  # noqa: S101  (the VPC has a namespace)
        process = Path(f"/proc/{helper.pid}")
        live.internet = Slirp(
            process / "fd" / str(live.namespace_fd),
            None if os.geteuid() == 0 else process / "ns" / "user",
            slirp.choose_network(
                [*vpc.cidrs, *([self._public_cidr] if self._public_cidr is not None else [])], slirp.host_routes()
            ),
            log=self._directory / f"slirp4netns-{vpc.vpc_id}.log",
            on_restart=functools.partial(self._on_internet_restart, vpc.vpc_id),
        )
        live.forget_internet_device()
        self._call("set_ipv6_address", vpc.vpc_id, device=slirp.DEVICE, address=slirp.ADDRESS_IPV6)

    def _on_internet_restart(self, vpc_id: str) -> None:
        """Restore the routes and the queue that were deleted with the device."""
        with self._lock:
            live, vpc = self._vpcs.get(vpc_id), self._topology.vpcs.get(vpc_id)
            if live is not None and vpc is not None:
                live.forget_internet_device()
                try:
                    self._call("set_ipv6_address", vpc_id, device=slirp.DEVICE, address=slirp.ADDRESS_IPV6)
                    self._apply_routing(vpc, live)
                    self._apply_shaping(vpc, live)
                except LocalEC2Error as error:
                    logger.error("no route to the internet: %s", error)

    def _configure_dnsmasq(self, vpc: Vpc, live: _LiveVpc) -> None:
        upstream = slirp.resolver_of(live.internet.network) if live.internet is not None else None
        settings = dnsmasq_settings(vpc, upstream, self._public_cidr).to_document()
        if settings != live.dnsmasq:
            self._call("configure_dnsmasq", vpc.vpc_id, settings=settings)
            live.dnsmasq = settings

    def _apply_routing(self, vpc: Vpc, live: _LiveVpc) -> None:
        devices = self._devices(vpc.vpc_id, live)
        neighbors: dict[str, Mapping[str, str]] = {device: peering.NEIGHBORS for _, device in self._peerings.values()}
        if live.exchange is not None:
            neighbors[live.exchange] = peering.NEIGHBORS
        if live.internet is not None:
            neighbors[slirp.DEVICE] = {
                "ip": slirp.gateway_of(live.internet.network),
                "ip6": slirp.GATEWAY_IPV6,
            }
        tables = [_routing_document(table) for table in routing(vpc, devices, neighbors, self._public_cidr)]
        if tables != live.routing:
            self._call("apply_routing", vpc.vpc_id, tables=tables)
            live.routing = tables

    def _devices(self, vpc_id: str, live: _LiveVpc) -> dict[str, str]:
        """Return the names of a VPC's devices, by the id of the interface or peering connection."""
        peerings = {
            peering_id: device
            for peering_id, (connection, device) in self._peerings.items()
            if vpc_id in connection.vpc_ids
        }
        exchange = {EXCHANGE: live.exchange} if live.exchange is not None else {}
        return {**live.devices, **peerings, **exchange}

    def _join_exchange(self, vpc_id: str, live: _LiveVpc) -> None:
        """Connect a new VPC to the exchange, which is created for the first VPC."""
        if self._public_cidr is None:
            return
        if self._exchange_routing is None:
            # The exchange drops packets to unassigned public addresses.
            self._call("configure_vpc", EXCHANGE, cidrs=[self._public_cidr], service_addresses=[])
            self._exchange_routing = {}
        self._last_device += 1
        device = f"pub{self._last_device}"
        self._call("connect_vpcs", vpc_id, other_id=EXCHANGE, device=device, accept_local=True)
        live.exchange = device
        self._route_exchange()

    def _route_exchange(self) -> None:
        """Route each public address to its VPC."""
        if self._exchange_routing is None:
            return
        devices = {vpc_id: live.exchange for vpc_id, live in self._vpcs.items() if live.exchange is not None}
        table = _routing_document(exchange_routing(self._topology, devices))
        if table != self._exchange_routing:
            self._call("apply_routing", EXCHANGE, tables=[table])
            self._exchange_routing = table

    def _sync_peerings(self) -> None:
        """Connect peered VPCs that have namespaces, and disconnect all others."""
        connections = {
            peering_id: connection
            for peering_id, connection in self._topology.peerings.items()
            if all(vpc_id in self._vpcs and self._vpcs[vpc_id].configuration for vpc_id in connection.vpc_ids)
        }
        for peering_id in [connected for connected in self._peerings if connected not in connections]:
            self._disconnect(peering_id)
        for peering_id in [connected for connected in connections if connected not in self._peerings]:
            requester_id, accepter_id = connections[peering_id].vpc_ids
            self._last_device += 1
            device = f"pcx{self._last_device}"
            self._call("connect_vpcs", requester_id, other_id=accepter_id, device=device)
            self._peerings[peering_id] = (connections[peering_id], device)
            for vpc_id in (requester_id, accepter_id):
                self._apply_routing(self._topology.vpcs[vpc_id], self._vpcs[vpc_id])
                self._apply_ruleset(self._topology.vpcs[vpc_id], self._vpcs[vpc_id])

    def _disconnect(self, peering_id: str) -> None:
        connection, device = self._peerings.pop(peering_id)
        self._call("disconnect_vpcs", connection.vpc_ids[0], device=device)

    def _change_interface(self, vpc: Vpc, live: _LiveVpc, interface_id: str) -> None:
        addressing = _addressing(vpc.interfaces[interface_id].attachment)
        if addressing != live.addressing[interface_id]:
            # The tap may have been deleted with its machine already, before remove_interface() is called.
            self._call("change_interface", vpc.vpc_id, interface_id=interface_id, **addressing)
            live.addressing[interface_id] = addressing

    def _apply_shaping(self, vpc: Vpc, live: _LiveVpc) -> None:
        classes = self._shaping(vpc, self._topology, self._devices(vpc.vpc_id, live))
        desired = {
            device: [asdict(traffic_class) for traffic_class in device_classes]
            for device, device_classes in classes.items()
        }
        for device in {**live.shaping, **desired}:
            if desired.get(device) != live.shaping.get(device):
                # Pop the classes first: if the call fails, the device has no queue.
                live.shaping.pop(device, None)
                self._call("apply_shaping", vpc.vpc_id, device=device, classes=desired.get(device, []))
                if device in desired:
                    live.shaping[device] = desired[device]

    def _apply_ruleset(self, vpc: Vpc, live: _LiveVpc) -> None:
        ruleset = self._ruleset(vpc, self._topology, self._devices(vpc.vpc_id, live))
        if ruleset != live.ruleset:
            try:
                self._call("apply_ruleset", vpc.vpc_id, ruleset=changes(live.ruleset, ruleset))
            except LocalEC2Error:
                # A ruleset too large for one transaction is in another table, to which changes do not apply.
                self._call("apply_ruleset", vpc.vpc_id, ruleset=ruleset)
            live.ruleset = ruleset
        # Last, because rules are more important.
        self._apply_shaping(vpc, live)

    def _delete(self, vpc_id: str) -> None:
        live = self._vpcs.pop(vpc_id)
        if live.internet is not None:
            live.internet.close()
        try:
            for peering_id in [key for key, (connection, _) in self._peerings.items() if vpc_id in connection.vpc_ids]:
                self._disconnect(peering_id)
            if live.exchange is not None:
                self._call("disconnect_vpcs", vpc_id, device=live.exchange)
                self._route_exchange()
            self._call("delete_vpc", vpc_id)
        finally:
            self._on_close(vpc_id)

    def _forget_vpcs(self) -> list[str]:
        """Forget the VPCs that were lost with the helper, and stop the remaining programs; return the VPC ids."""
        for live in self._vpcs.values():
            if live.internet is not None:
                live.internet.close()
        vpc_ids = list(self._vpcs)
        self._vpcs.clear()
        self._peerings.clear()
        self._exchange_routing = None
        return vpc_ids

    def _call(self, command: str, vpc_id: str, **arguments: Any) -> tuple[Any, list[int]]:
        if self._closed:
            raise LocalEC2Error("the network is closed")
        if self._helper is None:
            self._helper = self._spawner.submit(self._start_helper).result()
        return self._helper.call(command, vpc_id, **arguments)

    def _start_helper(self) -> HelperClient:
        return HelperClient(self._directory, self._on_helper_end)

    def _on_helper_end(self, helper: HelperClient, reason: str) -> None:
        with self._lock:
            if self._helper is not helper:
                return
            self._helper = None
            lost = self._forget_vpcs()
        logger.error("%s: machines have lost their network", reason)
        for vpc_id in lost:
            self._on_close(vpc_id)
        self._on_lost(reason)


def _routing_document(table: SubnetRouting) -> dict[str, Any]:
    routes = [{**asdict(route), "kind": route.kind.value} for route in table.routes]
    return {"mark": table.mark, "table": table.table, "routes": routes}


def _attempt_each(*actions: Callable[[], object]) -> None:
    """Attempt every action, then raise all errors."""
    errors: list[LocalEC2Error] = []
    for action in actions:
        try:
            action()
        except LocalEC2Error as error:
            errors.append(error)
    if errors:
        raise LocalEC2Error("; ".join(str(error) for error in errors)) from errors[0]


def _addressing(attachment: NetworkAttachment) -> dict[str, Any]:
    addresses = [address.private_ip for address in attachment.addresses]
    return {
        "addresses": [*addresses, *attachment.ipv6_addresses],
        "gateways": gateway_addresses(attachment.subnet, attachment.ipv6_subnet),
    }
