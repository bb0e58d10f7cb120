"""Policy routing and peering, with the rulesets that machines get."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.local.network.namespaces.ruleset import ruleset
from pycloudlib.local.network.topology import (
    AclEntry,
    GroupRule,
    NetworkAcl,
    Peering,
    Route,
    RouteTable,
    SecurityGroup,
    Target,
    Topology,
    Traffic,
    Vpc,
)
from support.guest_network import PATIENCE, SILENCE
from support.topologies import make_interface, make_topology, make_vpc

from .conftest import Connect

OPEN = GroupRule("sgr-1", Traffic(), cidrs=("0.0.0.0/0", "::/0"))
OPEN_ACL = (AclEntry(100, True, Traffic(), "0.0.0.0/0"), AclEntry(101, True, Traffic(), "::/0"))
LOCAL = Route("10.0.0.0/8", Target.LOCAL, "local")
A = make_interface(1, "10.0.1.5")
B = make_interface(2, "10.1.1.5", "10.1.1.0/24")


def with_policy(vpc: Vpc, *routes: Route, ingress: tuple[GroupRule, ...] = (OPEN,)) -> Vpc:
    local = Route(vpc.cidrs[0], Target.LOCAL, "local")
    return replace(
        vpc,
        groups={"sg-1": SecurityGroup("sg-1", ingress, (OPEN,))},
        acls={"acl-1": NetworkAcl("acl-1", OPEN_ACL, OPEN_ACL)},
        route_tables={"rtb-1": RouteTable("rtb-1", (local, *routes))},
    )


@pytest.fixture(scope="module")
def strict_fabric(tmp_path_factory: pytest.TempPathFactory, namespaces_work: None) -> Iterator[Fabric]:
    with contextlib.closing(Fabric(tmp_path_factory.mktemp("fabric"), ruleset)) as fabric:
        yield fabric


@pytest.fixture
def fabric(strict_fabric: Fabric) -> Iterator[Fabric]:
    yield strict_fabric
    strict_fabric.apply(Topology())


def peered(*, routed: bool = True, active: bool = True) -> Topology:
    to_b = [Route("10.1.0.0/16", Target.PEERING, "pcx-1")] if routed else []
    to_a = [Route("10.0.0.0/16", Target.PEERING, "pcx-1")]
    vpcs: Mapping[str, Vpc] = {
        "vpc-1": with_policy(make_vpc("vpc-1", A), *to_b),
        "vpc-2": with_policy(make_vpc("vpc-2", B, cidrs=["10.1.0.0/16"]), *to_a),
    }
    return Topology(vpcs, {"pcx-1": Peering("pcx-1", ("vpc-1", "vpc-2"))} if active else {})


def test_peered_vpcs_reach_each_other(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(peered())
    a, b = connect(fabric, A), connect(fabric, B)
    b.call("serve", port=80)
    assert a.peer_seen_at("10.1.1.5", 80) == "10.0.1.5"


def test_a_peering_without_a_route_leads_nowhere(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(peered(routed=False))
    a, _ = connect(fabric, A), connect(fabric, B)
    assert not a.call("ping", address="10.1.1.5", seconds=SILENCE)
    fabric.apply(peered())
    assert a.call("ping", address="10.1.1.5", seconds=PATIENCE)


def test_a_deleted_peering_cuts_the_vpcs_off(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(peered())
    a, _ = connect(fabric, A), connect(fabric, B)
    assert a.call("ping", address="10.1.1.5", seconds=PATIENCE)
    fabric.apply(peered(active=False))
    assert not a.call("ping", address="10.1.1.5", seconds=SILENCE)
    fabric.apply(peered())
    assert a.call("ping", address="10.1.1.5", seconds=PATIENCE)


def test_a_peering_ends_with_one_of_its_vpcs(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(peered())
    connect(fabric, A)
    connect(fabric, B)
    fabric.apply(replace(peered(), vpcs={"vpc-2": peered().vpcs["vpc-2"]}, peerings={}))
    fabric.apply(peered())
    again = connect(fabric, A)
    assert again.call("ping", address="10.1.1.5", seconds=PATIENCE)


def test_a_route_to_an_interface_sends_packets_there(fabric: Fabric, connect: Connect) -> None:
    client, router = make_interface(1, "10.0.1.5"), make_interface(2, "10.0.2.9", "10.0.2.0/24")
    unchecked = replace(router, source_dest_check=False)
    vpc = with_policy(make_vpc("vpc-1", client, unchecked), Route("192.168.7.0/24", Target.INTERFACE, "eni-2"))
    fabric.apply(make_topology(vpc))
    a, b = connect(fabric, client), connect(fabric, router)
    b.call("add_address", address="192.168.7.7/32")
    b.call("serve", port=80)
    assert a.peer_seen_at("192.168.7.7", 80) == "10.0.1.5"


def test_revoked_rules_stop_new_connections(fabric: Fabric, connect: Connect) -> None:
    near = make_interface(3, "10.0.1.6")
    fabric.apply(make_topology(with_policy(make_vpc("vpc-1", A, near))))
    a, b = connect(fabric, A), connect(fabric, near)
    b.call("serve", port=80)
    assert a.reaches("10.0.1.6", 80)
    fabric.apply(make_topology(with_policy(make_vpc("vpc-1", A, near), ingress=())))
    assert a.is_cut_off_from("10.0.1.6", 80)


def test_metadata_dhcp_and_names_pass_the_ruleset(fabric: Fabric, connect: Connect, tmp_path: Path) -> None:
    fabric.apply(make_topology(with_policy(make_vpc("vpc-1", A))))
    a = connect(fabric, A)
    assert a.call("resolve", name="ip-10-0-1-5.ec2.internal", server="10.0.0.2", seconds=PATIENCE) == ["10.0.1.5"]
