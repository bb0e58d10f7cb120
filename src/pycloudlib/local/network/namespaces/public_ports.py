"""The ports of public addresses that security groups open to the host."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from pycloudlib.local.network.namespaces.forwarder import Target
from pycloudlib.local.network.namespaces.service_addresses import HOST
from pycloudlib.local.network.topology import ALL_PROTOCOLS, GroupRule, Interface, Topology, Vpc

SSH_PORT = 22
FIRST_UNPRIVILEGED_PORT = 1024
MAX_PORTS = 1000
"""The maximum number of listening ports per address; larger ranges are truncated."""

MAX_UDP_PORTS = 100
"""The maximum number of UDP ports of a rule that are forwarded: each port needs a socket."""

_LAST_PORT = 65535
_NUMBERS = {"tcp": "6", "udp": "17"}
_HOST_ADDRESSES = [ipaddress.IPv4Address(HOST), ipaddress.IPv4Address("127.0.0.1")]


def public_ports(topology: Topology, ssh_port: int, *, privileged: bool) -> dict[str, dict[int, Target]]:
    """Return the targets of the ports of each public address.

    Args:
        topology: all VPCs.
        ssh_port: the port of public addresses that leads to port 22.
        privileged: whether ports below 1024 can be listened on.
    """
    return {
        public_ip: _ports(vpc, interface, private_ip, ssh_port, privileged=privileged)
        for vpc, interface, public_ip, private_ip in _public_addresses(topology)
    }


def open_ranges(topology: Topology, ssh_port: int) -> dict[str, list[range]]:
    """Return the forwarded ports of each public address, as ranges that do not overlap.

    Args:
        topology: all VPCs.
        ssh_port: the port of public addresses that leads to port 22.
    """
    by_address = {}
    for vpc, interface, public_ip, _ in _public_addresses(topology):
        opened = list(opened_to_host(vpc, interface))
        if any(SSH_PORT in port_range for port_range in opened):
            opened.append(range(ssh_port, ssh_port + 1))
        by_address[public_ip] = _merged(opened)
    return by_address


def find_target(topology: Topology, ssh_port: int, public_ip: str, port: int) -> Target | None:
    """Return the target of a port of a public address; None if no machine has the address."""
    for vpc, _, address, private_ip in _public_addresses(topology):
        if address == public_ip:
            return Target(vpc.vpc_id, private_ip, SSH_PORT if port == ssh_port else port)
    return None


def _public_addresses(topology: Topology) -> Iterator[tuple[Vpc, Interface, str, str]]:
    """Yield each public address of a machine, with its interface and private address."""
    for vpc in topology.vpcs.values():
        for interface in vpc.interfaces.values():
            for address in interface.attachment.addresses:
                if address.public_ip is not None and interface.instance_id is not None:
                    yield vpc, interface, address.public_ip, address.private_ip


def _merged(ranges: Iterable[range]) -> list[range]:
    merged: list[range] = []
    for ports in sorted((range(max(1, ports.start), ports.stop) for ports in ranges), key=lambda ports: ports.start):
        if merged and ports.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, ports.stop))
        elif ports:
            merged.append(ports)
    return merged


def ssh_is_open(topology: Topology, public_ip: str) -> bool:
    """Return whether security groups open SSH to the host at a public address."""
    return any(
        SSH_PORT in opened
        for vpc in topology.vpcs.values()
        for interface in vpc.interfaces.values()
        if any(address.public_ip == public_ip for address in interface.attachment.addresses)
        for opened in opened_to_host(vpc, interface)
    )


def public_udp_ports(topology: Topology, *, privileged: bool) -> dict[str, dict[int, Target]]:
    """Return the targets of the UDP ports of each public address, for rules that open at most MAX_UDP_PORTS.

    Args:
        topology: all VPCs.
        privileged: whether ports below 1024 can be bound.
    """
    lowest = 1 if privileged else FIRST_UNPRIVILEGED_PORT
    return {
        public_ip: {
            port: Target(vpc.vpc_id, private_ip, port)
            for opened in opened_to_host(vpc, interface, "udp")
            if len(opened) <= MAX_UDP_PORTS
            for port in opened
            if port >= lowest
        }
        for vpc, interface, public_ip, private_ip in _public_addresses(topology)
    }


def opened_to_host(vpc: Vpc, interface: Interface, protocol: str = "tcp") -> Iterator[range]:
    """Yield the port ranges that an interface's security groups open to the host.

    Args:
        vpc: the VPC.
        interface: the interface.
        protocol: "tcp" (the default) or "udp".
    """
    protocols = (ALL_PROTOCOLS, protocol, _NUMBERS[protocol])
    groups = [vpc.groups[group_id] for group_id in interface.group_ids if group_id in vpc.groups]
    for rule in (rule for group in groups for rule in group.ingress):
        if rule.traffic.protocol in protocols and _includes_host(rule):
            first, last = rule.traffic.first, rule.traffic.last
            if first is None or rule.traffic.protocol == ALL_PROTOCOLS:
                first, last = 0, _LAST_PORT
            yield range(first, (first if last is None else last) + 1)


def _ports(vpc: Vpc, interface: Interface, private_ip: str, ssh_port: int, *, privileged: bool) -> dict[int, Target]:
    lowest = 1 if privileged else FIRST_UNPRIVILEGED_PORT
    targets: dict[int, Target] = {}
    # Single ports before parts of large ranges.
    for opened in sorted(opened_to_host(vpc, interface), key=len):
        if SSH_PORT in opened:
            targets[ssh_port] = Target(vpc.vpc_id, private_ip, SSH_PORT)
        for port in opened[max(0, lowest - opened.start) :]:
            if len(targets) >= MAX_PORTS:
                return targets
            targets.setdefault(port, Target(vpc.vpc_id, private_ip, port))
    return targets


def _includes_host(rule: GroupRule) -> bool:
    networks = [ipaddress.ip_network(cidr) for cidr in rule.cidrs]
    # An IPv6 network contains no IPv4 address.
    return any(address in network for network in networks for address in _HOST_ADDRESSES)
