"""VPC networking for machines: taps in network namespaces, and a shared metadata service per VPC."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pycloudlib.deadline import Deadline
from pycloudlib.errors import LocalEC2Error, MachineError, PycloudlibTimeoutError
from pycloudlib.local.machines.qemu_interfaces import QemuInterface, QemuNetwork, TapInterface
from pycloudlib.local.network.attachment import NetworkAttachment
from pycloudlib.local.network.faults import DELAY, RATE, Fault, NetworkFaults
from pycloudlib.local.network.metadata import InstanceMetadata
from pycloudlib.local.network.metadata_server import MetadataSource, SharedMetadataServer
from pycloudlib.local.network.namespaces.capture import Tap
from pycloudlib.local.network.namespaces.datagrams import DatagramForwarder
from pycloudlib.local.network.namespaces.entrance import Entrance
from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.local.network.namespaces.forwarder import Forwarder, Target, listen
from pycloudlib.local.network.namespaces.public_ports import (
    find_target,
    open_ranges,
    public_ports,
    public_udp_ports,
    ssh_is_open,
)
from pycloudlib.local.network.namespaces.redirection import Redirection
from pycloudlib.local.network.namespaces.ruleset import ruleset
from pycloudlib.local.network.namespaces.service_addresses import HOST, METADATA, METADATA_IPV6, TIME, TIME_IPV6
from pycloudlib.local.network.namespaces.shaping import TrafficClass, shaping
from pycloudlib.local.network.time_server import PORT as TIME_PORT
from pycloudlib.local.network.time_server import TimeServer
from pycloudlib.local.network.topology import Topology, Vpc
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
METADATA_PORT = 80
REPORT_SECONDS = 60.0
"""The timeout in seconds until a recorded interface appears in the topology."""
QUEUES = {DELAY: ("htb", "netem"), RATE: ("htb", "tbf")}
"""The kinds of queues that a kind of fault needs."""


class NamespaceNetwork(QemuNetwork):
    """Connects machines to VPCs, one network namespace per VPC.

    Args:
        directory: the directory of the helper processes' files; it must exist and be absolute.
        ssh_port: the port on public addresses that forwards to sshd.
        public_cidr: the CIDR block of public addresses, at which machines reach each other; default "": loopback
            addresses.
        host_ports: TCP ports of the host's loopback that machines reach at the host's address; default none.
        all_ports: whether to forward every port that is open to the host, by a table of nftables in the host's network
            namespace; needs root. Default: listen on each, on 1,000 of an address.
        report_seconds: how long a machine waits for its interface to be in the records, in seconds; default 60.

    Raises:
        LocalEC2Error: nftables refused the table.
    """

    host_address = HOST

    def __init__(
        self,
        directory: Path,
        ssh_port: int,
        *,
        public_cidr: str = "",
        host_ports: Collection[int] = (),
        all_ports: bool = False,
        report_seconds: float = REPORT_SECONDS,
    ) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._topology = Topology()
        self._sources: dict[str, MetadataSource] = {}
        self._servers: dict[str, contextlib.ExitStack] = {}
        self._entered: dict[str, Forwarder] = {}
        self._api_port = 0
        self.topology_listener = self._apply
        self.open_vpc = self._open_entrance
        self.find_tap = self._find_tap
        self._fabric = Fabric(
            directory,
            self._ruleset,
            shaping=self._shaping,
            public_cidr=public_cidr or None,
            on_open=self._open_vpc,
            on_close=self._close_vpc,
            on_lost=self._lost,
        )
        self.faults: NetworkFaults = NetworkFaults(self._fabric.reapply, self._require_queues)
        self._forwarder = Forwarder(self._client_socket)
        self._datagrams = DatagramForwarder(lambda vpc_id: self._fabric.client_socket(vpc_id, "udp"))
        self._forwarding = threading.Lock()
        self._ssh_port = ssh_port
        self._host_ports = host_ports
        self._report_seconds = report_seconds
        self._redirection = self._redirect() if all_ports else None

    @property
    def helper_pid(self) -> int | None:
        """The id of the process that holds the namespaces; None without one."""
        return self._fabric.helper_pid

    def interface(self, attachment: NetworkAttachment) -> QemuInterface:
        """Return an unconnected interface for a machine."""
        return TapInterface(attachment, self._open_tap)

    @contextlib.contextmanager
    def serve_metadata(
        self, instance_id: str, directory: Path, describe: Callable[[], InstanceMetadata]
    ) -> Iterator[None]:
        """Serve an instance's metadata to requests from its addresses."""
        with self._lock:
            self._sources[instance_id] = MetadataSource(describe)
        try:
            yield
        finally:
            with self._lock:
                del self._sources[instance_id]

    def forwards_ssh(self, public_ip: str) -> bool:
        """Return whether the security groups open the guest's sshd to the host."""
        return ssh_is_open(self._topology, public_ip)

    def close(self) -> None:
        """End all networks and the servers in them."""
        if self._redirection is not None:
            self._redirection.close()
        self._forwarder.close()
        self._datagrams.close()
        self._fabric.close()
        for vpc_id in list(self._entered):
            self._close_vpc(vpc_id)

    def _apply(self, topology: Topology) -> None:
        self._topology = topology
        self.faults.follow(topology)
        try:
            self._fabric.apply(topology)
        except LocalEC2Error:
            # The request that changed the records has succeeded, so its response cannot report this.
            logger.exception("cannot apply the topology to the network")
        with self._forwarding:
            self._forward_from_host()
            with self._lock:
                entered = dict(self._entered)
            for vpc_id, forwarder in entered.items():
                if vpc_id not in topology.vpcs:
                    # Its VPC was deleted while it was being created.
                    self._close_vpc(vpc_id)
                    continue
                _forward(forwarder, self._loopback_ports())

    def _forward_from_host(self) -> None:
        privileged = os.geteuid() == 0
        try:
            self._datagrams.set_ports(public_udp_ports(self._topology, privileged=privileged))
        except LocalEC2Error as error:
            logger.warning("%s", error)
        if self._redirection is None:
            _forward(self._forwarder, self._public_ports(privileged=privileged))
            return
        try:
            self._redirection.set_ports(open_ranges(self._topology, self._ssh_port))
        except LocalEC2Error as error:
            logger.error("public addresses are not forwarded: %s", error)

    def _redirect(self) -> Redirection:
        """Let one listener accept the connections to all ports of public addresses."""
        listener = listen(LOOPBACK, 0)
        try:
            redirection = Redirection(listener.getsockname()[1])
        except BaseException:
            listener.close()
            raise
        self._forwarder.accept_redirected(
            listener, lambda address, port: find_target(self._topology, self._ssh_port, address, port)
        )
        return redirection

    def _ruleset(self, vpc: Vpc, topology: Topology, devices: Mapping[str, str]) -> str:
        return ruleset(vpc, topology, devices, self.faults.current(), self._host_ports)

    def _shaping(
        self, vpc: Vpc, topology: Topology, devices: Mapping[str, str]
    ) -> Mapping[str, Sequence[TrafficClass]]:
        return shaping(vpc, topology, devices, self.faults.current())

    def _require_queues(self, fault: Fault) -> None:
        kinds = QUEUES.get(fault.kind)
        missing = self._fabric.missing_queues(kinds) if kinds else []
        if missing:
            raise LocalEC2Error(
                f"this kernel does not have {' and '.join(missing)}, which a {fault.kind} needs: "
                f"try `sudo modprobe -a {' '.join(f'sch_{kind}' for kind in missing)}`, or use a kernel that has it"
            )

    def _public_ports(self, *, privileged: bool) -> Mapping[str, Mapping[int, Target]]:
        return public_ports(self._topology, self._ssh_port, privileged=privileged)

    def _loopback_ports(self) -> Mapping[str, Mapping[int, Target]]:
        """Return the forwarded ports of loopback addresses inside a VPC, where commands may listen on any port."""
        return {
            LOOPBACK: {self._api_port: Target(None, LOOPBACK, self._api_port)},
            **self._public_ports(privileged=True),
        }

    def _client_socket(self, vpc_id: str | None) -> socket.socket:
        return socket.socket() if vpc_id is None else self._fabric.client_socket(vpc_id)

    def _open_entrance(self, vpc_id: str, api_port: int) -> Entrance:
        """Return the entrance to a VPC, and forward the EC2 API and public addresses inside it."""
        with self._forwarding:
            self._api_port = api_port
            entrance = self._fabric.entrance(vpc_id)
            with self._lock:
                forwarder = self._entered.get(vpc_id)
                if forwarder is None:
                    listen = functools.partial(self._fabric.listen, vpc_id)
                    forwarder = self._entered[vpc_id] = Forwarder(self._client_socket, listen)
            # Repeat the forwarding: a port that a command inside used before may be free now.
            _forward(forwarder, self._loopback_ports())
        return entrance

    def _find_tap(self, interface_id: str) -> Tap:
        vpc, device = self._topology.vpc_of(interface_id), self._fabric.device(interface_id)
        if vpc is None or device is None:
            raise LocalEC2Error(f"{interface_id} has no packets: its instance is not running")
        return Tap(self._fabric.entrance(vpc.vpc_id), device)

    def _lost(self, reason: str) -> None:
        self.on_lost(reason)

    def _open_tap(self, attachment: NetworkAttachment) -> int:
        interface_id = attachment.interface_id
        # The machine may start before the request's topology report arrives.
        try:
            wait_until(
                lambda: self._topology.vpc_of(interface_id) is not None,
                what=f"the network to have {interface_id}",
                deadline=Deadline.after(self._report_seconds),
            )
        except PycloudlibTimeoutError as error:
            raise MachineError(
                f"{interface_id} is not connected: the records have not reported it to the network for "
                f"{self._report_seconds:g} s; see the log of the local EC2"
            ) from error
        return self._fabric.add_interface(interface_id)

    def _open_vpc(self, vpc_id: str) -> None:
        with contextlib.ExitStack() as servers:
            for address in (METADATA, METADATA_IPV6):
                listener = self._fabric.listen(vpc_id, address, METADATA_PORT)
                servers.enter_context(SharedMetadataServer(listener, lambda client: self._source_for(vpc_id, client)))
            clocks = [self._fabric.listen(vpc_id, address, TIME_PORT, "udp") for address in (TIME, TIME_IPV6)]
            servers.enter_context(TimeServer(clocks))
            if self._host_ports:
                forwarder = Forwarder(self._client_socket, functools.partial(self._fabric.listen, vpc_id))
                servers.callback(forwarder.close)
                _forward(forwarder, {HOST: {port: Target(None, LOOPBACK, port) for port in self._host_ports}})
            self._servers[vpc_id] = servers.pop_all()

    def _close_vpc(self, vpc_id: str) -> None:
        with self._lock:
            forwarder = self._entered.pop(vpc_id, None)
        if forwarder is not None:
            forwarder.close()
        servers = self._servers.pop(vpc_id, None)
        if servers is not None:
            servers.close()

    def _source_for(self, vpc_id: str, address: str) -> MetadataSource | None:
        vpc = self._topology.vpcs.get(vpc_id)
        if vpc is None:
            return None
        interface = vpc.interface_at(address)
        if interface is None or interface.instance_id is None:
            return None
        with self._lock:
            return self._sources.get(interface.instance_id)


def _forward(forwarder: Forwarder, ports: Mapping[str, Mapping[int, Target]]) -> None:
    for address in forwarder.addresses() - ports.keys():
        forwarder.set_ports(address, {})
    for address, targets in ports.items():
        try:
            forwarder.set_ports(address, targets)
        except LocalEC2Error as error:
            logger.warning("%s", error)
