"""Rulesets and policy routing, tried with packets between network namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pycloudlib.local.network.namespaces.matches import in_blocks, of_traffic
from pycloudlib.local.network.namespaces.routing import KernelRoute, RouteKind, routing
from pycloudlib.local.network.namespaces.ruleset import ruleset, with_host
from pycloudlib.local.network.topology import Route, Target, Topology, Traffic
from support.packet_lab import INTERNET, INTERNET_IPV6, PacketLab, why_not
from support.reach_cases import B6, C6, D6, A, B, C, D, P
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

FORGED = "10.0.1.77"
FOREIGN = "172.16.0.9"

MACHINES = (
    interface("a", A, public=True),
    interface("b", B, "sg-web"),
    interface("c", C),
    interface("d", D),
    interface("p", P, ipv6=False),
)
BASE = lab(*MACHINES)


@pytest.fixture(scope="module")
def namespaces() -> Iterator[PacketLab]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with PacketLab() as packets:
        packets.build(BASE)
        yield packets


@pytest.fixture
def packets(namespaces: PacketLab) -> PacketLab:
    namespaces.apply(BASE)
    return namespaces


def check(packets: PacketLab, source: str, address: str, protocol: str = "tcp", port: int = 8080) -> None:
    assert packets.reaches(source, address, protocol, port, expected=True)


def check_not(packets: PacketLab, source: str, address: str, protocol: str = "tcp", port: int = 8080) -> None:
    assert not packets.reaches(source, address, protocol, port, expected=False)


def changed(topology: Topology, interface_id: str, **changes: object) -> Topology:
    vpc = topology.vpcs["vpc-1"]
    one = replace(vpc.interfaces[interface_id], **changes)  # type: ignore[arg-type]
    vpc = replace(vpc, interfaces={**vpc.interfaces, interface_id: one})
    return replace(topology, vpcs={**topology.vpcs, "vpc-1": vpc})


def in_groups(topology: Topology, interface_id: str, *groups: str) -> Topology:
    return changed(topology, interface_id, group_ids=groups)


@pytest.mark.parametrize(
    ("source", "address", "protocol", "port"),
    [
        ("eni-a", D, "tcp", 8080),
        ("eni-a", D, "udp", 8080),
        ("eni-a", D, "icmp", 0),
        ("eni-a", D6, "tcp", 8080),
        ("eni-a", D6, "icmp", 0),
        ("eni-a", C, "udp", 8080),
        ("eni-a", B, "tcp", 8080),
        ("eni-a", B6, "tcp", 8080),
        ("eni-a", INTERNET, "tcp", 8080),
        ("eni-a", INTERNET, "icmp", 0),
        ("eni-a", INTERNET_IPV6, "tcp", 8080),
        ("eni-d", INTERNET_IPV6, "tcp", 8080),
        ("eni-c", INTERNET, "udp", 8080),
        ("eni-c", INTERNET_IPV6, "tcp", 8080),
        ("eni-b", P, "tcp", 8080),
        ("eni-p", B, "tcp", 8080),
        ("host@vpc-1", A, "tcp", 22),
        ("host@vpc-1", B, "tcp", 8080),
        ("host@vpc-1", A, "udp", 5353),
    ],
)
def test_allowed_packets_arrive(packets: PacketLab, source: str, address: str, protocol: str, port: int) -> None:
    check(packets, source, address, protocol, port)


@pytest.mark.parametrize(
    ("source", "address", "protocol", "port"),
    [
        ("eni-a", B, "tcp", 8081),
        ("eni-a", B, "udp", 8080),
        ("eni-a", B, "icmp", 0),
        ("eni-a", B6, "tcp", 22),
        ("eni-d", INTERNET, "tcp", 8080),
        ("eni-b", INTERNET, "tcp", 8080),
        ("eni-b", INTERNET_IPV6, "tcp", 8080),
        ("eni-a", P, "tcp", 8080),
        ("eni-a", "10.0.1.99", "tcp", 8080),
        ("host@vpc-1", B, "tcp", 22),
    ],
)
def test_other_packets_vanish(packets: PacketLab, source: str, address: str, protocol: str, port: int) -> None:
    check_not(packets, source, address, protocol, port)


def test_group_as_peer_means_its_members(packets: PacketLab) -> None:
    packets.apply(in_groups(BASE, "eni-d", "sg-peers"))
    check(packets, "eni-b", D, "tcp", 22)
    check(packets, "eni-b", D6, "icmp")
    check_not(packets, "eni-a", D)
    packets.apply(in_groups(in_groups(BASE, "eni-d", "sg-peers"), "eni-a", "sg-all", "sg-web"))
    check(packets, "eni-a", D)


def test_group_of_a_peered_vpc_as_peer(packets: PacketLab) -> None:
    vpc = BASE.vpcs["vpc-2"]
    one = replace(vpc.interfaces["eni-p"], group_ids=("sg-all", "sg-far"))
    far = replace(vpc, interfaces={"eni-p": one}, groups={**vpc.groups, "sg-far": group("sg-far")})
    topology = replace(BASE, vpcs={**BASE.vpcs, "vpc-2": far})
    packets.apply(with_groups(topology, group("sg-web", rule(9, "tcp", 22, groups=["sg-far"]))))
    check(packets, "eni-p", B, port=22)
    check_not(packets, "eni-a", B, port=22)


def test_egress_rules(packets: PacketLab) -> None:
    only_dns = group("sg-out", rule(1, cidrs=ANYWHERE), egress=[rule(2, "udp", (50, 60), cidrs=[f"{B}/32"])])
    topology = with_groups(in_groups(BASE, "eni-a", "sg-out"), only_dns, group("sg-web", rule(3, cidrs=ANYWHERE)))
    packets.apply(topology)
    check(packets, "eni-a", B, "udp", 53)
    check_not(packets, "eni-a", B, "udp", 61)
    check_not(packets, "eni-a", B, "tcp", 53)
    check_not(packets, "eni-a", C, "udp", 53)
    check(packets, "eni-d", A)  # answers need no rule


def test_group_without_egress_answers(packets: PacketLab) -> None:
    packets.apply(with_groups(BASE, group("sg-web", rule(2, "tcp", 8080, cidrs=ANYWHERE), egress=())))
    check(packets, "eni-a", B)
    check_not(packets, "eni-b", A)


def test_icmp_rules(packets: PacketLab) -> None:
    pings = group("sg-web", rule(1, "icmp", (8, None), cidrs=["0.0.0.0/0"]), rule(2, "icmpv6", cidrs=["::/0"]))
    packets.apply(with_groups(BASE, pings))
    check(packets, "eni-a", B, "icmp")
    check(packets, "eni-a", B6, "icmp")
    check_not(packets, "eni-a", B)
    packets.apply(with_groups(BASE, group("sg-web", rule(1, "icmp", (13, None), cidrs=["0.0.0.0/0"]))))
    check_not(packets, "eni-a", B, "icmp")


def test_rule_that_names_loopback_means_the_host(packets: PacketLab) -> None:
    packets.apply(in_groups(BASE, "eni-d", "sg-host"))
    check(packets, "host@vpc-1", D, port=22)
    check_not(packets, "host@vpc-1", D, port=8080)
    check_not(packets, "eni-a", D, port=22)


def test_revoked_rule_spares_open_connections(packets: PacketLab) -> None:
    packets.connect("eni-a", B)
    assert packets.talks(expected=True)
    packets.apply(with_groups(BASE, group("sg-web")))
    assert packets.talks(expected=True)
    check_not(packets, "eni-a", B)


def test_network_acl_is_stateless(packets: PacketLab) -> None:
    open_ingress = [entry(100, "0.0.0.0/0")]
    packets.apply(with_acl(BASE, "subnet-3", open_ingress, [entry(100, "10.0.1.0/24", "tcp", (1024, 65535))]))
    check(packets, "eni-a", C)
    check_not(packets, "eni-a", C, "icmp")
    check_not(packets, "eni-a", C6)
    packets.apply(with_acl(BASE, "subnet-3", open_ingress, [entry(100, "10.0.1.0/24", "tcp", (1, 1023))]))
    check_not(packets, "eni-a", C)


def test_lowest_network_acl_entry_decides(packets: PacketLab) -> None:
    anything = [entry(100, "0.0.0.0/0")]
    deny = entry(50, "10.0.1.5/32", "tcp", 8080, allow=False)
    packets.apply(with_acl(BASE, "subnet-3", [*anything, deny], anything))
    check_not(packets, "eni-a", C)
    check(packets, "eni-d", C)
    check(packets, "eni-a", C, port=8081)
    packets.apply(with_acl(BASE, "subnet-3", [*anything, replace(deny, number=150)], anything))
    check(packets, "eni-a", C)


def test_network_acl_cuts_open_connections(packets: PacketLab) -> None:
    packets.connect("eni-a", C)
    packets.apply(with_acl(BASE, "subnet-3"))
    assert not packets.talks(expected=False)


def test_network_acl_spares_its_own_subnet(packets: PacketLab) -> None:
    packets.apply(with_acl(BASE, "subnet-1"))
    check(packets, "eni-a", D)
    check_not(packets, "eni-a", C)
    check_not(packets, "eni-a", INTERNET)


def test_network_acl_holds_for_the_host(packets: PacketLab) -> None:
    anything = [entry(100, "0.0.0.0/0")]
    packets.apply(with_acl(BASE, "subnet-1", [entry(100, "0.0.0.0/0", "tcp", 22)], anything))
    check(packets, "host@vpc-1", A, port=22)
    check_not(packets, "host@vpc-1", A, port=23)
    packets.apply(with_acl(BASE, "subnet-1", anything, [entry(100, "10.0.0.0/8")]))
    check_not(packets, "host@vpc-1", A, port=22)


def test_network_acl_of_the_nat_gateways_subnet(packets: PacketLab) -> None:
    anything = [entry(100, "0.0.0.0/0")]
    packets.apply(with_acl(BASE, "subnet-1", [entry(90, "10.0.3.0/24", allow=False), *anything], anything))
    check_not(packets, "eni-c", INTERNET)
    check(packets, "eni-a", INTERNET)
    packets.apply(with_acl(BASE, "subnet-1", anything, [entry(90, "10.0.0.0/16")]))
    check_not(packets, "eni-c", INTERNET)
    packets.apply(with_acl(BASE, "subnet-1", [entry(90, "10.0.0.0/16")], anything))
    check_not(packets, "eni-c", INTERNET)  # the internet's answers


def test_nat_gateway_needs_a_way_out(packets: PacketLab) -> None:
    packets.apply(with_routes(BASE, "rtb-1"))
    check_not(packets, "eni-c", INTERNET)
    check_not(packets, "eni-a", INTERNET)


def test_longest_prefix_wins(packets: PacketLab) -> None:
    default = Route("0.0.0.0/0", Target.INTERNET_GATEWAY, "igw-1")
    packets.apply(with_routes(BASE, "rtb-1", default, Route("203.0.113.0/24", Target.BLACKHOLE, "nat-gone")))
    check_not(packets, "eni-a", INTERNET)
    packets.apply(
        with_routes(
            BASE,
            "rtb-1",
            Route("0.0.0.0/0", Target.BLACKHOLE, "igw-gone"),
            Route("203.0.113.0/24", Target.INTERNET_GATEWAY, "igw-1"),
        )
    )
    check(packets, "eni-a", INTERNET)


def test_peering_needs_routes_on_both_sides(packets: PacketLab) -> None:
    packets.apply(with_routes(BASE, "rtb-2"))
    check_not(packets, "eni-b", P)
    check_not(packets, "eni-p", B)


def test_open_connection_ends_with_its_route(packets: PacketLab) -> None:
    packets.connect("eni-a", INTERNET)
    assert packets.talks(expected=True)
    packets.apply(with_routes(BASE, "rtb-1"))
    assert not packets.talks(expected=False)


def test_source_check(packets: PacketLab) -> None:
    assert not packets.reaches("eni-a", C, "udp", expected=False, sender=FORGED)
    packets.apply(changed(BASE, "eni-a", source_dest_check=False))
    assert packets.arrives("eni-a", C, sender=FORGED, expected=True)


def test_destination_check(packets: PacketLab) -> None:
    topology = with_routes(BASE, "rtb-3", Route("172.16.0.0/12", Target.INTERFACE, "eni-d"))
    packets.apply(topology)
    assert not packets.arrives("eni-c", FOREIGN, at="eni-d", expected=False)
    packets.apply(changed(topology, "eni-d", source_dest_check=False))
    assert packets.arrives("eni-c", FOREIGN, at="eni-d", expected=True)


def test_many_and_overlapping_rules_are_applied(packets: PacketLab) -> None:
    rules = [rule(number, "tcp", number, cidrs=["10.0.0.0/8", "10.0.1.0/24", f"{A}/32"]) for number in range(1, 1001)]
    packets.apply(with_groups(BASE, group("sg-web", *rules)))
    check(packets, "eni-a", B, port=1000)
    check_not(packets, "eni-a", B, port=1001)


def test_empty_vpc_is_applied(packets: PacketLab) -> None:
    packets.apply(lab())
    check_not(packets, "eni-a", D)


def test_devices_that_do_not_run_are_left_out() -> None:
    text = ruleset(BASE.vpcs["vpc-1"], BASE, {"eni-a": "eni7"})
    assert "eni7" in text
    assert "jump eni7.out" in text
    assert text.count("jump sg-all.in") == 1


def test_services_of_the_vpc() -> None:
    vpc = BASE.vpcs["vpc-1"]
    assert "th dport 53 accept" in ruleset(vpc, BASE, {})
    assert "th dport 53 accept" not in ruleset(replace(vpc, dns_support=False), BASE, {})
    assert "198.51.100.1 tcp dport 3128 accept" in ruleset(vpc, BASE, {}, host_ports=[3128])
    assert "tcp dport { 80, 3128 }" in ruleset(vpc, BASE, {}, host_ports=[3128, 80])


def test_private_nat_gateway_leads_nowhere() -> None:
    vpc = BASE.vpcs["vpc-1"]
    private = replace(vpc.nat_gateways["nat-1"], public_ip=None)
    text = ruleset(replace(vpc, nat_gateways={"nat-1": private}), BASE, {})
    assert "chain internet_3.nat-1.out {\ndrop\n}" in text


def test_routing_of_each_target() -> None:
    vpc = with_routes(
        BASE,
        "rtb-1",
        Route("0.0.0.0/0", Target.INTERNET_GATEWAY, "igw-1"),
        Route("10.1.0.0/16", Target.PEERING, "pcx-1"),
        Route("10.2.0.0/16", Target.PEERING, "pcx-2"),
        Route("10.3.0.0/16", Target.INTERFACE, "eni-b"),
        Route("2001:db8:9::/48", Target.INTERFACE, "eni-b"),
        Route("10.4.0.0/16", Target.INTERFACE, "eni-c"),
        Route("10.5.0.0/16", Target.BLACKHOLE, "nat-9"),
    ).vpcs["vpc-1"]
    devices = {"eni-b": "eni2", "pcx-1": "pcx1"}
    subnets = routing(vpc, devices, {"igw": {"ip": "192.0.2.2"}, "pcx1": {"ip": "169.254.254.2"}})
    assert [(one.mark, one.table) for one in subnets] == [(1, 1001), (2, 1002), (3, 1003)]
    assert set(subnets[0].routes) == {
        KernelRoute("10.0.0.0/16", RouteKind.MAIN),
        KernelRoute("2001:db8:1::/56", RouteKind.MAIN),
        KernelRoute("0.0.0.0/0", RouteKind.DEVICE, "igw", "192.0.2.2"),
        KernelRoute("10.1.0.0/16", RouteKind.DEVICE, "pcx1", "169.254.254.2"),
        KernelRoute("10.2.0.0/16", RouteKind.DROP),
        KernelRoute("10.3.0.0/16", RouteKind.DEVICE, "eni2", B),
        KernelRoute("2001:db8:9::/48", RouteKind.DEVICE, "eni2", B6),
        KernelRoute("10.4.0.0/16", RouteKind.DROP),
        KernelRoute("10.5.0.0/16", RouteKind.DROP),
        KernelRoute("::/0", RouteKind.DROP),
    }


def test_routing_without_a_table_drops() -> None:
    vpc = replace(BASE.vpcs["vpc-1"], route_tables={})
    assert {route.kind for subnet in routing(vpc, {}) for route in subnet.routes} == {RouteKind.DROP}


@pytest.mark.parametrize(
    ("traffic", "expression"),
    [
        (Traffic(), ""),
        (Traffic("tcp"), "meta l4proto tcp"),
        (Traffic("tcp", 22, 22), "tcp dport 22"),
        (Traffic("udp", 1, 9), "udp dport 1-9"),
        (Traffic("icmp", 8), "icmp type 8"),
        (Traffic("icmp", 3, 4), "icmp type 3 icmp code 4"),
        (Traffic("icmpv6"), "meta l4proto ipv6-icmp"),
        (Traffic("icmpv6", 128), "icmpv6 type 128"),
        (Traffic("50"), "meta l4proto 50"),
    ],
)
def test_of_traffic(traffic: Traffic, expression: str) -> None:
    assert of_traffic(traffic) == expression


@pytest.mark.parametrize(
    ("cidrs", "expressions"),
    [
        ([], []),
        (["10.0.0.0/8", "10.1.0.0/16"], ["ip saddr 10.0.0.0/8"]),
        (["10.0.0.0/8", "::/0"], ["ip saddr 10.0.0.0/8", "meta nfproto ipv6"]),
        (["0.0.0.0/1", "128.0.0.0/1"], ["meta nfproto ipv4"]),
        (["10.0.0.1/32", "10.0.0.9/32"], ["ip saddr { 10.0.0.1/32, 10.0.0.9/32 }"]),
    ],
)
def test_in_blocks(cidrs: list[str], expressions: list[str]) -> None:
    assert list(in_blocks("saddr", cidrs)) == expressions


def test_with_host() -> None:
    assert list(with_host("10.0.0.0/8")) == ["10.0.0.0/8"]
    assert list(with_host("127.0.0.1/32")) == ["127.0.0.1/32", "198.51.100.1/32"]
    assert list(with_host("::/0")) == ["::/0"]
