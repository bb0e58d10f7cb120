"""A VPC's nftables ruleset: the part of a topology that filters packets in the VPC's namespace.

The ruleset is composed as a whole and applied in one transaction. The hooks in the order of a packet's path:

- prerouting: the source check, the subnet's mark (see `routing`), and egress rules of security groups;
- forward: faults, network ACLs, the destination check, and gateways;
- input: the VPC's own services;
- postrouting: ingress rules of security groups, for packets from interfaces and from the host.

Security groups are stateful: both hooks first accept packets of established connections. Network ACLs and gateways are
stateless.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping

from pycloudlib.local.network.faults import ALL, CERTAIN, Fault
from pycloudlib.local.network.namespaces.matches import FAMILIES, elements, in_blocks, of_traffic, words
from pycloudlib.local.network.namespaces.routing import EXCHANGE, INTERNET_DEVICE, subnet_marks
from pycloudlib.local.network.namespaces.service_addresses import HOST, METADATA, METADATA_IPV6
from pycloudlib.local.network.namespaces.shaping import CLASSES, shaping, shaping_faults
from pycloudlib.local.network.topology import (
    AclEntry,
    GroupRule,
    Interface,
    NatGateway,
    Route,
    Subnet,
    Target,
    Topology,
    Vpc,
    is_routable,
)

TABLE = "inet ec2"
FIRST_NAT_MARK = 0x10000
"""The mark of packets from the first NAT gateway to the exchange, above the marks of subnets."""
LOOPBACK = ipaddress.IPv4Address("127.0.0.1")

_TYPES = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}
_DHCP, _DHCPV6, _DNS, _NTP = 67, 547, 53, 123


def ruleset(
    vpc: Vpc,
    topology: Topology,
    devices: Mapping[str, str],
    faults: Collection[Fault] = (),
    host_ports: Collection[int] = (),
) -> str:
    """Compose the nftables commands for a VPC's namespace. They replace a previous ruleset.

    Args:
        vpc: the VPC.
        topology: all VPCs, for the members of security groups in peered VPCs.
        devices: the names of devices, by the id of the interface or VPC peering connection, and by EXCHANGE. The
            device that leads to the internet is INTERNET_DEVICE.
        faults: network faults, which drop allowed packets, or assign them to a traffic class; default none.
        host_ports: the host's TCP ports that guests can reach at the host's address.
    """
    return "\n".join(_Ruleset(vpc, topology, devices, faults, host_ports).lines()) + "\n"


class _Ruleset:
    def __init__(
        self,
        vpc: Vpc,
        topology: Topology,
        devices: Mapping[str, str],
        faults: Collection[Fault],
        host_ports: Collection[int],
    ) -> None:
        self._vpc = vpc
        self._topology = topology
        self._faults = faults
        self._host_ports = sorted(host_ports)
        self._marks = subnet_marks(vpc)
        self._interfaces = {
            devices[interface.interface_id]: interface
            for interface in vpc.interfaces.values()
            if interface.interface_id in devices
        }
        self._exchange = devices.get(EXCHANGE)
        self._nat_marks = {
            gateway_id: FIRST_NAT_MARK + number for number, gateway_id in enumerate(sorted(vpc.nat_gateways))
        }
        self._peerings = sorted(devices[peering_id] for peering_id in topology.peerings if peering_id in devices)
        self._peers = {
            devices[peering_id]: peer for peering_id, peer in topology.peers_of(vpc).items() if peering_id in devices
        }
        classes = shaping(vpc, topology, devices, faults).values()
        self._classes = {
            traffic_class.mark: traffic_class.number for device_classes in classes for traffic_class in device_classes
        }

    def lines(self) -> Iterator[str]:
        # Add the table first, so that deleting it succeeds; the transaction is atomic.
        yield f"table {TABLE} {{ }}"
        yield f"delete table {TABLE}"
        yield f"table {TABLE} {{"
        for part in (
            self._sets(),
            self._faults_chain(),
            self._source_check(),
            self._groups(),
            self._acls(),
            self._forward(),
            self._services(),
            self._translation(),
        ):
            yield from part
        yield "}"

    # sets

    def _sets(self) -> Iterator[str]:
        yield from _set("enis", "ifname", self._interfaces)
        for mark, subnet_id in sorted((mark, subnet_id) for subnet_id, mark in self._marks.items()):
            members = [device for device, interface in self._interfaces.items() if interface.subnet_id == subnet_id]
            yield from _set(_subnet_set(mark), "ifname", members)
        yield from _map(
            "marks",
            "ifname : mark",
            {name: str(self._marks[interface.subnet_id]) for name, interface in self._interfaces.items()},
        )
        checked = {name: interface for name, interface in self._interfaces.items() if interface.source_dest_check}
        yield from _set("checked", "ifname", checked)
        for family in FAMILIES:
            members = [
                f"{name} . {address}"
                for name, interface in checked.items()
                for address in _addresses(interface, family)
            ]
            yield from _set(f"own_{family}", f"ifname . {_TYPES[family]}", members)
        public = [
            address.private_ip
            for interface in self._vpc.interfaces.values()
            for address in interface.attachment.addresses
            if address.public_ip
        ]
        yield from _set("public", "ipv4_addr", public)
        if self._exchange is not None:
            pairs = dict(_routable_addresses(self._vpc.interfaces.values()))
            yield from _map("public_of", "ipv4_addr : ipv4_addr", pairs)
            yield from _map(
                "private_of", "ipv4_addr : ipv4_addr", {public: private for private, public in pairs.items()}
            )
        for group_id, interfaces in self._members(self._peer_groups()).items():
            for family in FAMILIES:
                addresses = dict.fromkeys(
                    address for interface in interfaces for address in _addresses(interface, family)
                )
                yield from _set(_group_set(group_id, family), _TYPES[family], addresses)

    def _peer_groups(self) -> list[str]:
        """Return the groups of any VPC that rules reference as peers."""
        rules = (rule for group in self._vpc.groups.values() for rule in (*group.ingress, *group.egress))
        return sorted({group_id for rule in rules for group_id in rule.group_ids})

    def _members(self, group_ids: Collection[str]) -> dict[str, list[Interface]]:
        """Return the members of groups, in any VPC."""
        members: dict[str, list[Interface]] = {group_id: [] for group_id in group_ids}
        for vpc in self._topology.vpcs.values():
            for interface in vpc.interfaces.values():
                for group_id in interface.group_ids:
                    if group_id in members:
                        members[group_id].append(interface)
        return members

    # prerouting

    def _source_check(self) -> Iterator[str]:
        yield from _chain(
            "source_check",
            "type filter hook prerouting priority raw;",
            [
                "iifname != @checked accept",
                f"ip saddr 0.0.0.0 udp sport 68 udp dport {_DHCP} accept",
                "ip6 saddr { ::, fe80::/10 } accept",
                "meta nfproto ipv4 iifname . ip saddr != @own_ip drop",
                "meta nfproto ipv6 iifname . ip6 saddr != @own_ip6 drop",
            ],
        )
        yield from _chain(
            "mark_subnets", "type filter hook prerouting priority mangle;", ["meta mark set iifname map @marks"]
        )

    # security groups

    def _groups(self) -> Iterator[str]:
        for group in self._vpc.groups.values():
            for direction, side, rules in (("in", "saddr", group.ingress), ("out", "daddr", group.egress)):
                chain = [line for rule in rules for line in self._group_rule(rule, side)]
                yield from _chain(f"{group.group_id}.{direction}", "", chain)
        for device, interface in self._interfaces.items():
            for direction in ("in", "out"):
                groups = [group_id for group_id in interface.group_ids if group_id in self._vpc.groups]
                yield from _chain(f"{device}.{direction}", "", [f"jump {group}.{direction}" for group in groups])
        yield from _map("egress_of", "ifname : verdict", {name: f"jump {name}.out" for name in self._interfaces})
        yield from _map("ingress_of", "ifname : verdict", {name: f"jump {name}.in" for name in self._interfaces})
        yield from _chain(
            "egress",
            "type filter hook prerouting priority filter;",
            [
                "iifname != @enis accept",
                "ct state established,related accept",
                f"ip daddr {HOST} iifname vmap @egress_of",
                f"ip daddr {HOST} drop",
                # Packets to the VPC's services, which security groups do not filter; the input hook decides.
                "fib daddr type { local, broadcast, multicast } accept",
                "ip6 daddr ff00::/8 accept",
                "iifname vmap @egress_of",
                "drop",
            ],
        )
        yield from _chain(
            "ingress",
            "type filter hook postrouting priority filter;",
            [
                "oifname != @enis accept",
                "ct state established,related accept",
                # Packets from the VPC's services; connections from the host obey the rules.
                f"fib saddr type local ip saddr != {HOST} accept",
                "fib saddr type local meta nfproto ipv6 accept",
                "oifname vmap @ingress_of",
                "drop",
            ],
        )

    def _group_rule(self, rule: GroupRule, side: str) -> Iterator[str]:
        cidrs = [cidr for block in rule.cidrs for cidr in with_host(block)]
        traffic = of_traffic(rule.traffic)
        for blocks in in_blocks(side, cidrs):
            yield words(blocks, traffic, "accept")
        for group_id in rule.group_ids:
            for family in FAMILIES:
                yield words(f"{family} {side} @{_group_set(group_id, family)}", traffic, "accept")

    # network ACLs

    def _acls(self) -> Iterator[str]:
        for acl in self._vpc.acls.values():
            for direction, side, entries in (("in", "saddr", acl.ingress), ("out", "daddr", acl.egress)):
                yield from _chain(f"{acl.acl_id}.{direction}", "", [*_acl_entries(entries, side), "drop"])
        for subnet_id, mark in self._marks.items():
            subnet = self._vpc.subnets[subnet_id]
            for direction, device_key in (("in", "iifname"), ("out", "oifname")):
                chain = [f"{device_key} @{_subnet_set(mark)} return", *self._acl_jump(subnet, direction)]
                yield from _chain(f"{_subnet_set(mark)}.{direction}", "", chain)
        subnets = {name: _subnet_set(self._marks[interface.subnet_id]) for name, interface in self._interfaces.items()}
        yield from _map("acl_in", "ifname : verdict", {name: f"jump {subnet}.in" for name, subnet in subnets.items()})
        yield from _map("acl_out", "ifname : verdict", {name: f"jump {subnet}.out" for name, subnet in subnets.items()})
        for hook, rules in {
            "forward": ["iifname vmap @acl_out", "oifname vmap @acl_in"],
            "input": [f"ip daddr {HOST} iifname vmap @acl_out"],
            "output": [f"ip saddr {HOST} oifname vmap @acl_in"],
        }.items():
            # Stateless, before the filter chains of the hook.
            yield from _chain(f"acls_{hook}", f"type filter hook {hook} priority -10;", rules)

    def _acl_jump(self, subnet: Subnet, direction: str) -> list[str]:
        return [f"jump {subnet.acl_id}.{direction}"] if subnet.acl_id in self._vpc.acls else []

    # gateways

    def _forward(self) -> Iterator[str]:
        yield from _chain("public_address", "", ["ip saddr @public accept", "meta nfproto ipv6 accept", "drop"])
        for subnet_id, mark in self._marks.items():
            subnet = self._vpc.subnets[subnet_id]
            yield from self._internet_chains(subnet, mark)
        chains = {name: f"internet_{self._marks[interface.subnet_id]}" for name, interface in self._interfaces.items()}
        yield from _map(
            "to_internet", "ifname : verdict", {name: f"goto {chain}.out" for name, chain in chains.items()}
        )
        yield from _map(
            "from_internet", "ifname : verdict", {name: f"goto {chain}.in" for name, chain in chains.items()}
        )
        rules = [
            # The destination check: a route may lead to an interface that lacks the destination address.
            "oifname @checked meta nfproto ipv4 oifname . ip daddr != @own_ip drop",
            "oifname @checked meta nfproto ipv6 oifname . ip6 daddr != @own_ip6 drop",
            "iifname @enis oifname @enis accept",
            f"oifname {INTERNET_DEVICE} iifname vmap @to_internet",
            f"iifname {INTERNET_DEVICE} ct state established,related oifname vmap @from_internet",
            *self._exchange_rules(),
        ]
        if self._peerings:
            peers = elements(self._peerings)
            rules += [f"iifname @enis oifname {peers} accept", f"iifname {peers} oifname @enis accept"]
        yield from _chain("forward", "type filter hook forward priority filter; policy drop;", rules)

    def _exchange_rules(self) -> Iterator[str]:
        if self._exchange is None:
            return
        yield f"oifname {self._exchange} iifname vmap @to_internet"
        yield f"iifname {self._exchange} ct direction reply oifname vmap @from_internet"
        if self._vpc.internet_gateway_id is not None:
            yield f"iifname {self._exchange} ct direction original ct status dnat oifname @enis accept"

    def _translation(self) -> Iterator[str]:
        rules = [f"oifname {INTERNET_DEVICE} masquerade"]
        if self._exchange is not None:
            rules += [
                f"oifname {self._exchange} meta mark {self._nat_marks[gateway.nat_gateway_id]} "
                f"snat ip to {gateway.public_ip}"
                for gateway in self._vpc.nat_gateways.values()
                if gateway.public_ip is not None and is_routable(gateway.public_ip)
            ]
            rules.append(f"oifname {self._exchange} snat ip to ip saddr map @public_of")
            entering = [f"iifname {self._exchange} dnat ip to ip daddr map @private_of"]
            yield from _chain("entering", "type nat hook prerouting priority dstnat;", entering)
        yield from _chain("translation", "type nat hook postrouting priority srcnat;", rules)

    def _internet_chains(self, subnet: Subnet, mark: int) -> Iterator[str]:
        table = self._vpc.route_tables.get(subnet.route_table_id)
        for direction, side in (("out", "daddr"), ("in", "saddr")):
            rules = []
            for route in _longest_first(table.routes if table else ()):
                verdict = "drop"
                if route.target is Target.NAT_GATEWAY and route.target_id in self._vpc.nat_gateways:
                    verdict = f"goto internet_{mark}.{route.target_id}.{direction}"
                    gateway = self._vpc.nat_gateways[route.target_id]
                    name = f"internet_{mark}.{route.target_id}.{direction}"
                    yield from _chain(name, "", self._nat_gateway_rules(gateway, subnet, direction))
                elif route.target is Target.INTERNET_GATEWAY:
                    verdict = "goto public_address" if direction == "out" else "accept"
                elif route.target is Target.EGRESS_ONLY_GATEWAY:
                    verdict = "accept"
                rules.append(words(_block(side, route.cidr), verdict))
            yield from _chain(f"internet_{mark}.{direction}", "", [*dict.fromkeys(rules), "drop"])

    def _nat_gateway_rules(self, gateway: NatGateway, subnet: Subnet, direction: str) -> list[str]:
        """Return the rules for a packet in the NAT gateway's subnet."""
        if gateway.public_ip is None or gateway.subnet_id not in self._vpc.subnets:
            return ["drop"]
        gateway_subnet = self._vpc.subnets[gateway.subnet_id]
        is_other = gateway_subnet.subnet_id != subnet.subnet_id
        rules = []
        if direction == "out":
            if self._exchange is not None:
                # Replies to connections from the internet: a NAT gateway has no state for them.
                rules.append("ct direction reply drop")
            # From the sender into the gateway's subnet, then out to the internet.
            rules += self._acl_jump(gateway_subnet, "in") if is_other else []
            rules += self._acl_jump(gateway_subnet, "out")
        else:
            rules += self._acl_jump(gateway_subnet, "in")
            rules += self._acl_jump(gateway_subnet, "out") if is_other else []
        side = "daddr" if direction == "out" else "saddr"
        marked = direction == "out" and self._exchange is not None
        accept = f"meta mark set {self._nat_marks[gateway.nat_gateway_id]} accept" if marked else "accept"
        table = self._vpc.route_tables.get(gateway_subnet.route_table_id)
        for route in _longest_first(table.routes if table else ()):
            verdict = accept if route.target is Target.INTERNET_GATEWAY else "drop"
            rules.append(words(_block(side, route.cidr), verdict))
        return [*rules, "drop"]

    # services and faults

    def _services(self) -> Iterator[str]:
        rules = [
            f"udp dport {{ {_DHCP}, {_NTP}, {_DHCPV6} }} accept",
            f"ip daddr {METADATA} tcp dport 80 accept",
            f"ip6 daddr {METADATA_IPV6} tcp dport 80 accept",
            "icmpv6 type { nd-router-solicit, mld2-listener-report } accept",
        ]
        if self._vpc.dns_support:
            rules.append(f"meta l4proto {{ tcp, udp }} th dport {_DNS} accept")
        if self._host_ports:
            rules.append(f"ip daddr {HOST} tcp dport {elements(map(str, self._host_ports))} accept")
        yield from _chain("services", "", rules)
        yield from _chain(
            "input",
            "type filter hook input priority filter; policy drop;",
            [
                "iifname lo accept",
                "ct state established,related accept",
                "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
                "iifname @enis jump services",
            ],
        )

    def _faults_chain(self) -> Iterator[str]:
        rules: list[str] = ["meta mark set 0"] if self._classes else []
        marks = {fault.fault_id: 1 << bit for bit, fault in enumerate(shaping_faults(self._faults))}
        for fault in self._faults:
            effect = f"meta mark set meta mark or {marks[fault.fault_id]}" if fault.shapes else _drop(fault)
            ends = [end for end in fault.between if end != ALL]
            for family in FAMILIES:
                names = [f"{fault.fault_id}.{number}.{family}" for number in range(len(ends))]
                for name, end in zip(names, ends, strict=True):
                    yield from _set(name, f"ifname . {_TYPES[family]}", self._members_of_end(fault, end, family))
                second_set = f"@{names[1]}" if len(names) > 1 else f"!= @{names[0]}"
                source, destination = f"iifname . {family} saddr", f"oifname . {family} daddr"
                for from_key, to_key in ((source, destination), (destination, source)):
                    rules.append(words(f"{from_key} @{names[0]} {to_key} {second_set}", effect))
        rules += [f"meta mark {mark} meta priority set {CLASSES}:{number:x}" for mark, number in self._classes.items()]
        yield from _chain("faults", "", rules)
        # Faults apply to a packet to another VPC only there, so that they apply once.
        exits = [*self._peerings, *([self._exchange] if self._exchange is not None else [])]
        leaves = [f"oifname {elements(exits)} return"] if exits else []
        for hook, hook_rules in {
            "forward": [*leaves, "jump faults"],
            "input": [f"ip daddr {HOST} jump faults"],
            "output": [f"ip saddr {HOST} jump faults"],
        }.items():
            yield from _chain(f"faults_{hook}", f"type filter hook {hook} priority -300;", hook_rules)

    def _members_of_end(self, fault: Fault, end: str, family: str) -> dict[str, None]:
        """Return the addresses of an end, each with its device in this namespace."""
        local_devices = {interface.interface_id: device for device, interface in self._interfaces.items()}
        members = [
            (local_devices[interface.interface_id], interface)
            for interface in fault.interfaces(end, [self._vpc])
            if interface.interface_id in local_devices
        ]
        for device, peer in self._peers.items():
            members += [(device, interface) for interface in fault.interfaces(end, [peer])]
        endpoints = [(device, address) for device, interface in members for address in _addresses(interface, family)]
        if self._exchange is not None and family == "ip":
            ends = fault.interfaces(end, list(self._topology.vpcs.values()))
            endpoints += [(self._exchange, public) for _, public in _routable_addresses(ends)]
        return dict.fromkeys(f"{device} . {address}" for device, address in endpoints)


def _drop(fault: Fault) -> str:
    return "drop" if fault.cuts else f"numgen random mod {CERTAIN} < {fault.amount} drop"


def with_host(cidr: str) -> Iterator[str]:
    """Yield a rule's CIDR block, and the host's address if the block contains 127.0.0.1."""
    yield cidr
    network = ipaddress.ip_network(cidr)
    if isinstance(network, ipaddress.IPv4Network) and LOOPBACK in network:
        yield f"{HOST}/32"


def _acl_entries(entries: Iterable[AclEntry], side: str) -> Iterator[str]:
    for entry in sorted(entries, key=lambda entry: entry.number):
        for blocks in in_blocks(side, with_host(entry.cidr)):
            yield words(blocks, of_traffic(entry.traffic), "return" if entry.allow else "drop")


def _block(side: str, cidr: str) -> str:
    (expression,) = in_blocks(side, [cidr])
    return expression


def _longest_first(routes: Iterable[Route]) -> list[Route]:
    return sorted(routes, key=lambda route: -ipaddress.ip_network(route.cidr).prefixlen)


def _addresses(interface: Interface, family: str) -> tuple[str, ...]:
    if family == "ip6":
        return interface.attachment.ipv6_addresses
    return tuple(address.private_ip for address in interface.attachment.addresses)


def _routable_addresses(interfaces: Iterable[Interface]) -> list[tuple[str, str]]:
    """Return pairs of private and public addresses, for public addresses that guests can reach."""
    return [
        (address.private_ip, address.public_ip)
        for interface in interfaces
        for address in interface.attachment.addresses
        if address.public_ip is not None and is_routable(address.public_ip)
    ]


def _subnet_set(mark: int) -> str:
    return f"subnet_{mark}"


def _group_set(group_id: str, family: str) -> str:
    return f"{group_id}.{family}"


def _set(name: str, kind: str, members: Iterable[str]) -> Iterator[str]:
    yield f"set {name} {{"
    yield f"type {kind};"
    listed = list(members)
    if listed:
        yield f"elements = {{ {', '.join(listed)} }}"
    yield "}"


def _map(name: str, kind: str, members: Mapping[str, str]) -> Iterator[str]:
    yield f"map {name} {{"
    yield f"type {kind};"
    if members:
        yield f"elements = {{ {', '.join(f'{key} : {value}' for key, value in members.items())} }}"
    yield "}"


def _chain(name: str, hook: str, rules: Iterable[str]) -> Iterator[str]:
    yield f"chain {name} {{"
    if hook:
        yield hook
    yield from rules
    yield "}"
