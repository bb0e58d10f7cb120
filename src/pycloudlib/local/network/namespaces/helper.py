"""The network helper: the process that holds a server's network namespaces.

The server starts it, and sends it commands over a socket pair. The helper is single-threaded, because each thread has
its own network namespace. An ordinary user's helper first becomes root in a user namespace. It exits with the server.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pycloudlib.errors import PycloudlibError
from pycloudlib.local.network.namespaces import protocol, syscalls
from pycloudlib.local.network.namespaces.dnsmasq import Dnsmasq, DnsmasqSettings
from pycloudlib.local.network.namespaces.queues import missing_kinds
from pycloudlib.local.network.namespaces.vpc_namespace import VpcNamespace

logger = logging.getLogger(__name__)


@dataclass
class Answer:
    """The result of a command.

    Args:
        result: the value, which is sent as JSON.
        fds: the file descriptors to pass; the helper closes its copies afterward.
    """

    result: Any = None
    fds: Sequence[int] = field(default_factory=tuple)


class Helper:
    """The VPCs, and the commands that change them. Every command has a VPC id.

    Args:
        directory: the absolute path of the directory for files and logs, with a subdirectory per VPC.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # The helper's namespace between commands. An ordinary user's helper cannot return to the host's.
        syscalls.unshare(syscalls.CLONE_NEWNET)
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._vpcs: dict[str, VpcNamespace] = {}
        self._dnsmasqs: dict[str, Dnsmasq] = {}
        self._restarts: dict[str, float] = {}
        self._selector = selectors.DefaultSelector()
        self.commands: Mapping[str, Callable[..., Answer]] = {
            "configure_vpc": self.configure_vpc,
            "delete_vpc": self.delete_vpc,
            "add_interface": self.add_interface,
            "change_interface": self.change_interface,
            "remove_interface": self.remove_interface,
            "apply_ruleset": self.apply_ruleset,
            "apply_routing": self.apply_routing,
            "apply_shaping": self.apply_shaping,
            "missing_queues": self.missing_queues,
            "set_ipv6_address": self.set_ipv6_address,
            "connect_vpcs": self.connect_vpcs,
            "disconnect_vpcs": self.disconnect_vpcs,
            "configure_dnsmasq": self.configure_dnsmasq,
            "dnsmasq_pid": self.dnsmasq_pid,
            "open_socket": self.open_socket,
        }

    def configure_vpc(
        self, vpc_id: str, *, cidrs: Sequence[str], service_addresses: Sequence[str], public_cidr: str | None = None
    ) -> Answer:
        """Create a VPC's namespace unless it exists, and set its addresses.

        Args:
            vpc_id: the VPC.
            cidrs: the IPv4 and IPv6 CIDR blocks of the VPC.
            service_addresses: the addresses of its services.
            public_cidr: the CIDR block of public addresses on which processes inside listen; default none.

        Returns:
            The number of the namespace's file descriptor in this process, as in /proc/PID/fd/NUMBER.
        """
        namespace = self._vpcs.get(vpc_id)
        if namespace is None:
            namespace = VpcNamespace()
            self._vpcs[vpc_id] = namespace
            if namespace.neighbor_proxy is not None:
                proxy = namespace.neighbor_proxy
                self._selector.register(proxy, selectors.EVENT_READ, proxy.answer)
        namespace.set_service_addresses(service_addresses)
        namespace.set_cidrs(cidrs)
        namespace.set_public_cidr(public_cidr)
        return Answer({"namespace_fd": namespace.fd})

    def delete_vpc(self, vpc_id: str) -> Answer:
        """Delete a VPC's namespace. No-op if there is none."""
        dnsmasq = self._dnsmasqs.pop(vpc_id, None)
        if dnsmasq is not None:
            self._unwatch(dnsmasq)
            dnsmasq.stop()
        namespace = self._vpcs.pop(vpc_id, None)
        if namespace is not None:
            if namespace.neighbor_proxy is not None:
                self._selector.unregister(namespace.neighbor_proxy)
            # A process keeps its own namespace alive.
            syscalls.setns(self._home, syscalls.CLONE_NEWNET)
            namespace.close()
        return Answer()

    def add_interface(
        self, vpc_id: str, *, interface_id: str, name: str, mac: str, addresses: Sequence[str], gateways: Sequence[str]
    ) -> Answer:
        """Create an interface's tap, and pass its file descriptor."""
        fd = self._vpcs[vpc_id].add_interface(interface_id, name, mac, addresses, gateways)
        return Answer(fds=[fd])

    def change_interface(
        self, vpc_id: str, *, interface_id: str, addresses: Sequence[str], gateways: Sequence[str]
    ) -> Answer:
        """Change an interface's addresses; return whether its tap still exists."""
        return Answer(self._vpcs[vpc_id].change_interface(interface_id, addresses, gateways))

    def remove_interface(self, vpc_id: str, *, interface_id: str) -> Answer:
        """Remove an interface's tap. No-op if there is none."""
        if vpc_id in self._vpcs:
            self._vpcs[vpc_id].remove_interface(interface_id)
        return Answer()

    def apply_ruleset(self, vpc_id: str, *, ruleset: str) -> Answer:
        """Apply a ruleset that replaces its table."""
        self._vpcs[vpc_id].apply_ruleset(ruleset)
        return Answer()

    def apply_routing(self, vpc_id: str, *, tables: Sequence[Mapping[str, Any]]) -> Answer:
        """Set the route tables of a VPC's subnets."""
        namespace = self._vpcs[vpc_id]
        namespace.enter()
        namespace.apply_routing(tables)
        return Answer()

    def apply_shaping(self, vpc_id: str, *, device: str, classes: Sequence[Mapping[str, Any]]) -> Answer:
        """Set the traffic classes of a device. No-op if the device does not exist."""
        self._vpcs[vpc_id].apply_shaping(device, classes)
        return Answer()

    def missing_queues(self, _vpc_id: str, *, kinds: Sequence[str]) -> Answer:
        """Return the queueing disciplines that this kernel lacks; no VPC is needed."""
        syscalls.setns(self._home, syscalls.CLONE_NEWNET)
        return Answer(missing_kinds(kinds))

    def set_ipv6_address(self, vpc_id: str, *, device: str, address: str) -> Answer:
        """Assign an IPv6 address to a device of a VPC. No-op if the device does not exist."""
        self._vpcs[vpc_id].set_ipv6_address(device, address)
        return Answer()

    def connect_vpcs(self, vpc_id: str, *, other_id: str, device: str, accept_local: bool = False) -> Answer:
        """Connect two VPCs with a veth pair of this name."""
        self._vpcs[vpc_id].connect(self._vpcs[other_id], device, accept_local=accept_local)
        return Answer()

    def disconnect_vpcs(self, vpc_id: str, *, device: str) -> Answer:
        """Remove a veth pair. No-op if it does not exist."""
        if vpc_id in self._vpcs:
            self._vpcs[vpc_id].disconnect(device)
        return Answer()

    def configure_dnsmasq(self, vpc_id: str, *, settings: Mapping[str, Any]) -> Answer:
        """Apply the settings of a VPC's dnsmasq, and start it unless it is running."""
        self._vpcs[vpc_id].enter()
        dnsmasq = self._dnsmasqs.get(vpc_id)
        if dnsmasq is None:
            dnsmasq = self._dnsmasqs[vpc_id] = Dnsmasq(self._directory / vpc_id)
        self._unwatch(dnsmasq)
        try:
            dnsmasq.configure(DnsmasqSettings(**settings))
        finally:
            self._watch(vpc_id, dnsmasq)
        return Answer()

    def dnsmasq_pid(self, vpc_id: str) -> Answer:
        """Return the process id of a VPC's dnsmasq; None while it is not running."""
        dnsmasq = self._dnsmasqs.get(vpc_id)
        return Answer(dnsmasq.pid if dnsmasq is not None else None)

    def open_socket(self, vpc_id: str, *, kind: str, ipv6: bool, bind: Sequence[Any] | None, backlog: int) -> Answer:
        """Create a socket in a VPC's namespace, and pass its file descriptor."""
        address = (str(bind[0]), int(bind[1])) if bind is not None else None
        opened = self._vpcs[vpc_id].open_socket(kind, ipv6=ipv6, bind=address, backlog=backlog)
        return Answer(fds=[opened.detach()])

    def serve(self, connection: socket.socket) -> None:
        """Serve commands until the server exits; restart dnsmasq if it exits or refuses an address."""
        self._selector.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(self._seconds_until_restart()):
                if key.fileobj is not connection:
                    key.data()
                elif not self._serve_command(connection):
                    return
            self._restart_dnsmasqs()

    def _serve_command(self, connection: socket.socket) -> bool:
        """Serve one command; return whether the server is still running."""
        try:
            request, _ = protocol.receive(connection)
        except EOFError:
            return False
        response, message = self._execute(request)
        try:
            protocol.send(connection, message, response.fds)
        finally:
            for fd in response.fds:
                os.close(fd)
        return True

    def _watch(self, vpc_id: str, dnsmasq: Dnsmasq) -> None:
        if dnsmasq.pidfd is not None:
            self._selector.register(dnsmasq.pidfd, selectors.EVENT_READ, partial(self._on_dnsmasq_end, vpc_id))
        if dnsmasq.output_fd is not None:
            self._selector.register(dnsmasq.output_fd, selectors.EVENT_READ, partial(self._on_dnsmasq_output, vpc_id))

    def _unwatch(self, dnsmasq: Dnsmasq) -> None:
        for fd in (dnsmasq.pidfd, dnsmasq.output_fd):
            if fd is not None:
                self._selector.unregister(fd)

    def _on_dnsmasq_end(self, vpc_id: str) -> None:
        dnsmasq = self._dnsmasqs.get(vpc_id)
        if dnsmasq is None or not dnsmasq.has_ended:
            # A command has started another dnsmasq in the meantime.
            return
        self._unwatch(dnsmasq)
        status = dnsmasq.stop()
        logger.warning("dnsmasq of %s exited with status %s; restarting it", vpc_id, status)
        self._restarts[vpc_id] = dnsmasq.restart_at

    def _on_dnsmasq_output(self, vpc_id: str) -> None:
        dnsmasq = self._dnsmasqs.get(vpc_id)
        if dnsmasq is None:
            return
        interfaces = map(self._vpcs[vpc_id].interface_of, dnsmasq.log_output())
        refused = [
            interface for interface in interfaces if interface is not None and dnsmasq.has_ipv6_address(interface)
        ]
        if refused:
            logger.info("dnsmasq of %s refused %s; restarting it without leases", vpc_id, ", ".join(refused))
            self._unwatch(dnsmasq)
            dnsmasq.stop()
            self._restarts[vpc_id] = dnsmasq.restart_at

    def _seconds_until_restart(self) -> float | None:
        if not self._restarts:
            return None
        return max(0.0, min(self._restarts.values()) - time.monotonic())

    def _restart_dnsmasqs(self) -> None:
        now = time.monotonic()
        for vpc_id in [vpc_id for vpc_id, due in self._restarts.items() if due <= now]:
            del self._restarts[vpc_id]
            dnsmasq = self._dnsmasqs.get(vpc_id)
            if dnsmasq is not None and dnsmasq.pidfd is None:
                self._vpcs[vpc_id].enter()
                try:
                    dnsmasq.start()
                except (OSError, PycloudlibError):
                    logger.exception("cannot start dnsmasq of %s", vpc_id)
                self._watch(vpc_id, dnsmasq)

    def _execute(self, request: Mapping[str, Any]) -> tuple[Answer, dict[str, Any]]:
        try:
            result = self.commands[request["command"]](request["vpc_id"], **request["arguments"])
        except Exception as error:
            # An error must not affect other VPCs.
            logger.exception("%s failed", request.get("command"))
            return Answer(), {"error": _describe(error)}
        return result, {"result": result.result}


def _describe(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"unknown {error}"
    return str(error) or type(error).__name__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the helper until the server exits.

    Args:
        argv: the server's process id, the file descriptor of the connection, and the directory for files; default the
            command line's.
    """
    parser = argparse.ArgumentParser(prog="pycloudlib.local.network.namespaces.helper")
    parser.add_argument("server", type=int)
    parser.add_argument("connection", type=int)
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    syscalls.die_with_parent(arguments.server)
    if os.geteuid() != 0:
        uid, gid = os.geteuid(), os.getegid()
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        syscalls.map_root(uid, gid)
        # The change of credentials cleared the parent-death signal.
        syscalls.die_with_parent(arguments.server)
    with contextlib.closing(socket.socket(fileno=arguments.connection)) as connection:
        Helper(arguments.directory).serve(connection)
    return 0


if __name__ == "__main__":
    sys.exit(main())
