from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from pycloudlib.ec2.network.rules import Rule
from pycloudlib.ec2.network.vpc_plan import (
    VPCPlan,
    check_vpc_name,
    checked_ingress,
    checked_vpc_network,
    planned_subnets,
)
from pycloudlib.errors import InvalidArgumentError

ZONES = ["z1", "z2", "z3"]
NETWORK = IPv4Network("10.0.0.0/16")


def test_host_bits_of_a_vpcs_network_are_dropped() -> None:
    assert str(checked_vpc_network("192.168.1.0/20")) == "192.168.0.0/20"


@pytest.mark.parametrize("cidr", ["10.0.0.0/15", "10.0.0.0/29", "10.0.0.0", "web", "", None, 7, "2001:db8::/56"])
def test_what_can_be_no_network_of_a_vpc_is_refused(cidr: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="ipv4_cidr"):
        checked_vpc_network(cidr)


def test_without_zones_there_is_one_subnet_in_the_first_one() -> None:
    assert planned_subnets(NETWORK, None, ZONES) == {"z1": "10.0.0.0/16"}


def test_zones_get_equal_parts() -> None:
    assert planned_subnets(NETWORK, "all", ZONES) == {
        "z1": "10.0.0.0/18",
        "z2": "10.0.64.0/18",
        "z3": "10.0.128.0/18",
    }
    assert planned_subnets(NETWORK, ["z3", "z1"], ZONES) == {"z3": "10.0.0.0/17", "z1": "10.0.128.0/17"}
    assert planned_subnets(NETWORK, "z2", ZONES) == {"z2": "10.0.0.0/16"}


def test_zones_can_be_given_their_networks() -> None:
    wanted = {"z1": "10.0.0.0/24", "z3": "10.0.1.0/24"}
    assert planned_subnets(NETWORK, wanted, ZONES) == wanted


@pytest.mark.parametrize(
    ("network", "zones", "reason"),
    [
        ("10.0.0.0/16", [], "zones is empty"),
        ("10.0.0.0/16", ["z1", "z1"], "twice"),
        ("10.0.0.0/16", ["z9"], "the zone 'z9' is unknown.*z1, z2, z3"),
        ("10.0.0.0/28", ["z1", "z2"], "too small for 2 zones"),
        ("10.0.0.0/16", {"z9": "10.0.0.0/24"}, "the zone 'z9' is unknown"),
        ("10.0.0.0/16", {"z1": "10.1.0.0/24"}, "not within"),
        ("10.0.0.0/16", {"z1": "10.0.0.1/24"}, "the network of z1"),
        ("10.0.0.0/16", {"z1": "10.0.0.0/30"}, "smaller than /28"),
        ("10.0.0.0/16", {"z1": "10.0.0.0/24", "z2": "10.0.0.128/25"}, "z1, 10.0.0.0/24, and z2, .*overlap"),
    ],
)
def test_subnets_that_cannot_be_are_refused(network: str, zones: Any, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        planned_subnets(IPv4Network(network), zones, ZONES)


def test_a_region_without_zones_is_an_error() -> None:
    with pytest.raises(InvalidArgumentError, match="no availability zone"):
        planned_subnets(NETWORK, None, [])


@pytest.mark.parametrize("name", ["web", "my VPC", "a", "team/web-1.2", "x" * 255])
def test_a_name_of_a_vpc(name: str) -> None:
    check_vpc_name(name)


@pytest.mark.parametrize("name", ["", " x", "x ", "a*", "a?", "sg-1", "default", "x" * 256, "ü", None, 7])
def test_what_can_be_no_name_of_a_vpc(name: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="the name of a VPC"):
        check_vpc_name(name)


@pytest.mark.parametrize("ingress", ["tcp", None, Rule("ingress", "tcp", 80, 80, "::/0")])
def test_ingress_must_be_several_rules(ingress: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="list of rules"):
        checked_ingress(ingress)


def test_ssh_rule_covers_configured_sources_and_all_ports() -> None:
    plan = VPCPlan("web", "10.0.0.0/16", {}, ("203.0.113.0/24",), (22, 2222), ())
    ssh = {(rule.from_port, rule.source) for rule in plan.rules("sg-1") if rule.protocol == "tcp"}
    assert ssh == {(22, "203.0.113.0/24"), (2222, "203.0.113.0/24")}


def test_duplicate_ingress_rule_keeps_the_users_description() -> None:
    asked = checked_ingress([Rule("ingress", "tcp", 22, 22, "::/0", "mine")])
    plan = VPCPlan("web", "10.0.0.0/16", {}, ("::/0",), (22,), asked)
    assert [rule.description for rule in plan.rules("sg-1") if rule.protocol == "tcp"] == ["mine"]
