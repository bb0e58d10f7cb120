"""Reachability analysis between two endpoints, modeled on VPC Reachability Analyzer.

The analysis follows the path of packets. It starts with the sender's security groups, route, and network ACL. Gateways
and the receiver's network ACL and security groups follow, then the routes and network ACLs of the return path. Tests
compare its results with real packets in the namespaces driver's networks. The analysis reads the records only: it knows
neither a guest's firewall nor its listening ports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.faults import Fault, places
from pycloudlib.local.network.namespaces.service_addresses import (
    METADATA,
    METADATA_IPV6,
    RESOLVER,
    RESOLVER_IPV6,
    TIME,
    TIME_IPV6,
    resolver_of,
)
from pycloudlib.local.network.reach_ends import HOST_NAME, LOOPBACK, End, Inside, Outside, find_end
from pycloudlib.local.network.rule_matching import (
    EPHEMERAL_PORTS,
    PORT_PROTOCOLS,
    IpAddress,
    Packets,
    deciding_entry,
    longest_match,
    matching_rule,
    network,
)
from pycloudlib.local.network.topology import Interface, NatGateway, Route, Subnet, Target, Topology, Vpc

_DNS, _HTTP, _NTP = 53, 80, 123
_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmp", "icmpv6": "icmp"}
_ECHO_REQUEST, _ECHO_REPLY, _ECHO_REQUEST_IPV6, _ECHO_REPLY_IPV6 = 8, 0, 128, 129


@dataclass(frozen=True)
class Reach:
    """The result of `reach()`. It is true if packets reach the destination and the return path works.

    Args:
        reachable: whether the destination is reachable.
        component: the id of the deciding component: a security group or its rule, a network ACL, a route table, a
            gateway, an interface, or a network fault.
        reason: the component's effect, in one sentence.
        path: the components on the path, one line each; default none.
    """

    reachable: bool
    component: str
    reason: str
    path: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.reachable


def reach(
    topology: Topology,
    source: str,
    destination: str,
    protocol: str = "tcp",
    port: int | None = None,
    *,
    faults: Iterable[Fault] = (),
    host_ports: Collection[int] = (),
) -> Reach:
    """Return whether a source can reach a destination, and which component decides.

    Args:
        topology: all VPCs.
        source: the id of an interface or an instance (its primary interface), an IP address, "internet", or "host" for
            the host of the local EC2.
        destination: the destination, in the same forms.
        protocol: "tcp" (default), "udp", "icmp" for echo requests, or an IP protocol number as text.
        port: the destination port; required for "tcp" and "udp".
        faults: network faults; default none. One that drops all packets decides.
        host_ports: the TCP ports of the host that guests reach; default none.

    Raises:
        LocalEC2Error: an interface or instance is unknown, the port is missing, or neither end is in a VPC.
    """
    protocol = _check_protocol(protocol, port)
    ipv6 = ":" in source or ":" in destination
    near = find_end(topology, source, ipv6=ipv6)
    far = find_end(topology, destination, ipv6=ipv6, beside=_vpc(near))
    near = find_end(topology, source, ipv6=ipv6, beside=_vpc(far))
    walk = _Walk(topology, host_ports)
    try:
        if isinstance(near, Inside) and _is_loopback(destination):
            raise _Stop(
                near.name,
                f"{destination} is a loopback address, which leads a guest to itself; give the private address or the "
                "public DNS name, or start the local EC2 with --public-cidr",
            )
        if isinstance(near, Inside) and isinstance(far, Inside) and far.is_public_address(destination):
            component, reason = walk.over_internet(near, far, ipaddress.ip_address(destination), protocol, port)
        else:
            component, reason = walk.walk(near, far, *_packets(near.address, far.address, protocol, port))
        walk.meet_faults(near, far, faults)
    except _Stop as stop:
        return Reach(False, stop.component, stop.reason, tuple(walk.path))
    return Reach(True, component, reason, tuple(walk.path))


def _places(end: End) -> frozenset[str]:
    return places(end.vpc, end.interface) if isinstance(end, Inside) else frozenset()


class _Stop(Exception):  # noqa: N818  (not an error: it ends the walk)
    def __init__(self, component: str, reason: str) -> None:
        super().__init__(reason)
        self.component = component
        self.reason = reason


class _Walk:
    def __init__(self, topology: Topology, host_ports: Collection[int]) -> None:
        self._topology = topology
        self._host_ports = host_ports
        self.path: list[str] = []

    def walk(self, near: End, far: End, sent: Packets, answer: Packets) -> tuple[str, str]:
        """Follow packets and their replies; return the component that allows them, and the reason."""
        if isinstance(near, Inside):
            _require_running(near.interface)
            if isinstance(far, Outside):
                return self._from_guest_to_outside(near, far, sent, answer)
            return self._between_guests(near, far, sent, answer)
        if isinstance(far, Outside):
            raise LocalEC2Error(f"neither {near.name} nor {far.name} is an interface of a VPC")
        if near.is_host:
            return self._from_host(far, sent, answer)
        return self._from_internet(near, far, sent, answer)

    def over_internet(
        self, near: Inside, far: Inside, public: IpAddress, protocol: str, port: int | None
    ) -> tuple[str, str]:
        """Follow packets to a public address: out of the sender's VPC, then into the receiver's from the internet."""
        _require_running(near.interface)
        self._from_guest_to_outside(near, Outside(public), *_packets(near.address, public, protocol, port))
        source = Outside(self._public_source(near, public))
        return self._from_internet(source, far, *_packets(source.address, far.address, protocol, port))

    def _public_source(self, near: Inside, destination: IpAddress) -> IpAddress:
        """Return the address that the receiver sees: the sender's public one, or that of its NAT gateway."""
        route = self._route(near.vpc, near.subnet, destination)
        nat = _nat_gateway(near.vpc, route)[0].public_ip if route.target is Target.NAT_GATEWAY else None
        return ipaddress.ip_address(nat or near.public_address or str(near.address))

    def meet_faults(self, near: End, far: End, faults: Iterable[Fault]) -> None:
        """Note the faults on a path that the rules allow; one that drops all packets ends it."""
        if isinstance(near, Inside) and isinstance(far, Outside) and _is_service_address(near.vpc, far.address):
            return
        for fault in faults:
            if fault.affects(_places(near), _places(far)):
                effect = f"{fault.fault_id} {fault.effect}: {fault}"
                if fault.cuts:
                    raise _Stop(fault.fault_id, effect)
                self.path.append(effect)

    def _between_guests(self, near: Inside, far: Inside, sent: Packets, answer: Packets) -> tuple[str, str]:
        if near.interface is far.interface:
            return near.name, f"{near.name} talks to itself"
        self._pass_groups(near, sent, egress=True)
        self._follow_route(near, far, sent)
        if near.subnet is not far.subnet:
            self._pass_acl(far.vpc, far.subnet, sent, egress=False)
        _require_running(far.interface)
        decision = self._pass_groups(far, sent, egress=False)
        self._follow_route(far, near, answer)
        if near.subnet is not far.subnet:
            self._pass_acl(near.vpc, near.subnet, answer, egress=False)
        return decision

    def _from_guest_to_outside(self, near: Inside, far: Outside, sent: Packets, answer: Packets) -> tuple[str, str]:
        if _is_service_address(near.vpc, far.address):
            if not _is_service(near.vpc, sent):
                raise _Stop(near.vpc.vpc_id, f"no service of {near.vpc.vpc_id} answers {sent} at {far.address}")
            return near.vpc.vpc_id, f"{far.address} is a service of the VPC, which no rule filters"
        if far.is_host:
            return self._from_guest_to_host(near, sent, answer)
        decision = self._pass_groups(near, sent, egress=True)
        self._follow_route(near, far, sent)
        route = self._route(near.vpc, near.subnet, answer.source)
        if route.target is Target.NAT_GATEWAY:
            _, own = _nat_gateway(near.vpc, route)
            self._pass_acl(near.vpc, own, answer, egress=False)
            if own is not near.subnet:
                self._pass_acl(near.vpc, own, answer, egress=True)
        self._pass_acl(near.vpc, near.subnet, answer, egress=False)
        return decision

    def _from_guest_to_host(self, near: Inside, sent: Packets, answer: Packets) -> tuple[str, str]:
        if sent.protocol != "tcp" or sent.first not in self._host_ports:
            raise _Stop(HOST_NAME, f"guests reach the host only at TCP ports opened by --host-port, not at {sent}")
        self._pass_groups(near, sent, egress=True)
        self._pass_acl(near.vpc, near.subnet, sent, egress=True)
        self._pass_acl(near.vpc, near.subnet, answer, egress=False)
        return HOST_NAME, f"--host-port opens {sent} of the host to guests"

    def _from_host(self, far: Inside, sent: Packets, answer: Packets) -> tuple[str, str]:
        """Follow packets from the host, which need neither a public address nor a route."""
        self._pass_acl(far.vpc, far.subnet, sent, egress=False)
        _require_running(far.interface)
        decision = self._pass_groups(far, sent, egress=False)
        self._pass_acl(far.vpc, far.subnet, answer, egress=True)
        return decision

    def _from_internet(self, near: Outside, far: Inside, sent: Packets, answer: Packets) -> tuple[str, str]:
        vpc = far.vpc
        if any(near.address in network(cidr) for cidr in (*vpc.cidrs, *vpc.ipv6_cidrs)):
            raise _Stop(vpc.vpc_id, f"no interface of {vpc.vpc_id} has the address {near.address}")
        if vpc.internet_gateway_id is None:
            raise _Stop(vpc.vpc_id, f"{vpc.vpc_id} has no internet gateway")
        _require_public_address(far, vpc.internet_gateway_id)
        self.path.append(f"{vpc.internet_gateway_id} leads to {far.name}")
        self._pass_acl(vpc, far.subnet, sent, egress=False)
        _require_running(far.interface)
        decision = self._pass_groups(far, sent, egress=False)
        route = self._route(vpc, far.subnet, near.address)
        if route.target is not Target.INTERNET_GATEWAY:
            raise _Stop(
                far.subnet.route_table_id,
                f"route {route.cidr} of {far.subnet.route_table_id} leads answers to {route.target_id}, "
                f"not to {vpc.internet_gateway_id}",
            )
        self._follow_route(far, near, answer)
        return decision

    # rules

    def _pass_groups(self, end: Inside, packets: Packets, *, egress: bool) -> tuple[str, str]:
        direction, preposition = ("egress", "to") if egress else ("ingress", "from")
        peer = packets.destination if egress else packets.source
        for group_id in end.interface.group_ids:
            group = end.vpc.groups.get(group_id)
            rules = () if group is None else group.egress if egress else group.ingress
            rule = matching_rule(self._topology, rules, packets, peer)
            if rule is not None:
                reason = f"{direction} rule {rule.rule_id} of {group_id} allows {packets} {preposition} {peer}"
                self.path.append(reason)
                return rule.rule_id, reason
        groups = ", ".join(end.interface.group_ids) or "any security group"
        raise _Stop(
            ", ".join(end.interface.group_ids) or end.name,
            f"no {direction} rule of {groups} allows {packets} {preposition} {peer}",
        )

    def _pass_acl(self, vpc: Vpc, subnet: Subnet, packets: Packets, *, egress: bool) -> None:
        acl = vpc.acls.get(subnet.acl_id)
        if acl is None:
            return
        entry = deciding_entry(acl, packets, egress=egress)
        direction = "out of" if egress else "into"
        what = f"{packets} from {packets.source} to {packets.destination} {direction} {subnet.subnet_id}"
        if entry is None:
            raise _Stop(acl.acl_id, f"no entry of {acl.acl_id} allows {what}")
        if not entry.allow:
            raise _Stop(acl.acl_id, f"entry {entry.number} of {acl.acl_id} denies {what}")
        self.path.append(f"entry {entry.number} of {acl.acl_id} allows {what}")

    # routes

    def _route(self, vpc: Vpc, subnet: Subnet, destination: IpAddress) -> Route:
        table = vpc.route_tables.get(subnet.route_table_id)
        route = longest_match(table, destination) if table is not None else None
        if route is None:
            raise _Stop(subnet.route_table_id, f"{subnet.route_table_id} has no route to {destination}")
        if route.target is Target.BLACKHOLE:
            raise _Stop(
                subnet.route_table_id,
                f"route {route.cidr} of {subnet.route_table_id} is a blackhole: {route.target_id} is gone",
            )
        return route

    def _follow_route(self, near: Inside, far: End, packets: Packets) -> None:
        """Follow the sender's route, out of its subnet and through gateways, to the receiver's network."""
        vpc, subnet = near.vpc, near.subnet
        route = self._route(vpc, subnet, packets.destination)
        self.path.append(f"route {route.cidr} of {subnet.route_table_id} leads to {route.target_id}")
        next_hop = vpc.interfaces.get(route.target_id)
        if route.target is Target.LOCAL and isinstance(far, Inside) and far.vpc is vpc:
            next_hop = far.interface
        if next_hop is None or next_hop.subnet_id != subnet.subnet_id:
            self._pass_acl(vpc, subnet, packets, egress=True)
        if route.target is Target.LOCAL:
            _require_in(vpc, far)
        elif route.target is Target.PEERING:
            self._cross_peering(vpc, far, route)
        elif route.target is Target.INTERFACE:
            _meet_interface(next_hop, far, route, packets)
        else:
            self._leave(near, far, route, packets)

    def _cross_peering(self, vpc: Vpc, far: End, route: Route) -> None:
        peering = self._topology.peerings.get(route.target_id)
        vpc_ids = peering.vpc_ids if peering is not None else ()
        other = next((self._topology.vpcs.get(vpc_id) for vpc_id in vpc_ids if vpc_id != vpc.vpc_id), None)
        if other is None:
            raise _Stop(route.target_id, f"{route.target_id} does not connect {vpc.vpc_id} with another VPC")
        _require_in(other, far)

    def _leave(self, near: Inside, far: End, route: Route, packets: Packets) -> None:
        if isinstance(far, Inside):
            raise _Stop(route.target_id, f"{route.target_id} leads to the internet, not to {far.name}")
        if route.target is Target.INTERNET_GATEWAY:
            _require_public_address(near, route.target_id)
        elif route.target is Target.NAT_GATEWAY:
            self._pass_nat_gateway(near, route, packets)

    def _pass_nat_gateway(self, near: Inside, route: Route, packets: Packets) -> None:
        gateway, own = _nat_gateway(near.vpc, route)
        if own is not near.subnet:
            self._pass_acl(near.vpc, own, packets, egress=False)
        self._pass_acl(near.vpc, own, packets, egress=True)
        onward = self._route(near.vpc, own, packets.destination)
        if onward.target is not Target.INTERNET_GATEWAY:
            raise _Stop(
                gateway.nat_gateway_id,
                f"{gateway.nat_gateway_id} in {own.subnet_id} has no way out: route {onward.cidr} of "
                f"{own.route_table_id} leads to {onward.target_id}",
            )
        self.path.append(f"{gateway.nat_gateway_id} leads on to {onward.target_id}")


def _check_protocol(protocol: str, port: int | None) -> str:
    protocol = _PROTOCOLS.get(protocol.lower(), protocol.lower())
    if protocol in PORT_PROTOCOLS and port is None:
        raise LocalEC2Error(f"{protocol} needs a port, such as {protocol}/22")
    if protocol not in (*PORT_PROTOCOLS, "icmp") and not (protocol.isascii() and protocol.isdigit()):
        raise LocalEC2Error(f"unknown protocol {protocol!r}: give tcp, udp, icmp, or an IP protocol number")
    return protocol


def _packets(source: IpAddress, destination: IpAddress, protocol: str, port: int | None) -> tuple[Packets, Packets]:
    """Return the packets of a request, and those of the reply."""
    if source.version != destination.version:
        raise LocalEC2Error(f"{source} and {destination} are addresses of two families")
    if protocol in PORT_PROTOCOLS:
        sent = Packets(source, destination, protocol, port, port)
        return sent, Packets(destination, source, protocol, *EPHEMERAL_PORTS)
    if protocol != "icmp":
        return Packets(source, destination, protocol), Packets(destination, source, protocol)
    if isinstance(destination, ipaddress.IPv6Address):
        name, request, reply = "icmpv6", _ECHO_REQUEST_IPV6, _ECHO_REPLY_IPV6
    else:
        name, request, reply = "icmp", _ECHO_REQUEST, _ECHO_REPLY
    return Packets(source, destination, name, request, 0), Packets(destination, source, name, reply, 0)


def _vpc(end: End) -> Vpc | None:
    return end.vpc if isinstance(end, Inside) else None


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text) in LOOPBACK
    except ValueError:
        return False


def _is_service_address(vpc: Vpc, address: IpAddress) -> bool:
    services = (METADATA, METADATA_IPV6, RESOLVER, RESOLVER_IPV6, TIME, TIME_IPV6, resolver_of(vpc))
    return str(address) in services


def _is_service(vpc: Vpc, sent: Packets) -> bool:
    address = str(sent.destination)
    if address in (METADATA, METADATA_IPV6):
        return (sent.protocol, sent.first) == ("tcp", _HTTP)
    if address in (TIME, TIME_IPV6):
        return (sent.protocol, sent.first) == ("udp", _NTP)
    return vpc.dns_support and sent.protocol in PORT_PROTOCOLS and sent.first == _DNS


def _require_running(interface: Interface) -> None:
    if interface.instance_id is None:
        raise _Stop(interface.interface_id, f"{interface.interface_id} is not attached to an instance")
    if not interface.running:
        raise _Stop(interface.instance_id, f"{interface.instance_id} is not running")


def _require_public_address(end: Inside, gateway_id: str) -> None:
    if isinstance(end.address, ipaddress.IPv4Address) and end.public_address is None:
        raise _Stop(end.name, f"{end.address} of {end.name} has no public address, which {gateway_id} needs")


def _require_in(vpc: Vpc, far: End) -> None:
    if isinstance(far, Outside) or far.vpc is not vpc:
        raise _Stop(vpc.vpc_id, f"no interface of {vpc.vpc_id} has the address {far.address}")


def _meet_interface(target: Interface | None, far: End, route: Route, packets: Packets) -> None:
    if target is None:
        raise _Stop(route.target_id, f"{route.target_id} is not in this VPC")
    _require_running(target)
    if isinstance(far, Inside) and far.interface is target:
        return
    if target.source_dest_check:
        raise _Stop(
            route.target_id,
            f"the source/destination check of {route.target_id} drops packets to {packets.destination}",
        )
    raise _Stop(route.target_id, f"{target.instance_id} receives the packets; whether it forwards them is not recorded")


def _nat_gateway(vpc: Vpc, route: Route) -> tuple[NatGateway, Subnet]:
    gateway = vpc.nat_gateways.get(route.target_id)
    if gateway is None or gateway.public_ip is None:
        raise _Stop(route.target_id, f"{route.target_id} is not a public NAT gateway")
    return gateway, vpc.subnets[gateway.subnet_id]
