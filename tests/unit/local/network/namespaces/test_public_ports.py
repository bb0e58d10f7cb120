from __future__ import annotations

from pycloudlib.local.network.namespaces.forwarder import Target
from pycloudlib.local.network.namespaces.public_ports import (
    MAX_PORTS,
    find_target,
    open_ranges,
    public_ports,
    public_udp_ports,
    ssh_is_open,
)
from pycloudlib.local.network.topology import SecurityGroup
from support.sample_topologies import group, interface, lab, rule

PUBLIC_IP = "127.9.1.5"


def ports_of(security_group: SecurityGroup, *, ssh_port: int = 22, privileged: bool = True) -> dict[int, Target]:
    topology = lab(
        interface("a", "10.0.1.5", security_group.group_id, public=True),
        interface("b", "10.0.1.6", security_group.group_id),
        groups={security_group.group_id: security_group},
    )
    found = public_ports(topology, ssh_port, privileged=privileged)
    assert list(found) == [PUBLIC_IP]
    return found[PUBLIC_IP]


def test_public_ports_are_those_that_groups_open_to_the_host() -> None:
    opened = group(
        "sg",
        rule(1, "tcp", 8080, cidrs=["0.0.0.0/0"]),
        rule(2, "tcp", (9000, 9001), cidrs=["198.51.100.1/32"]),
        rule(3, "tcp", 9100, cidrs=["127.0.0.1/32"]),
        rule(4, "tcp", 9200, cidrs=["10.0.0.0/8", "::/0"]),
        rule(5, "udp", 9300, cidrs=["0.0.0.0/0"]),
        rule(6, "tcp", 9400, groups=["sg"]),
    )
    assert ports_of(opened) == {port: Target("vpc-1", "10.0.1.5", port) for port in (8080, 9000, 9001, 9100)}


def test_public_ports_lead_from_the_ssh_port_to_22() -> None:
    opened = group("sg", rule(1, "tcp", 22, cidrs=["0.0.0.0/0"]), rule(2, "tcp", 80, cidrs=["0.0.0.0/0"]))
    assert ports_of(opened, ssh_port=2222, privileged=False) == {2222: Target("vpc-1", "10.0.1.5", 22)}


def test_public_ports_of_all_traffic_are_limited_and_include_ssh() -> None:
    ports = ports_of(group("sg", rule(1, cidrs=["0.0.0.0/0"])), ssh_port=2222, privileged=False)
    assert ports[2222].port == 22
    assert len(ports) == MAX_PORTS
    assert min(ports) >= 1024


def test_public_ports_of_a_closed_group_are_none() -> None:
    assert ports_of(group("sg")) == {}


def test_ssh_is_open_if_a_rule_of_the_interface_allows_it() -> None:
    def is_open(security_group: SecurityGroup, public_ip: str) -> bool:
        topology = lab(
            interface("a", "10.0.1.5", security_group.group_id, public=True),
            groups={security_group.group_id: security_group},
        )
        return ssh_is_open(topology, public_ip)

    opened = group("sg", rule(1, "tcp", 22, cidrs=["198.51.100.1/32"]))
    assert is_open(opened, PUBLIC_IP)
    assert not is_open(opened, "127.9.9.9")
    assert not is_open(group("sg", rule(1, "tcp", 2222, cidrs=["0.0.0.0/0"])), PUBLIC_IP)


def test_open_ranges_are_merged_and_lead_to_the_machine() -> None:
    opened = group(
        "sg",
        rule(1, "tcp", (20, 30), cidrs=["0.0.0.0/0"]),
        rule(2, "tcp", (31, 40), cidrs=["127.0.0.1/32"]),
        rule(3, "tcp", (25, 35), cidrs=["0.0.0.0/0"]),
        rule(4, "tcp", (50, 60), cidrs=["10.0.0.0/8"]),
        rule(5, "tcp", (0, 0), cidrs=["0.0.0.0/0"]),
    )
    topology = lab(interface("a", "10.0.1.5", "sg", public=True), groups={"sg": opened})
    assert open_ranges(topology, 2222) == {PUBLIC_IP: [range(20, 41), range(2222, 2223)]}
    assert find_target(topology, 2222, PUBLIC_IP, 2222) == Target("vpc-1", "10.0.1.5", 22)
    assert find_target(topology, 2222, PUBLIC_IP, 30) == Target("vpc-1", "10.0.1.5", 30)
    assert find_target(topology, 2222, "127.9.9.1", 30) is None


def test_udp_ports_are_those_of_small_ranges() -> None:
    opened = group(
        "sg",
        rule(1, "udp", (53, 54), cidrs=["0.0.0.0/0"]),
        rule(2, "17", (5353, 5353), cidrs=["127.0.0.1/32"]),
        rule(3, "udp", (6000, 7000), cidrs=["0.0.0.0/0"]),
        rule(4, "tcp", 80, cidrs=["0.0.0.0/0"]),
        rule(5, cidrs=["0.0.0.0/0"]),
        rule(6, "udp", 99, cidrs=["10.0.0.0/8"]),
    )
    topology = lab(interface("a", "10.0.1.5", "sg", public=True), groups={"sg": opened})
    assert sorted(public_udp_ports(topology, privileged=True)[PUBLIC_IP]) == [53, 54, 5353]
    assert public_udp_ports(topology, privileged=False) == {PUBLIC_IP: {5353: Target("vpc-1", "10.0.1.5", 5353)}}
