"""Public addresses between machines: by number, as over internet gateways, and reach() agrees."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.local.network.attachment import Address
from pycloudlib.local.network.faults import PARTITION, Fault
from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.local.network.namespaces.ruleset import ruleset
from pycloudlib.local.network.reach import reach
from pycloudlib.local.network.topology import (
    AclEntry,
    GroupRule,
    Interface,
    NatGateway,
    NetworkAcl,
    Route,
    RouteTable,
    SecurityGroup,
    Subnet,
    Target,
    Topology,
    Traffic,
    Vpc,
)
from support.guest_network import PATIENCE, SILENCE
from support.inside import ask
from support.topologies import make_interface, make_topology, make_vpc

from .conftest import Connect

PUBLIC = "203.0.113.0/24"
PUBLIC_A, PUBLIC_B, PUBLIC_C, PUBLIC_NAT = "203.0.113.5", "203.0.113.6", "203.0.113.7", "203.0.113.99"
OPEN = GroupRule("sgr-open", Traffic(), cidrs=("0.0.0.0/0", "::/0"))
OPEN_ACL = (AclEntry(100, True, Traffic(), "0.0.0.0/0"),)
IN_A_NAMESPACE = """
from pyroute2 import IPRoute
from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.public_addresses import PublicAddresses, can_bind, check_public_cidr
from support.computer import enter_computer
enter_computer()
try:
    check_public_cidr("203.0.113.0/24")
except LocalEC2Error as error:
    print(error)
with IPRoute() as netlink:
    netlink.route("add", dst="203.0.113.0/24", type="local", table=255, oif=1, scope="host")
check_public_cidr("203.0.113.0/24")
print(can_bind(PublicAddresses(22, "203.0.113.0/24").allocate(), 22))
"""

TO_INTERNET = Route("0.0.0.0/0", Target.INTERNET_GATEWAY, "igw-1")


def with_public(interface: Interface, public_ip: str | None, *groups: str) -> Interface:
    address = Address(interface.attachment.private_ip, public_ip)
    attachment = replace(interface.attachment, addresses=(address,))
    return replace(interface, attachment=attachment, group_ids=groups or ("sg-open",))


A = with_public(make_interface(1, "10.0.1.5"), PUBLIC_A)
B = with_public(make_interface(2, "10.0.2.5", "10.0.2.0/24"), PUBLIC_B)
# In a VPC with the same CIDR block.
C = with_public(make_interface(3, "10.0.1.5"), PUBLIC_C)
PRIVATE = with_public(make_interface(4, "10.0.3.5", "10.0.3.0/24"), None)


def group_for(cidr: str, *group_ids: str) -> SecurityGroup:
    rule = GroupRule("sgr-1", Traffic("tcp", 80, 80), cidrs=(cidr,) if cidr else (), group_ids=group_ids)
    return SecurityGroup("sg-1", (rule,), (OPEN,))


def public_vpc(vpc_id: str, *interfaces: Interface, routes: tuple[Route, ...] = (TO_INTERNET,)) -> Vpc:
    return replace(
        make_vpc(vpc_id, *interfaces),
        groups={"sg-open": SecurityGroup("sg-open", (OPEN,), (OPEN,)), "sg-1": group_for("203.0.113.5/32")},
        acls={"acl-1": NetworkAcl("acl-1", OPEN_ACL, OPEN_ACL)},
        route_tables={"rtb-1": RouteTable("rtb-1", (Route("10.0.0.0/16", Target.LOCAL, "local"), *routes))},
        internet_gateway_id="igw-1",
    )


def lab(*in_first: Interface, routes: tuple[Route, ...] = (TO_INTERNET,), other: Interface = C) -> Topology:
    return make_topology(public_vpc("vpc-1", *in_first, routes=routes), public_vpc("vpc-2", other))


def changed(topology: Topology, vpc_id: str, **changes: object) -> Topology:
    vpc = replace(topology.vpcs[vpc_id], **changes)  # type: ignore[arg-type]
    return replace(topology, vpcs={**topology.vpcs, vpc_id: vpc})


FAULTS: list[Fault] = []


@pytest.fixture(scope="module")
def public_fabric(tmp_path_factory: pytest.TempPathFactory, namespaces_work: None) -> Iterator[Fabric]:
    def with_faults(vpc: Vpc, topology: Topology, devices: dict[str, str]) -> str:
        return ruleset(vpc, topology, devices, FAULTS)

    directory: Path = tmp_path_factory.mktemp("fabric")
    with contextlib.closing(Fabric(directory, with_faults, public_cidr=PUBLIC)) as fabric:  # type: ignore[arg-type]
        yield fabric


@pytest.fixture
def fabric(public_fabric: Fabric) -> Iterator[Fabric]:
    yield public_fabric
    FAULTS.clear()
    public_fabric.apply(Topology())


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_machine_of_the_vpc_is_reached_at_its_public_address(fabric: Fabric, connect: Connect, kind: str) -> None:
    fabric.apply(lab(A, B))
    a, b = connect(fabric, A), connect(fabric, B)
    b.call("serve", port=80, kind=kind)
    how = "connect" if kind == "tcp" else "exchange"
    assert a.call(how, address=PUBLIC_B, port=80, seconds=PATIENCE) == PUBLIC_A
    assert a.call("ping", address=PUBLIC_B, seconds=PATIENCE)
    assert reach(lab(A, B), "eni-1", PUBLIC_B, kind, 80)


def test_machine_of_another_vpc_is_reached_at_its_public_address(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(lab(A))
    a, c = connect(fabric, A), connect(fabric, C)
    for guest in (a, c):
        guest.call("serve", port=80)
    assert a.peer_seen_at(PUBLIC_C, 80) == PUBLIC_A
    assert c.peer_seen_at(PUBLIC_A, 80) == PUBLIC_C
    assert reach(lab(A), "eni-1", PUBLIC_C, "tcp", 80).component == "sgr-open"


def test_machine_reaches_itself_at_its_public_address(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(lab(A))
    a = connect(fabric, A)
    a.call("serve", port=80)
    assert a.peer_seen_at(PUBLIC_A, 80) == PUBLIC_A
    assert reach(lab(A), "eni-1", PUBLIC_A, "tcp", 80)


def test_public_name_of_another_vpc_resolves_to_the_public_address(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(lab(A, B))
    a = connect(fabric, A)
    name = "ec2-203-0-113-{}.compute-1.amazonaws.com".format
    assert a.call("resolve", name=name(7), server="10.0.0.2", seconds=PATIENCE) == [PUBLIC_C]
    assert a.call("resolve", name=name(6), server="10.0.0.2", seconds=PATIENCE) == ["10.0.2.5"]


ROUTED = lab(A)
TO_SG_1 = with_public(C, PUBLIC_C, "sg-1")
BY_GROUP = group_for("", "sg-open")
OTHERS = (AclEntry(99, False, Traffic(), "203.0.113.5/32"), *OPEN_ACL)
UNREACHED = {
    "no public address": (lab(with_public(A, None)), "eni-1"),
    "no route to the internet": (lab(A, routes=()), "rtb-1"),
    "blackhole": (lab(A, routes=(replace(TO_INTERNET, target=Target.BLACKHOLE),)), "rtb-1"),
    "receiver without a gateway": (changed(ROUTED, "vpc-2", internet_gateway_id=None), "vpc-2"),
    "receiver without a route": (
        changed(ROUTED, "vpc-2", route_tables={"rtb-1": RouteTable("rtb-1", ())}),
        "rtb-1",
    ),
    "other source": (
        changed(lab(A, other=TO_SG_1), "vpc-2", groups={"sg-1": group_for("10.0.1.5/32")}),
        "sg-1",
    ),
    "ACL of the receiver": (
        changed(ROUTED, "vpc-2", acls={"acl-1": NetworkAcl("acl-1", OTHERS, OPEN_ACL)}),
        "acl-1",
    ),
    "ACL of the answer": (
        changed(ROUTED, "vpc-2", acls={"acl-1": NetworkAcl("acl-1", OPEN_ACL, OTHERS)}),
        "acl-1",
    ),
    "egress rule": (
        changed(ROUTED, "vpc-1", groups={"sg-open": replace(group_for(""), group_id="sg-open", egress=())}),
        "sg-open",
    ),
}


@pytest.mark.parametrize("name", UNREACHED)
def test_other_machines_are_cut_off(fabric: Fabric, connect: Connect, name: str) -> None:
    topology, component = UNREACHED[name]
    fabric.apply(lab(A))
    a, c = connect(fabric, A), connect(fabric, C)
    c.call("serve", port=80)
    assert a.reaches(PUBLIC_C, 80)
    fabric.apply(topology)
    assert a.is_cut_off_from(PUBLIC_C, 80)
    answer = reach(topology, "eni-1", PUBLIC_C, "tcp", 80)
    assert (answer.reachable, answer.component) == (False, component), answer


def test_rules_match_the_public_address(fabric: Fabric, connect: Connect) -> None:
    topology = lab(A, other=TO_SG_1)
    fabric.apply(topology)
    a, c = connect(fabric, A), connect(fabric, TO_SG_1)
    c.call("serve", port=80)
    assert a.peer_seen_at(PUBLIC_C, 80) == PUBLIC_A
    assert reach(topology, "eni-1", PUBLIC_C, "tcp", 80).component == "sgr-1"


def test_rule_that_names_a_group_does_not_match_public_addresses(fabric: Fabric, connect: Connect) -> None:
    near = with_public(B, PUBLIC_B, "sg-1")
    topology = lab(A, near)
    vpc = topology.vpcs["vpc-1"]
    topology = changed(topology, "vpc-1", groups={**vpc.groups, "sg-1": BY_GROUP})
    fabric.apply(topology)
    a, b = connect(fabric, A), connect(fabric, near)
    b.call("serve", port=80)
    assert a.peer_seen_at("10.0.2.5", 80) == "10.0.1.5"
    assert a.is_cut_off_from(PUBLIC_B, 80)
    assert reach(topology, "eni-1", PUBLIC_B, "tcp", 80).component == "sg-1"


def test_nat_gateway_is_seen_at_its_public_address(fabric: Fabric, connect: Connect) -> None:
    topology = behind_nat()
    fabric.apply(topology)
    private, c = connect(fabric, PRIVATE), connect(fabric, C)
    c.call("serve", port=80)
    assert private.peer_seen_at(PUBLIC_C, 80) == PUBLIC_NAT
    assert not c.call("ping", address=PUBLIC_NAT, seconds=SILENCE)
    assert reach(topology, "eni-4", PUBLIC_C, "tcp", 80)


def behind_nat() -> Topology:
    topology = lab(A, PRIVATE)
    vpc = topology.vpcs["vpc-1"]
    local = Route("10.0.0.0/16", Target.LOCAL, "local")
    private = RouteTable("rtb-2", (local, Route("0.0.0.0/0", Target.NAT_GATEWAY, "nat-1")))
    subnet: Subnet = replace(vpc.subnets["subnet-10.0.3.0/24"], route_table_id="rtb-2")
    return changed(
        topology,
        "vpc-1",
        subnets={**vpc.subnets, subnet.subnet_id: subnet},
        route_tables={**vpc.route_tables, "rtb-2": private},
        nat_gateways={"nat-1": NatGateway("nat-1", "subnet-10.0.1.0/24", "10.0.1.250", PUBLIC_NAT)},
    )


def test_route_for_a_part_of_the_range_leads_to_it(fabric: Fabric, connect: Connect) -> None:
    part = Route("203.0.113.7/32", Target.INTERNET_GATEWAY, "igw-1")
    topology = lab(A, B, routes=(part,))
    fabric.apply(topology)
    a, c = connect(fabric, A), connect(fabric, C)
    c.call("serve", port=80)
    assert a.reaches(PUBLIC_C, 80)
    assert not a.call("ping", address=PUBLIC_B, seconds=SILENCE)


def test_address_that_nobody_has_is_silent(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(lab(A))
    assert not connect(fabric, A).call("ping", address="203.0.113.200", seconds=SILENCE)


def test_address_moves_to_another_vpc(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(lab(A, B))
    guests = {one.interface_id: connect(fabric, one) for one in (A, B, C)}
    for name in ("eni-2", "eni-3"):
        guests[name].call("serve", port=80 if name == "eni-2" else 81)
    assert guests["eni-1"].reaches(PUBLIC_B, 80)
    fabric.apply(lab(A, with_public(B, None), other=with_public(C, PUBLIC_B)))
    assert guests["eni-1"].reaches(PUBLIC_B, 81)


def test_partition_cuts_public_addresses_off(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(lab(A))
    a, c = connect(fabric, A), connect(fabric, C)
    c.call("serve", port=80)
    assert a.reaches(PUBLIC_C, 80)
    FAULTS.append(Fault("fault-1", PARTITION, ("i-1", "i-3"), 100))
    fabric.reapply()
    assert a.is_cut_off_from(PUBLIC_C, 80)
    FAULTS.clear()
    fabric.reapply()
    assert a.reaches(PUBLIC_C, 80)


def test_vpc_that_is_gone_takes_its_addresses_with_it(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(lab(A))
    a, c = connect(fabric, A), connect(fabric, C)
    c.call("serve", port=80)
    assert a.reaches(PUBLIC_C, 80)
    fabric.apply(make_topology(lab(A).vpcs["vpc-1"]))
    assert a.is_cut_off_from(PUBLIC_C, 80)
    fabric.apply(lab(A))
    again = connect(fabric, C)
    again.call("serve", port=80)
    assert a.reaches(PUBLIC_C, 80)


def test_public_addresses_are_reached_after_the_helper_was_killed(
    namespaces_work: None, tmp_path: Path, connect: Connect
) -> None:
    lost = threading.Event()
    with contextlib.closing(Fabric(tmp_path, public_cidr=PUBLIC, on_lost=lambda _: lost.set())) as fabric:
        fabric.apply(lab(A))
        connect(fabric, A)
        assert fabric.helper_pid is not None
        os.kill(fabric.helper_pid, signal.SIGKILL)
        assert lost.wait(PATIENCE)
        a, c = connect(fabric, A), connect(fabric, C)
        c.call("serve", port=80)
        assert a.peer_seen_at(PUBLIC_C, 80) == PUBLIC_A


def test_commands_inside_find_what_listens_at_public_addresses(fabric: Fabric) -> None:
    fabric.apply(lab(A))
    with fabric.listen("vpc-1", PUBLIC_C, 8080) as listener:
        listener.settimeout(PATIENCE)
        assert listener.getsockname() == (PUBLIC_C, 8080)
        entrance = fabric.entrance("vpc-1")
        server = threading.Thread(target=_answer_one, args=(listener,))
        server.start()
        assert ask(entrance, "tcp", PUBLIC_C, 8080, seconds=PATIENCE) == "listening"
        server.join()


def test_block_must_be_of_the_host(namespaces_work: None) -> None:
    tests = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NAMESPACE], cwd=tests, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "the addresses of 203.0.113.0/24 are not this host's: run `sudo ip route add local 203.0.113.0/24 dev lo` "
        "once, or leave out the public CIDR block",
        "True",
    ], done.stderr


def _answer_one(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"listening")
