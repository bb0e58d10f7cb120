"""Reachability, and that packets agree with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.service_addresses import HOST
from pycloudlib.local.network.reach import reach
from pycloudlib.local.network.topology import (
    AclEntry,
    GroupRule,
    Interface,
    NetworkAcl,
    Route,
    RouteTable,
    SecurityGroup,
    Target,
    Topology,
    Traffic,
)
from support.packet_lab import HOST_PORTS, PacketLab, why_not
from support.reach_cases import BASE, CASES, INTERNET, Case
from support.sample_topologies import LOCAL_ROUTES

WITH_PACKETS = [case for case in CASES if case.has_packets]
ADDRESSES = {
    one: interface.attachment.private_ip
    for vpc in BASE.vpcs.values()
    for interface in vpc.interfaces.values()
    for one in (interface.interface_id, interface.instance_id)
}


@pytest.fixture(scope="module")
def packets() -> Iterator[PacketLab]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with PacketLab() as lab:
        lab.build(BASE)
        yield lab


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reach(case: Case) -> None:
    answer = reach(case.topology, case.source, case.destination, case.protocol, case.port, host_ports=HOST_PORTS)
    assert (answer.reachable, answer.component) == (case.reachable, case.component), answer
    assert bool(answer) is case.reachable
    assert answer.reason


@pytest.mark.parametrize("case", WITH_PACKETS, ids=lambda case: case.name)
def test_packets_agree(packets: PacketLab, case: Case) -> None:
    packets.apply(case.topology)
    assert (
        send(packets, case.source, case.destination, case.protocol, case.port, expected=case.reachable)
        is case.reachable
    )


def send(lab: PacketLab, source: str, destination: str, protocol: str, port: int | None, *, expected: bool) -> bool:
    sender = "host@vpc-1" if source == "host" else source.replace("i-", "eni-") if source.startswith("i-") else source
    named = {"internet": INTERNET, "host": HOST, **ADDRESSES}
    address = named.get(destination, destination)
    return lab.reaches(sender, address, protocol, port or 0, expected=expected)


def test_path_names_what_packets_pass() -> None:
    answer = reach(BASE, "i-c", "internet", "tcp", 443)
    assert answer.path == (
        "egress rule sgr-sg-all-out of sg-all allows tcp/443 to 203.0.113.9",
        "route 0.0.0.0/0 of rtb-3 leads to nat-1",
        "entry 100 of acl-open allows tcp/443 from 10.0.3.5 to 203.0.113.9 out of subnet-3",
        "entry 100 of acl-open allows tcp/443 from 10.0.3.5 to 203.0.113.9 into subnet-1",
        "entry 100 of acl-open allows tcp/443 from 10.0.3.5 to 203.0.113.9 out of subnet-1",
        "nat-1 leads on to igw-1",
        "entry 100 of acl-open allows tcp/32768-60999 from 203.0.113.9 to 10.0.3.5 into subnet-1",
        "entry 100 of acl-open allows tcp/32768-60999 from 203.0.113.9 to 10.0.3.5 out of subnet-1",
        "entry 100 of acl-open allows tcp/32768-60999 from 203.0.113.9 to 10.0.3.5 into subnet-3",
    )


def test_reason_names_what_is_missing() -> None:
    assert reach(BASE, "i-a", "i-b", "tcp", 22).reason == "no ingress rule of sg-web allows tcp/22 from 10.0.1.5"


def test_instance_means_its_primary_interface() -> None:
    vpc = BASE.vpcs["vpc-1"]
    moved = replace(vpc.interfaces["eni-a"], instance_id="i-d", device_index=1)
    topology = replace(BASE, vpcs={**BASE.vpcs, "vpc-1": replace(vpc, interfaces={**vpc.interfaces, "eni-a": moved})})
    assert reach(topology, "i-d", "internet", "tcp", 80).component == "eni-d"


def test_addresses_are_looked_for_beside_the_other_end() -> None:
    twin = replace(BASE.vpcs["vpc-1"], vpc_id="vpc-0", groups={})
    topology = replace(BASE, vpcs={"vpc-0": twin, **BASE.vpcs})
    assert reach(topology, "10.0.2.5", "10.1.1.5", "tcp", 8080)


@pytest.mark.parametrize(
    ("source", "destination", "protocol", "port", "complaint"),
    [
        ("i-nobody", "i-a", "tcp", 22, "unknown interface or instance 'i-nobody'"),
        ("i-a", "i-b", "tcp", None, "tcp needs a port, such as tcp/22"),
        ("i-a", "i-b", "sctp", 22, "unknown protocol 'sctp'"),
        ("internet", "host", "tcp", 22, "neither 203.0.113.9 nor host is an interface of a VPC"),
        ("i-p", "2001:db8:1:1::5", "tcp", 22, "eni-p has no IPv6 address"),
        ("10.0.1.5", "2001:db8:1:1::6", "tcp", 22, "addresses of two families"),
    ],
)
def test_questions_that_have_no_answer(
    source: str, destination: str, protocol: str, port: int | None, complaint: str
) -> None:
    with pytest.raises(LocalEC2Error, match=complaint):
        reach(BASE, source, destination, protocol, port)


# random rules on the same machines

_BLOCKS = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.1.0/24",
    "10.0.1.5/32",
    "10.0.2.0/23",
    "127.0.0.0/8",
    "::/0",
    "2001:db8:1:1::/64",
]
_GROUPS = ["sg-all", "sg-web", "sg-peers"]
_PORTS = [(8080, 8080), (1, 1023), (1024, 65535), (0, 65535), (32768, 60999)]
_TRAFFIC = st.one_of(
    st.just(Traffic()),
    st.builds(
        lambda protocol, ports: Traffic(protocol, *ports), st.sampled_from(["tcp", "udp"]), st.sampled_from(_PORTS)
    ),
    st.sampled_from(
        [Traffic("icmp"), Traffic("icmp", 8), Traffic("icmp", 0), Traffic("icmpv6"), Traffic("icmpv6", 128)]
    ),
)


@st.composite
def _group(draw: st.DrawFn, group_id: str) -> SecurityGroup:
    def rules(direction: str) -> tuple[GroupRule, ...]:
        count = draw(st.integers(0, 3))
        return tuple(
            GroupRule(
                f"sgr-{group_id}-{direction}-{number}",
                draw(_TRAFFIC),
                tuple(draw(st.lists(st.sampled_from(_BLOCKS), max_size=2))),
                tuple(draw(st.lists(st.sampled_from(_GROUPS), max_size=1))),
            )
            for number in range(count)
        )

    allow_all = (GroupRule(f"sgr-{group_id}-out", Traffic(), ("0.0.0.0/0", "::/0")),)
    return SecurityGroup(group_id, rules("in"), rules("out") if draw(st.booleans()) else allow_all)


@st.composite
def _acl(draw: st.DrawFn, acl_id: str) -> NetworkAcl:
    def entries() -> tuple[AclEntry, ...]:
        some = draw(st.lists(st.tuples(st.booleans(), _TRAFFIC, st.sampled_from(_BLOCKS)), max_size=2))
        own = [AclEntry(number, *one) for number, one in enumerate(some, 10)]
        return (
            *own,
            *(AclEntry(100 + number, True, Traffic(), cidr) for number, cidr in enumerate(["0.0.0.0/0", "::/0"])),
        )

    return NetworkAcl(acl_id, entries(), entries())


_DEFAULT_TARGETS = [
    (Target.INTERNET_GATEWAY, "igw-1"),
    (Target.NAT_GATEWAY, "nat-1"),
    (Target.BLACKHOLE, "nat-gone"),
    (Target.PEERING, "pcx-1"),
]


@st.composite
def _table(draw: st.DrawFn, table_id: str) -> RouteTable:
    routes = list(LOCAL_ROUTES)
    if draw(st.booleans()):
        routes.append(Route("0.0.0.0/0", *draw(st.sampled_from(_DEFAULT_TARGETS))))
    if draw(st.booleans()):
        routes.append(
            Route("::/0", *draw(st.sampled_from([_DEFAULT_TARGETS[0], (Target.EGRESS_ONLY_GATEWAY, "eigw-1")])))
        )
    for cidr in ("203.0.113.0/24", "10.1.0.0/16"):
        if draw(st.booleans()):
            routes.append(Route(cidr, *draw(st.sampled_from(_DEFAULT_TARGETS))))
    return RouteTable(table_id, tuple(routes))


@st.composite
def _topologies(draw: st.DrawFn) -> Topology:
    vpc = BASE.vpcs["vpc-1"]
    interfaces: dict[str, Interface] = {
        name: replace(
            one, group_ids=tuple(draw(st.lists(st.sampled_from(_GROUPS), min_size=1, max_size=2, unique=True)))
        )
        for name, one in vpc.interfaces.items()
    }
    subnets = {
        name: replace(one, acl_id=draw(st.sampled_from(["acl-1", "acl-2"]))) for name, one in vpc.subnets.items()
    }
    changed = replace(
        vpc,
        interfaces=interfaces,
        subnets=subnets,
        groups={name: draw(_group(name)) for name in _GROUPS},
        acls={name: draw(_acl(name)) for name in ("acl-1", "acl-2")},
        route_tables={name: draw(_table(name)) for name in vpc.route_tables},
    )
    return replace(BASE, vpcs={**BASE.vpcs, "vpc-1": changed})


_SOURCES = ["eni-a", "eni-b", "eni-c", "eni-d", "eni-p", "host"]
_DESTINATIONS = [
    "eni-a",
    "eni-b",
    "eni-c",
    "eni-d",
    "eni-p",
    "internet",
    "2001:db8:1:1::5",
    "2001:db8:1:3::5",
    "2001:db8:ffff::9",
]
_QUESTIONS = st.lists(
    st.tuples(st.sampled_from(_SOURCES), st.sampled_from(_DESTINATIONS), st.sampled_from(["tcp", "udp", "icmp"])),
    min_size=3,
    max_size=6,
)
_WITHOUT_IPV6 = ("eni-p", "host")
_SENSELESS = {
    *((one, one) for one in _SOURCES),
    ("eni-a", "2001:db8:1:1::5"),
    ("eni-c", "2001:db8:1:3::5"),
    ("host", "internet"),
    ("host", "eni-p"),  # the host of the first VPC is sent from
}


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking repeats waits for packets that do not come
    suppress_health_check=list(HealthCheck),
)
@given(topology=_topologies(), questions=_QUESTIONS)
def test_packets_agree_on_random_rules(
    packets: PacketLab, topology: Topology, questions: list[tuple[str, str, str]]
) -> None:
    packets.apply(topology)
    for source, destination, protocol in questions:
        if (source, destination) in _SENSELESS or (":" in destination and source in _WITHOUT_IPV6):
            continue
        answer = reach(topology, source, destination, protocol, 8080)
        sent = send(packets, source, destination, protocol, 8080, expected=answer.reachable)
        assert sent is answer.reachable, (source, destination, protocol, answer)
