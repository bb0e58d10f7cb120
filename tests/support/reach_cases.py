"""Who reaches whom, and what decides: for reach(), and for packets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pycloudlib.local.network.topology import Route, RouteTable, Target, Topology
from support.sample_topologies import (
    ANYWHERE,
    entry,
    group,
    interface,
    lab,
    rule,
    with_acl,
    with_groups,
    with_routes,
)

A, B, C, D, P = "10.0.1.5", "10.0.2.5", "10.0.3.5", "10.0.1.6", "10.1.1.5"
A6, B6, C6, D6 = "2001:db8:1:1::5", "2001:db8:1:2::5", "2001:db8:1:3::5", "2001:db8:1:1::6"
INTERNET, INTERNET_IPV6 = "203.0.113.9", "2001:db8:ffff::9"

BASE = lab(
    interface("a", A, public=True),
    interface("b", B, "sg-web"),
    interface("c", C),
    interface("d", D),
    interface("p", P, ipv6=False),
)
"""Interface a has a public address in the public subnet, d has none there; b lets port 8080 in, in the private subnet,
which is peered with p's; c is behind the NAT gateway."""

EVERYTHING = (entry(100, "0.0.0.0/0"),)


@dataclass(frozen=True)
class Case:
    """A question and its answer.

    Args:
        name: of the test.
        topology: where.
        source: who asks.
        destination: whom.
        component: what decides.
        reachable: whether an answer comes back.
        protocol: the protocol.
        port: the destination port.
        has_packets: whether packets can be sent for it.
    """

    name: str
    topology: Topology
    source: str
    destination: str
    component: str
    reachable: bool = True
    protocol: str = "tcp"
    port: int | None = 8080
    has_packets: bool = True


def changed(topology: Topology, interface_id: str, **changes: Any) -> Topology:
    """Change an interface of the first VPC."""
    vpc = topology.vpcs["vpc-1"]
    one = replace(vpc.interfaces[interface_id], **changes)
    vpc = replace(vpc, interfaces={**vpc.interfaces, interface_id: one})
    return replace(topology, vpcs={**topology.vpcs, "vpc-1": vpc})


def yes(name: str, topology: Topology, source: str, destination: str, component: str, **more: Any) -> Case:
    return Case(name, topology, source, destination, component, **more)


def no(name: str, topology: Topology, source: str, destination: str, component: str, **more: Any) -> Case:
    return Case(name, topology, source, destination, component, reachable=False, **more)


def _vpc(topology: Topology, **changes: Any) -> Topology:
    return replace(topology, vpcs={**topology.vpcs, "vpc-1": replace(topology.vpcs["vpc-1"], **changes)})


def _peer_table(*routes: Route) -> Topology:
    peered = replace(BASE.vpcs["vpc-2"], route_tables={"rtb-peered": RouteTable("rtb-peered", routes)})
    return replace(BASE, vpcs={**BASE.vpcs, "vpc-2": peered})


_LOCKED_OUT = with_groups(
    changed(BASE, "eni-a", group_ids=("sg-in",)), group("sg-in", rule(1, cidrs=ANYWHERE), egress=())
)
_DNS_ONLY = with_groups(
    changed(BASE, "eni-a", group_ids=("sg-dns",)),
    group("sg-dns", rule(1, cidrs=ANYWHERE), egress=[rule(7, "udp", (50, 60), cidrs=["10.0.0.0/8"])]),
)
_PINGS = with_groups(
    BASE, group("sg-web", rule(5, "icmp", (8, None), cidrs=["0.0.0.0/0"]), rule(6, "icmpv6", cidrs=["::/0"]))
)
_PEERS = changed(BASE, "eni-d", group_ids=("sg-peers",))
_WITHOUT_GROUPS = changed(BASE, "eni-d", group_ids=())
_TWO_GROUPS = changed(BASE, "eni-d", group_ids=("sg-none", "sg-web"))
_SPLIT_ANSWERS = with_acl(BASE, "subnet-3", EVERYTHING, [entry(100, "0.0.0.0/0", "tcp", (1024, 40000))])
_NO_IGW_ROUTE = with_routes(BASE, "rtb-1")
_GONE_NAT = with_routes(BASE, "rtb-3", Route("0.0.0.0/0", Target.BLACKHOLE, "nat-gone"))
_SPECIFIC = with_routes(
    BASE,
    "rtb-1",
    Route("0.0.0.0/0", Target.INTERNET_GATEWAY, "igw-1"),
    Route("203.0.113.0/24", Target.BLACKHOLE, "eni-gone"),
)
_TO_INTERFACE = with_routes(BASE, "rtb-3", Route("172.16.0.0/12", Target.INTERFACE, "eni-d"))
_NAT_ACL = with_acl(BASE, "subnet-1", [entry(90, "10.0.3.0/24", allow=False), *EVERYTHING], EVERYTHING)
_NAT_ANSWER_ACL = with_acl(BASE, "subnet-1", [entry(90, "10.0.0.0/16")], EVERYTHING)
_PRIVATE_NAT = _vpc(BASE, nat_gateways={"nat-1": replace(BASE.vpcs["vpc-1"].nat_gateways["nat-1"], public_ip=None)})

CASES = [
    # security groups
    yes("all_traffic_between_groups", BASE, "i-a", "i-d", "sgr-1"),
    yes("by_interface_id", BASE, "eni-a", "eni-d", "sgr-1", protocol="udp"),
    yes("by_address", BASE, "eni-a", D, "sgr-1", protocol="icmp", port=None),
    yes("open_port", BASE, "i-a", "i-b", "sgr-2"),
    no("closed_port", BASE, "i-a", "i-b", "sg-web", port=8081),
    no("other_protocol", BASE, "i-a", "i-b", "sg-web", protocol="udp"),
    yes("ipv6_open_port", BASE, "i-a", B6, "sgr-2"),
    no("ipv6_closed_port", BASE, "i-a", B6, "sg-web", port=22),
    no("no_egress_rule", _LOCKED_OUT, "i-a", "i-d", "sg-in"),
    yes("answers_need_no_egress_rule", _LOCKED_OUT, "i-d", "i-a", "sgr-1"),
    yes("egress_port_range", _DNS_ONLY, "i-a", "i-d", "sgr-1", protocol="udp", port=53),
    no("egress_port_outside_range", _DNS_ONLY, "i-a", "i-d", "sg-dns", protocol="udp", port=61),
    no("egress_to_another_block", _DNS_ONLY, "i-a", "internet", "sg-dns", protocol="udp", port=53),
    yes("ping_by_type", _PINGS, "i-a", "i-b", "sgr-5", protocol="icmp", port=None),
    yes("ping_ipv6", _PINGS, "i-a", B6, "sgr-6", protocol="icmp", port=None),
    no("ping_is_not_tcp", _PINGS, "i-a", "i-b", "sg-web"),
    yes("member_of_peer_group", _PEERS, "i-b", "i-d", "sgr-3", port=22),
    yes("member_of_peer_group_ipv6", _PEERS, "i-b", D6, "sgr-3", port=22),
    no("no_member_of_peer_group", _PEERS, "i-a", "i-d", "sg-peers"),
    no("no_group", _WITHOUT_GROUPS, "i-a", "i-d", "eni-d"),
    yes("second_group_decides", _TWO_GROUPS, "i-a", "i-d", "sgr-2"),
    # network ACLs
    no("acl_denies_all", with_acl(BASE, "subnet-3"), "i-a", "i-c", "acl-subnet-3"),
    no("acl_of_sender", with_acl(BASE, "subnet-1", EVERYTHING), "i-a", "i-c", "acl-subnet-1"),
    no("acl_of_answer", with_acl(BASE, "subnet-3", EVERYTHING), "i-a", "i-c", "acl-subnet-3"),
    no("acl_of_answer_into_sender", with_acl(BASE, "subnet-1", (), EVERYTHING), "i-a", "i-c", "acl-subnet-1"),
    no(
        "acl_of_answer_to_some_ports",
        _SPLIT_ANSWERS,
        "i-a",
        "i-c",
        "acl-subnet-3",
        has_packets=False,  # it depends on the client's port
    ),
    yes(
        "acl_of_answer_to_ephemeral_ports",
        with_acl(BASE, "subnet-3", EVERYTHING, [entry(100, "10.0.1.0/24", "tcp", (1024, 65535))]),
        "i-a",
        "i-c",
        "sgr-1",
    ),
    no(
        "acl_of_answer_has_tcp_only",
        with_acl(BASE, "subnet-3", EVERYTHING, [entry(100, "0.0.0.0/0", "tcp", (1024, 65535))]),
        "i-a",
        "i-c",
        "acl-subnet-3",
        protocol="icmp",
        port=None,
    ),
    no(
        "acl_lower_number_denies",
        with_acl(BASE, "subnet-3", [*EVERYTHING, entry(50, f"{A}/32", "tcp", 8080, allow=False)], EVERYTHING),
        "i-a",
        "i-c",
        "acl-subnet-3",
    ),
    yes(
        "acl_higher_number_is_too_late",
        with_acl(BASE, "subnet-3", [*EVERYTHING, entry(150, f"{A}/32", allow=False)], EVERYTHING),
        "i-a",
        "i-c",
        "sgr-1",
    ),
    yes("acl_spares_its_own_subnet", with_acl(BASE, "subnet-1"), "i-a", "i-d", "sgr-1"),
    no("acl_without_ipv6", with_acl(BASE, "subnet-3", EVERYTHING, EVERYTHING), "i-a", C6, "acl-subnet-3"),
    # routes and gateways
    yes("internet_by_gateway", BASE, "i-a", "internet", "sgr-sg-all-out"),
    yes("internet_by_gateway_ipv6", BASE, "i-d", INTERNET_IPV6, "sgr-sg-all-out"),
    no("no_public_address", BASE, "i-d", "internet", "eni-d"),
    no("no_default_route", BASE, "i-b", "internet", "rtb-2"),
    no("route_removed", _NO_IGW_ROUTE, "i-a", INTERNET, "rtb-1"),
    no("longest_prefix_is_a_blackhole", _SPECIFIC, "i-a", INTERNET, "rtb-1"),
    yes("internet_by_nat_gateway", BASE, "i-c", "internet", "sgr-sg-all-out", protocol="udp"),
    yes("internet_by_egress_only_gateway", BASE, "i-c", INTERNET_IPV6, "sgr-sg-all-out"),
    no("nat_gateway_without_a_way_out", _NO_IGW_ROUTE, "i-c", "internet", "rtb-1"),
    no("nat_gateway_gone", _GONE_NAT, "i-c", "internet", "rtb-3"),
    no("private_nat_gateway", _PRIVATE_NAT, "i-c", "internet", "nat-1"),
    no("acl_of_nat_gateway", _NAT_ACL, "i-c", "internet", "acl-subnet-1"),
    no("acl_of_nat_gateway_for_answers", _NAT_ANSWER_ACL, "i-c", "internet", "acl-subnet-1"),
    yes("peering", BASE, "i-b", "i-p", "sgr-1"),
    yes("peering_back", BASE, "i-p", "i-b", "sgr-2"),
    no("peering_without_a_route", BASE, "i-c", "i-p", "nat-1"),
    no("peering_without_a_route_back", _peer_table(), "i-b", "i-p", "rtb-peered"),
    no("unassigned_address", BASE, "i-a", "10.0.1.99", "vpc-1"),
    no("unassigned_address_of_peer", BASE, "i-b", "10.1.1.99", "vpc-2"),
    no("destination_check", _TO_INTERFACE, "i-c", "172.16.0.9", "eni-d"),
    no(
        "forwarding_guest",
        changed(_TO_INTERFACE, "eni-d", source_dest_check=False),
        "i-c",
        "172.16.0.9",
        "eni-d",
    ),
    # the host
    yes("host_by_any_block", BASE, "host", "i-a", "sgr-1", port=22),
    yes("host_to_open_port", BASE, "host", "i-b", "sgr-2"),
    no("host_to_closed_port", BASE, "host", "i-b", "sg-web", port=22),
    yes("host_by_loopback_block", changed(BASE, "eni-d", group_ids=("sg-host",)), "host", "i-d", "sgr-4", port=22),
    no("guest_is_not_the_host", changed(BASE, "eni-d", group_ids=("sg-host",)), "i-a", "i-d", "sg-host", port=22),
    no("host_and_acl", with_acl(BASE, "subnet-1", (), EVERYTHING), "host", "i-a", "acl-subnet-1", port=22),
    no("host_and_acl_of_answer", with_acl(BASE, "subnet-1", EVERYTHING), "host", "i-a", "acl-subnet-1", port=22),
    # what no packet can be sent for here
    yes("host_by_public_address", BASE, "host", "127.9.1.5", "sgr-1", port=22, has_packets=False),
    yes("from_internet", BASE, "internet", "i-a", "sgr-1", has_packets=False),
    yes("from_an_address", BASE, "8.8.8.8", "i-a", "sgr-1", has_packets=False),
    yes("from_internet_ipv6", BASE, INTERNET_IPV6, "i-d", "sgr-1", has_packets=False),
    no("from_internet_without_public_address", BASE, "internet", "i-d", "eni-d", has_packets=False),
    no("from_internet_without_route", _NO_IGW_ROUTE, "internet", "i-a", "rtb-1", has_packets=False),
    no(
        "from_internet_with_answers_by_nat",
        changed(
            BASE,
            "eni-c",
            attachment=replace(
                BASE.vpcs["vpc-1"].interfaces["eni-c"].attachment,
                addresses=(
                    replace(BASE.vpcs["vpc-1"].interfaces["eni-c"].attachment.addresses[0], public_ip="127.9.3.5"),
                ),
            ),
        ),
        "internet",
        "i-c",
        "rtb-3",
        has_packets=False,
    ),
    no("no_internet_gateway", _vpc(BASE, internet_gateway_id=None), "internet", "i-a", "vpc-1", has_packets=False),
    no("from_an_unassigned_address", BASE, "10.0.9.9", "i-a", "vpc-1", has_packets=False),
    no("public_address_from_a_guest", BASE, "i-d", "127.9.1.5", "eni-d", has_packets=False),
    no("stopped_sender", changed(BASE, "eni-a", running=False), "i-a", "i-d", "i-a", has_packets=False),
    no("stopped_receiver", changed(BASE, "eni-d", running=False), "i-a", "i-d", "i-d", has_packets=False),
    no("loose_interface", changed(BASE, "eni-d", instance_id=None), "i-a", "eni-d", "eni-d", has_packets=False),
    yes("itself", BASE, "i-a", "i-a", "eni-a", has_packets=False),
    yes("metadata", BASE, "i-b", "169.254.169.254", "vpc-1", port=80, has_packets=False),
    no("metadata_at_another_port", BASE, "i-a", "169.254.169.254", "vpc-1", port=8080, has_packets=False),
    yes("names", BASE, "i-b", "10.0.0.2", "vpc-1", protocol="udp", port=53, has_packets=False),
    yes("time", BASE, "i-b", "169.254.169.123", "vpc-1", protocol="udp", port=123, has_packets=False),
    yes("time by IPv6", BASE, "i-b", "fd00:ec2::123", "vpc-1", protocol="udp", port=123, has_packets=False),
    no(
        "names_switched_off",
        _vpc(BASE, dns_support=False),
        "i-b",
        "10.0.0.2",
        "vpc-1",
        protocol="udp",
        port=53,
        has_packets=False,
    ),
    no("guest_to_host", BASE, "i-a", "host", "host"),
    no("guest_to_open_host_port_by_udp", BASE, "i-a", "host", "host", protocol="udp", port=3128),
    yes("guest_to_open_host_port", BASE, "i-a", "host", "host", port=3128),
    no(
        "guest_to_open_host_port_and_egress",
        changed(BASE, "eni-d", group_ids=("sg-none",)),
        "i-d",
        "host",
        "sg-none",
        port=3128,
    ),
    no(
        "guest_to_open_host_port_and_acl",
        with_acl(BASE, "subnet-1", EVERYTHING, ()),
        "i-a",
        "host",
        "acl-subnet-1",
        port=3128,
    ),
    no(
        "guest_to_open_host_port_and_acl_of_answer",
        with_acl(BASE, "subnet-1", (), EVERYTHING),
        "i-a",
        "host",
        "acl-subnet-1",
        port=3128,
    ),
    yes("other_protocol_by_number", BASE, "i-a", "i-d", "sgr-1", protocol="50", port=None, has_packets=False),
]
