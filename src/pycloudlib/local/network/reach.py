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
    sender = find_end(topology, source, ipv6=ipv6)
    receiver = find_end(topology, destination, ipv6=ipv6, preferred=_vpc(sender))
    sender = find_end(topology, source, ipv6=ipv6, preferred=_vpc(receiver))
    walk = _Walk(topology, host_ports)
    try:
        if isinstance(sender, Inside) and _is_loopback(destination):
            raise _Stop(
                sender.name,
                f"{destination} is a loopback address, which leads a guest to itself; give the private address or the "
                "public DNS name, or start the local EC2 with --public-cidr",
            )
        if isinstance(sender, Inside) and isinstance(receiver, Inside) and receiver.is_public_address(destination):
            component, reason = walk.over_internet(sender, receiver, ipaddress.ip_address(destination), protocol, port)
        else:
            component, reason = walk.walk(sender, receiver, *_packets(sender.address, receiver.address, protocol, port))
        walk.apply_faults(sender, receiver, faults)
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

    def walk(self, sender: End, receiver: End, request: Packets, reply: Packets) -> tuple[str, str]:
        """Follow packets and their replies; return the component that allows them, and the reason."""
        if isinstance(sender, Inside):
            _require_running(sender.interface)
            if isinstance(receiver, Outside):
                return self._from_guest_to_outside(sender, receiver, request, reply)
            return self._between_guests(sender, receiver, request, reply)
        if isinstance(receiver, Outside):
            raise LocalEC2Error(f"neither {sender.name} nor {receiver.name} is an interface of a VPC")
        if sender.is_host:
            return self._from_host(receiver, request, reply)
        return self._from_internet(sender, receiver, request, reply)

    def over_internet(
        self, sender: Inside, receiver: Inside, public: IpAddress, protocol: str, port: int | None
    ) -> tuple[str, str]:
        """Follow packets to a public address: out of the sender's VPC, then into the receiver's from the internet."""
        _require_running(sender.interface)
        self._from_guest_to_outside(sender, Outside(public), *_packets(sender.address, public, protocol, port))
        source = Outside(self._public_source(sender, public))
        return self._from_internet(source, receiver, *_packets(source.address, receiver.address, protocol, port))

    def _public_source(self, sender: Inside, destination: IpAddress) -> IpAddress:
        """Return the address that the receiver sees: the sender's public one, or that of its NAT gateway."""
        route = self._route(sender.vpc, sender.subnet, destination)
        nat = _nat_gateway(sender.vpc, route)[0].public_ip if route.target is Target.NAT_GATEWAY else None
        return ipaddress.ip_address(nat or sender.public_address or str(sender.address))

    def apply_faults(self, sender: End, receiver: End, faults: Iterable[Fault]) -> None:
        """Note the faults on a path that the rules allow; one that drops all packets ends it."""
        if (
            isinstance(sender, Inside)
            and isinstance(receiver, Outside)
            and _is_service_address(sender.vpc, receiver.address)
        ):
            return
        for fault in faults:
            if fault.affects(_places(sender), _places(receiver)):
                effect = f"{fault.fault_id} {fault.effect}: {fault}"
                if fault.cuts:
                    raise _Stop(fault.fault_id, effect)
                self.path.append(effect)

    def _between_guests(self, sender: Inside, receiver: Inside, request: Packets, reply: Packets) -> tuple[str, str]:
        if sender.interface is receiver.interface:
            return sender.name, f"{sender.name} talks to itself"
        self._pass_groups(sender, request, egress=True)
        self._follow_route(sender, receiver, request)
        if sender.subnet is not receiver.subnet:
            self._pass_acl(receiver.vpc, receiver.subnet, request, egress=False)
        _require_running(receiver.interface)
        decision = self._pass_groups(receiver, request, egress=False)
        self._follow_route(receiver, sender, reply)
        if sender.subnet is not receiver.subnet:
            self._pass_acl(sender.vpc, sender.subnet, reply, egress=False)
        return decision

    def _from_guest_to_outside(
        self, sender: Inside, receiver: Outside, request: Packets, reply: Packets
    ) -> tuple[str, str]:
        if _is_service_address(sender.vpc, receiver.address):
            if not _is_service(sender.vpc, request):
                raise _Stop(
                    sender.vpc.vpc_id, f"no service of {sender.vpc.vpc_id} answers {request} at {receiver.address}"
                )
            return sender.vpc.vpc_id, f"{receiver.address} is a service of the VPC, which no rule filters"
        if receiver.is_host:
            return self._from_guest_to_host(sender, request, reply)
        decision = self._pass_groups(sender, request, egress=True)
        self._follow_route(sender, receiver, request)
        route = self._route(sender.vpc, sender.subnet, reply.source)
        if route.target is Target.NAT_GATEWAY:
            _, gateway_subnet = _nat_gateway(sender.vpc, route)
            self._pass_acl(sender.vpc, gateway_subnet, reply, egress=False)
            if gateway_subnet is not sender.subnet:
                self._pass_acl(sender.vpc, gateway_subnet, reply, egress=True)
        self._pass_acl(sender.vpc, sender.subnet, reply, egress=False)
        return decision

    def _from_guest_to_host(self, sender: Inside, request: Packets, reply: Packets) -> tuple[str, str]:
        if request.protocol != "tcp" or request.first not in self._host_ports:
            raise _Stop(HOST_NAME, f"guests reach the host only at TCP ports opened by --host-port, not at {request}")
        self._pass_groups(sender, request, egress=True)
        self._pass_acl(sender.vpc, sender.subnet, request, egress=True)
        self._pass_acl(sender.vpc, sender.subnet, reply, egress=False)
        return HOST_NAME, f"--host-port opens {request} of the host to guests"

    def _from_host(self, receiver: Inside, request: Packets, reply: Packets) -> tuple[str, str]:
        """Follow packets from the host, which need neither a public address nor a route."""
        self._pass_acl(receiver.vpc, receiver.subnet, request, egress=False)
        _require_running(receiver.interface)
        decision = self._pass_groups(receiver, request, egress=False)
        self._pass_acl(receiver.vpc, receiver.subnet, reply, egress=True)
        return decision

    def _from_internet(self, sender: Outside, receiver: Inside, request: Packets, reply: Packets) -> tuple[str, str]:
        vpc = receiver.vpc
        if any(sender.address in network(cidr) for cidr in (*vpc.cidrs, *vpc.ipv6_cidrs)):
            raise _Stop(vpc.vpc_id, f"no interface of {vpc.vpc_id} has the address {sender.address}")
        if vpc.internet_gateway_id is None:
            raise _Stop(vpc.vpc_id, f"{vpc.vpc_id} has no internet gateway")
        _require_public_address(receiver, vpc.internet_gateway_id)
        self.path.append(f"{vpc.internet_gateway_id} leads to {receiver.name}")
        self._pass_acl(vpc, receiver.subnet, request, egress=False)
        _require_running(receiver.interface)
        decision = self._pass_groups(receiver, request, egress=False)
        route = self._route(vpc, receiver.subnet, sender.address)
        if route.target is not Target.INTERNET_GATEWAY:
            raise _Stop(
                receiver.subnet.route_table_id,
                f"route {route.cidr} of {receiver.subnet.route_table_id} leads answers to {route.target_id}, "
                f"not to {vpc.internet_gateway_id}",
            )
        self._follow_route(receiver, sender, reply)
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
        crossing = f"{packets} from {packets.source} to {packets.destination} {direction} {subnet.subnet_id}"
        if entry is None:
            raise _Stop(acl.acl_id, f"no entry of {acl.acl_id} allows {crossing}")
        if not entry.allow:
            raise _Stop(acl.acl_id, f"entry {entry.number} of {acl.acl_id} denies {crossing}")
        self.path.append(f"entry {entry.number} of {acl.acl_id} allows {crossing}")

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

    def _follow_route(self, sender: Inside, receiver: End, packets: Packets) -> None:
        """Follow the sender's route, out of its subnet and through gateways, to the receiver's network."""
        vpc, subnet = sender.vpc, sender.subnet
        route = self._route(vpc, subnet, packets.destination)
        self.path.append(f"route {route.cidr} of {subnet.route_table_id} leads to {route.target_id}")
        next_hop = vpc.interfaces.get(route.target_id)
        if route.target is Target.LOCAL and isinstance(receiver, Inside) and receiver.vpc is vpc:
            next_hop = receiver.interface
        if next_hop is None or next_hop.subnet_id != subnet.subnet_id:
            self._pass_acl(vpc, subnet, packets, egress=True)
        if route.target is Target.LOCAL:
            _require_in(vpc, receiver)
        elif route.target is Target.PEERING:
            self._cross_peering(vpc, receiver, route)
        elif route.target is Target.INTERFACE:
            _require_receiver(next_hop, receiver, route, packets)
        else:
            self._leave_vpc(sender, receiver, route, packets)

    def _cross_peering(self, vpc: Vpc, receiver: End, route: Route) -> None:
        peering = self._topology.peerings.get(route.target_id)
        vpc_ids = peering.vpc_ids if peering is not None else ()
        peer = next((self._topology.vpcs.get(vpc_id) for vpc_id in vpc_ids if vpc_id != vpc.vpc_id), None)
        if peer is None:
            raise _Stop(route.target_id, f"{route.target_id} does not connect {vpc.vpc_id} with another VPC")
        _require_in(peer, receiver)

    def _leave_vpc(self, sender: Inside, receiver: End, route: Route, packets: Packets) -> None:
        if isinstance(receiver, Inside):
            raise _Stop(route.target_id, f"{route.target_id} leads to the internet, not to {receiver.name}")
        if route.target is Target.INTERNET_GATEWAY:
            _require_public_address(sender, route.target_id)
        elif route.target is Target.NAT_GATEWAY:
            self._pass_nat_gateway(sender, route, packets)

    def _pass_nat_gateway(self, sender: Inside, route: Route, packets: Packets) -> None:
        gateway, gateway_subnet = _nat_gateway(sender.vpc, route)
        if gateway_subnet is not sender.subnet:
            self._pass_acl(sender.vpc, gateway_subnet, packets, egress=False)
        self._pass_acl(sender.vpc, gateway_subnet, packets, egress=True)
        onward = self._route(sender.vpc, gateway_subnet, packets.destination)
        if onward.target is not Target.INTERNET_GATEWAY:
            raise _Stop(
                gateway.nat_gateway_id,
                f"{gateway.nat_gateway_id} in {gateway_subnet.subnet_id} has no way out: route {onward.cidr} of "
                f"{gateway_subnet.route_table_id} leads to {onward.target_id}",
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


def _is_service(vpc: Vpc, packets: Packets) -> bool:
    address = str(packets.destination)
    if address in (METADATA, METADATA_IPV6):
        return (packets.protocol, packets.first) == ("tcp", _HTTP)
    if address in (TIME, TIME_IPV6):
        return (packets.protocol, packets.first) == ("udp", _NTP)
    return vpc.dns_support and packets.protocol in PORT_PROTOCOLS and packets.first == _DNS


def _require_running(interface: Interface) -> None:
    if interface.instance_id is None:
        raise _Stop(interface.interface_id, f"{interface.interface_id} is not attached to an instance")
    if not interface.running:
        raise _Stop(interface.instance_id, f"{interface.instance_id} is not running")


def _require_public_address(end: Inside, gateway_id: str) -> None:
    if isinstance(end.address, ipaddress.IPv4Address) and end.public_address is None:
        raise _Stop(end.name, f"{end.address} of {end.name} has no public address, which {gateway_id} needs")


def _require_in(vpc: Vpc, receiver: End) -> None:
    if isinstance(receiver, Outside) or receiver.vpc is not vpc:
        raise _Stop(vpc.vpc_id, f"no interface of {vpc.vpc_id} has the address {receiver.address}")


def _require_receiver(target: Interface | None, receiver: End, route: Route, packets: Packets) -> None:
    if target is None:
        raise _Stop(route.target_id, f"{route.target_id} is not in this VPC")
    _require_running(target)
    if isinstance(receiver, Inside) and receiver.interface is target:
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
