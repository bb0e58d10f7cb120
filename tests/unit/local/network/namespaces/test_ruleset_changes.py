"""Changes of rulesets, compared with applying the whole of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pycloudlib.local.network.faults import Fault
from pycloudlib.local.network.namespaces.ruleset import ruleset
from pycloudlib.local.network.namespaces.ruleset_changes import changes
from pycloudlib.local.network.topology import Topology
from support.packet_lab import PacketLab, why_not
from support.reach_cases import BASE, CASES
from support.sample_topologies import ANYWHERE, group, interface, lab, rule, with_groups

PARTITION = Fault("fault-1", "partition", ("i-a", "i-c"))
LOSS = Fault("fault-2", "loss", ("us-east-1a", "all"), 30)
RATE = Fault("fault-3", "rate", ("i-a", "all"), 1000)
DEVICES = {"eni-a": "eni1", "eni-b": "eni2", "eni-c": "eni3", "eni-d": "eni4", "pcx-1": "pcx1"}


@pytest.fixture(scope="module")
def packets() -> Iterator[PacketLab]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with PacketLab() as packets:
        packets.build(Topology())
        yield packets


def text(topology: Topology, **more: object) -> str:
    return ruleset(topology.vpcs["vpc-1"], topology, DEVICES, **more)  # type: ignore[arg-type]


def test_nothing_changed_is_no_command() -> None:
    assert changes(text(BASE), text(BASE)) == ""


def test_first_ruleset_is_applied_as_a_whole() -> None:
    assert changes("", text(BASE)) == text(BASE)


def test_foreign_ruleset_is_replaced_as_a_whole() -> None:
    assert changes("table inet other {\n}\n", text(BASE)) == text(BASE)
    assert changes(text(BASE), "flush ruleset\n") == "flush ruleset\n"


def test_change_of_a_hook_replaces_the_whole() -> None:
    other = text(BASE).replace("hook forward priority -300", "hook forward priority -301")
    assert changes(text(BASE), other) == other


def test_rule_changes_one_chain() -> None:
    after = with_groups(BASE, group("sg-web", rule(2, "tcp", 443, cidrs=ANYWHERE)))
    assert changes(text(BASE), text(after)) == (
        "flush chain inet ec2 sg-web.in\n"
        "add rule inet ec2 sg-web.in meta nfproto ipv4 tcp dport 443 accept\n"
        "add rule inet ec2 sg-web.in meta nfproto ipv6 tcp dport 443 accept\n"
    )


def test_fault_changes_its_own_sets_and_chain() -> None:
    cut = text(BASE, faults=[PARTITION])
    assert "add set inet ec2 fault-1.0.ip { type ifname . ipv4_addr; }\n" in changes(text(BASE), cut)
    assert all("fault" in command for command in changes(text(BASE), cut).splitlines())
    assert all("fault" in command for command in changes(cut, text(BASE)).splitlines())


def test_changes_lead_to_the_same_rules_as_the_whole(packets: PacketLab) -> None:
    vpc = BASE.vpcs["vpc-1"]
    smaller = replace(vpc, interfaces={}, subnets={"subnet-1": vpc.subnets["subnet-1"]}, groups={}, nat_gateways={})
    wanted = [
        text(BASE),
        *(text(case.topology) for case in CASES if "vpc-1" in case.topology.vpcs),
        text(BASE, faults=[LOSS], host_ports=[3128]),
        text(lab(interface("a", "10.0.1.5"), interface("new", "10.0.2.99", "sg-web"))),
        text(replace(BASE, vpcs={**BASE.vpcs, "vpc-1": smaller})),
        text(BASE, faults=[PARTITION, LOSS, RATE]),
        text(BASE, faults=[PARTITION]),
        text(BASE),
    ]
    before = ""
    for after in dict.fromkeys(wanted):
        changed = packets.run_nft(changes(before, after))
        assert changed == packets.run_nft(after)
        before = after
