"""The network as text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pycloudlib.local.network.drawing import describe_traffic, draw
from pycloudlib.local.network.topology import Route, Target, Topology, Traffic
from support.sample_topologies import entry, interface, lab, with_acl, with_routes

NAMES = {"vpc-1": "lab", "i-a": "web-1", "sg-web": "web"}


def test_draw_shows_the_vpc() -> None:
    topology = lab(
        interface("a", "10.0.1.5", "sg-web", public=True), interface("b", "10.0.2.5", source_dest_check=False)
    )
    drawn = draw(topology, NAMES).splitlines()
    assert drawn[:7] == [
        "VPC vpc-1 (lab)  10.0.0.0/16, 2001:db8:1::/56",
        "  internet gateway igw-1",
        "  egress-only internet gateway eigw-1",
        "  VPC peering connection pcx-1 with vpc-2",
        "  subnet subnet-1  10.0.1.0/24, 2001:db8:1:1::/64  us-east-1a",
        "    route table rtb-1: 10.0.0.0/16 to local, 2001:db8:1::/56 to local, 0.0.0.0/0 to igw-1, ::/0 to igw-1",
        "    network ACL acl-open: everything in and out",
    ]
    assert "    NAT gateway nat-1  10.0.1.250  public 127.9.9.9" in drawn
    assert "    i-a (web-1)  eni-a  10.0.1.5 (public 127.9.1.5), 2001:db8:1:1::5  sg-web (web)" in drawn
    assert "    i-b  eni-b  10.0.2.5, 2001:db8:1:2::5  sg-all  no source/destination check" in drawn
    assert "  security group sg-web (web)  1 interface" in drawn
    assert "    in: tcp/8080 from 0.0.0.0/0, ::/0" in drawn
    assert "    in: all from members of sg-web (web)" in drawn
    assert "    in: nothing" in drawn
    assert "VPC vpc-2  10.1.0.0/16" in drawn


def test_draw_shows_what_is_off() -> None:
    stopped = interface("a", "10.0.1.5", running=False)
    loose = replace(interface("b", "10.0.1.6"), instance_id=None, running=False)
    topology = with_routes(lab(stopped, loose), "rtb-1", Route("0.0.0.0/0", Target.BLACKHOLE, "nat-9"))
    drawn = draw(topology)
    assert "i-a  not running  eni-a" in drawn
    assert "no instance  eni-b" in drawn
    assert "0.0.0.0/0 to nowhere: nat-9" in drawn


def test_draw_lists_the_entries_of_a_network_acl() -> None:
    entries = [entry(90, "10.0.0.0/8", "tcp", 22, allow=False), entry(32767, "0.0.0.0/0", allow=False)]
    drawn = draw(with_acl(lab(), "subnet-2", entries, [entry(100, "0.0.0.0/0", "udp", (1, 9))]))
    assert "\n    network ACL acl-subnet-2:\n" in drawn
    assert "\n      in 90: deny tcp/22 from 10.0.0.0/8\n      out 100: allow udp/1-9 to 0.0.0.0/0\n" in drawn
    assert "32767" not in drawn


def test_draw_of_nothing() -> None:
    assert draw(Topology()) == ""


@pytest.mark.parametrize(
    ("traffic", "text"),
    [
        (Traffic(), "all"),
        (Traffic("tcp"), "tcp"),
        (Traffic("tcp", 22, 22), "tcp/22"),
        (Traffic("udp", 1, 9), "udp/1-9"),
        (Traffic("icmp", 8), "icmp type 8"),
        (Traffic("icmp", 3, 4), "icmp type 3 code 4"),
        (Traffic("50"), "protocol 50"),
    ],
)
def test_describe_traffic(traffic: Traffic, text: str) -> None:
    assert describe_traffic(traffic) == text
