"""Network faults, and that packets obey them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.attachment import Address
from pycloudlib.local.network.faults import Fault, NetworkFaults, fault_from, new_fault_id
from pycloudlib.local.network.namespaces.shaping import TrafficClass, shaping
from pycloudlib.local.network.reach import reach
from pycloudlib.local.network.topology import Peering, Route, RouteTable, Target, Topology
from support.packet_lab import INTERNET, PacketLab, why_not
from support.reach_cases import A6, B6, C6, A, B, C, D, P
from support.sample_topologies import PEERING_CIDR, interface, lab, with_routes

A_SECOND = "10.0.1.55"


def zoned(topology: Topology) -> Topology:
    """Put subnet-2 and subnet-3 into a zone of their own each."""
    vpc = topology.vpcs["vpc-1"]
    zones = {"subnet-1": "us-east-1a", "subnet-2": "us-east-1b", "subnet-3": "us-east-1c"}
    subnets = {one: replace(subnet, zone=zones[one]) for one, subnet in vpc.subnets.items()}
    return replace(topology, vpcs={**topology.vpcs, "vpc-1": replace(vpc, subnets=subnets)})


def with_second_address(topology: Topology) -> Topology:
    vpc = topology.vpcs["vpc-1"]
    one = vpc.interfaces["eni-a"]
    attachment = replace(one.attachment, addresses=(*one.attachment.addresses, Address(A_SECOND)))
    vpc = replace(vpc, interfaces={**vpc.interfaces, "eni-a": replace(one, attachment=attachment)})
    return replace(topology, vpcs={**topology.vpcs, "vpc-1": vpc})


def with_second_peer(topology: Topology) -> Topology:
    """Peer subnet-3 with a VPC that has the addresses of the one that subnet-2 is peered with."""
    twin = replace(topology.vpcs["vpc-2"], vpc_id="vpc-3", interfaces={"eni-q": interface("q", P, ipv6=False)})
    back = Route("10.0.0.0/16", Target.PEERING, "pcx-2")
    table = RouteTable("rtb-peered", (Route(PEERING_CIDR, Target.LOCAL, "local"), back))
    twin = replace(twin, route_tables={"rtb-peered": table})
    topology = with_routes(topology, "rtb-3", Route(PEERING_CIDR, Target.PEERING, "pcx-2"))
    return replace(
        topology,
        vpcs={**topology.vpcs, "vpc-3": twin},
        peerings={**topology.peerings, "pcx-2": Peering("pcx-2", ("vpc-1", "vpc-3"))},
    )


BASE = zoned(
    with_second_peer(
        lab(
            interface("a", A, public=True),
            interface("b", B),
            interface("c", C),
            interface("d", D),
            interface("p", P, ipv6=False),
        )
    )
)
BUILT = with_second_address(BASE)


def partition(one: str, other: str, fault_id: str = "fault-1") -> Fault:
    return Fault(fault_id, "partition", (one, other))


@pytest.fixture(scope="module")
def namespaces() -> Iterator[PacketLab]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with PacketLab() as packets:
        packets.build(BUILT)
        yield packets


@pytest.fixture
def packets(namespaces: PacketLab) -> PacketLab:
    namespaces.apply(BASE)
    return namespaces


def passes(packets: PacketLab, source: str, address: str) -> None:
    assert packets.reaches(source, address, expected=True)


def is_cut(packets: PacketLab, source: str, address: str) -> None:
    assert not packets.reaches(source, address, expected=False)


def test_partition_of_instances_opens_and_heals(packets: PacketLab) -> None:
    packets.connect("eni-a", C)
    packets.apply(BASE, partition("i-a", "i-c"))
    for source, address in (("eni-a", C), ("eni-a", C6), ("eni-c", A), ("eni-c", A6)):
        is_cut(packets, source, address)
    assert not packets.talks(expected=False)
    for source, address in (("eni-a", D), ("eni-b", C), ("eni-a", INTERNET), ("host@vpc-1", A)):
        passes(packets, source, address)
    packets.apply(BASE)
    passes(packets, "eni-a", C)
    assert packets.talks(expected=True)


def test_partition_follows_addresses(packets: PacketLab) -> None:
    packets.apply(BUILT)
    passes(packets, "eni-b", A_SECOND)
    packets.apply(BUILT, partition("i-b", "i-a"))
    is_cut(packets, "eni-b", A_SECOND)
    packets.apply(BASE, partition("i-b", "i-a"))
    is_cut(packets, "eni-b", A)
    packets.apply(BUILT, partition("i-b", "i-a"))
    is_cut(packets, "eni-b", A_SECOND)


def test_partition_of_zones(packets: PacketLab) -> None:
    packets.apply(BASE, partition("us-east-1a", "us-east-1b"))
    for source, address in (("eni-a", B), ("eni-d", B6), ("eni-b", A)):
        is_cut(packets, source, address)
    for source, address in (("eni-a", D), ("eni-a", C), ("eni-b", C)):
        passes(packets, source, address)


def test_partition_from_everything(packets: PacketLab) -> None:
    packets.apply(BASE, partition("i-a", "all"))
    for source, address in (("eni-a", D), ("eni-b", A6), ("eni-a", INTERNET), ("host@vpc-1", A)):
        is_cut(packets, source, address)
    for source, address in (("eni-b", D), ("host@vpc-1", D)):
        passes(packets, source, address)


def test_zone_cut_off_from_everything_has_itself(packets: PacketLab) -> None:
    packets.apply(BASE, partition("us-east-1a", "all"))
    passes(packets, "eni-a", D)
    is_cut(packets, "eni-a", INTERNET)
    is_cut(packets, "eni-b", A)


def test_partition_of_peered_vpcs(packets: PacketLab) -> None:
    passes(packets, "eni-b", P)
    packets.apply(BASE, partition("i-p", "i-b"))
    is_cut(packets, "eni-b", P)


def test_fault_of_a_peered_vpc_spares_equal_addresses_in_another(packets: PacketLab) -> None:
    for fault in (partition("i-p", "i-c"), partition("i-p", "all")):
        packets.apply(BASE, fault)
        assert packets.arrives("eni-c", P, at="eni-q", expected=True)
        assert packets.arrives("eni-q", C, at="eni-c", expected=True)
    packets.apply(BASE, partition("i-q", "i-c"))
    assert not packets.arrives("eni-c", P, at="eni-q", expected=False)
    passes(packets, "eni-b", P)


def test_loss_between_peered_vpcs_is_not_doubled(packets: PacketLab) -> None:
    packets.apply(BASE, Fault("fault-1", "loss", ("i-b", "i-p"), 50))
    # Standard deviation 16; 250 would arrive if both VPCs dropped half.
    assert 375 < packets.arrivals("eni-b", P, 1000) < 625


@pytest.mark.parametrize(
    ("ends", "source", "address"),
    [
        (("i-a", "i-c"), "eni-a", C),
        (("i-a", "i-c"), "eni-c", A6),
        (("us-east-1a", "us-east-1b"), "eni-b", D),
        (("i-a", "all"), "host@vpc-1", A),
        (("i-a", "all"), "eni-a", INTERNET),
        (("i-p", "i-b"), "eni-b", P),
        (("i-p", "i-b"), "eni-p", B),
    ],
)
def test_rate_applies_in_both_directions(packets: PacketLab, ends: tuple[str, str], source: str, address: str) -> None:
    assert not packets.overflows(source, address)
    packets.apply(BASE, Fault("fault-1", "rate", ends, 8))
    passes(packets, source, address)
    assert packets.overflows(source, address)
    packets.apply(BASE)
    assert not packets.overflows(source, address)


def test_rate_spares_other_traffic(packets: PacketLab) -> None:
    packets.apply(BASE, Fault("fault-1", "rate", ("i-a", "i-c"), 8))
    for source, address in (("eni-a", D), ("eni-d", A), ("eni-b", C), ("host@vpc-1", A), ("eni-a", INTERNET)):
        assert not packets.overflows(source, address)


def test_large_segments_pass_a_rate(packets: PacketLab) -> None:
    # Senders leave segmentation to their device: what reaches the queue is up to 64 KiB, more than its burst.
    packets.apply(BASE, Fault("fault-1", "rate", ("i-a", "i-c"), 4000))
    assert packets.transfers("eni-a", C, 400_000)


def test_lowest_rate_applies(packets: PacketLab) -> None:
    slow, fast = (
        Fault("fault-1", "rate", ("i-a", "i-b"), 8),
        Fault("fault-2", "rate", ("us-east-1a", "all"), 10_000_000),
    )
    packets.apply(BASE, slow, fast)
    assert packets.overflows("eni-a", B)
    assert not packets.overflows("eni-a", C)
    packets.apply(BASE, fast)
    assert not packets.overflows("eni-a", B)


def test_partition_cuts_what_a_rate_limits(packets: PacketLab) -> None:
    packets.apply(BASE, Fault("fault-1", "rate", ("i-a", "i-c"), 8), partition("i-a", "i-c", "fault-2"))
    is_cut(packets, "eni-a", C)


def test_delay_applies_in_both_directions(packets: PacketLab) -> None:
    delayed = Fault("fault-1", "delay", ("i-a", "i-c"), 100)
    try:
        packets.apply(BASE, delayed, Fault("fault-2", "delay", ("i-c", "all"), 50))
    except AssertionError as error:
        if "No such file or directory" not in str(error):
            raise
        pytest.skip("this kernel has no netem")
    assert packets.round_trip("eni-a", C) >= 0.3


def test_classes_of_traffic() -> None:
    faults = [
        Fault("fault-1", "delay", ("i-a", "i-c"), 100),
        partition("i-a", "i-b", "fault-2"),
        Fault("fault-3", "rate", ("us-east-1c", "all"), 1000),
        Fault("fault-4", "rate", ("i-a", "i-c"), 500),
        Fault("fault-5", "delay", ("us-east-1c", "all"), 20),
    ]
    devices = {"eni-a": "eni1", "eni-b": "eni2", "eni-c": "eni3"}
    both, zone = 0b1111, 0b1010
    assert shaping(BASE.vpcs["vpc-1"], BASE, devices, faults) == {
        "eni1": [TrafficClass(both, 2, 120, 500)],
        "eni2": [TrafficClass(zone, 1, 20, 1000)],
        "eni3": [TrafficClass(zone, 1, 20, 1000), TrafficClass(both, 2, 120, 500)],
        "igw": [TrafficClass(zone, 1, 20, 1000)],
    }
    assert shaping(BASE.vpcs["vpc-1"], BASE, devices, [faults[1]]) == {}


def test_sum_of_delays_is_one_that_the_kernel_takes() -> None:
    faults = [Fault(f"fault-{number}", "delay", ("i-a", "all"), 60_000) for number in range(5)]
    (delayed,) = shaping(BASE.vpcs["vpc-1"], BASE, {"eni-a": "eni1"}, faults)["eni1"]
    assert delayed.milliseconds == 240_000


def test_overlapping_faults_heal_independently(packets: PacketLab) -> None:
    instances, zones = partition("i-a", "i-b"), partition("us-east-1a", "us-east-1b", "fault-2")
    packets.apply(BASE, instances, zones)
    is_cut(packets, "eni-a", B)
    packets.apply(BASE, instances)
    is_cut(packets, "eni-a", B)
    passes(packets, "eni-d", B)
    packets.apply(BASE, zones)
    is_cut(packets, "eni-a", B)
    is_cut(packets, "eni-d", B)
    packets.apply(BASE)
    passes(packets, "eni-a", B)


def test_total_loss(packets: PacketLab) -> None:
    packets.apply(BASE, Fault("fault-1", "loss", ("i-a", "i-c"), 100))
    assert not packets.reaches("eni-a", C, "udp", expected=False)


def test_loss_lets_some_packets_pass(packets: PacketLab) -> None:
    packets.apply(BASE, Fault("fault-1", "loss", ("i-a", "i-c"), 50))
    # Each attempt has four chances; the laboratory repeats it until one succeeds.
    assert packets.reaches("eni-a", C, "udp", expected=True)


@pytest.mark.parametrize(
    ("fault", "source", "destination", "component"),
    [
        (partition("i-a", "i-c"), "i-c", A, "fault-1"),
        (partition("us-east-1b", "us-east-1a"), "eni-a", "eni-b", "fault-1"),
        (partition("i-a", "all"), "host", "i-a", "fault-1"),
        (partition("i-a", "all"), "i-a", "internet", "fault-1"),
        (partition("i-a", "all"), "i-a", "169.254.169.254", "vpc-1"),
        (partition("us-east-1a", "all"), "i-a", "i-d", "sgr-1"),
    ],
)
def test_reach_knows_partitions(fault: Fault, source: str, destination: str, component: str) -> None:
    protocol, port = ("tcp", 80)
    answer = reach(BASE, source, destination, protocol, port, faults=[fault])
    assert (answer.component, answer.reachable) == (component, component != "fault-1")
    assert reach(BASE, source, destination, protocol, port)


def test_reach_notes_loss() -> None:
    answer = reach(BASE, "i-a", "i-c", "icmp", faults=[Fault("fault-1", "loss", ("i-a", "i-c"), 30)])
    assert answer
    assert answer.path[-1] == "fault-1 drops 30 % of the packets: 30 % loss between i-a and i-c"


def test_reach_notes_delay_and_rate() -> None:
    faults = [Fault("fault-1", "delay", ("i-a", "i-c"), 30), Fault("fault-2", "rate", ("i-c", "all"), 64)]
    assert reach(BASE, "i-a", "i-c", "icmp", faults=faults).path[-2:] == (
        "fault-1 delays the packets by 30 ms: 30 ms delay between i-a and i-c",
        "fault-2 limits the packets to 64 kbit/s: 64 kbit/s between i-c and all",
    )


def test_faults_end_with_their_instance() -> None:
    faults = NetworkFaults(lambda: None)
    for fault in (
        partition("i-a", "i-b"),
        partition("i-c", "i-d", "fault-2"),
        partition("us-east-1a", "i-a", "fault-3"),
    ):
        faults.put(fault, BASE)
    faults.follow(zoned(lab(interface("b", B), interface("c", C), interface("d", D))))
    assert [fault.fault_id for fault in faults.current()] == ["fault-2"]


def test_changes_are_applied() -> None:
    applied: list[list[Fault]] = []
    faults = NetworkFaults(lambda: applied.append(faults.current()))
    one, other = partition("i-a", "i-b"), partition("i-a", "all", "fault-2")
    faults.put(one, BASE)
    faults.put(other, BASE)
    assert faults.remove("fault-3") == []
    assert faults.remove("fault-1") == ["fault-1"]
    assert faults.remove() == ["fault-2"]
    assert applied == [[one], [one, other], [one, other], [other], []]


def test_fault_that_the_network_rejects_is_not_kept() -> None:
    applied: list[list[Fault]] = []

    def reject() -> None:
        applied.append(faults.current())
        if faults.current():
            raise LocalEC2Error("the kernel refused")

    faults = NetworkFaults(reject)
    with pytest.raises(LocalEC2Error, match="kernel"):
        faults.put(partition("i-a", "i-b"), BASE)
    assert applied == [[partition("i-a", "i-b")], []]


def test_rejected_replacement_leaves_the_fault_as_it_was() -> None:
    def reject() -> None:
        if any(fault.amount == 60 for fault in faults.current()):
            raise LocalEC2Error("the kernel refused")

    faults = NetworkFaults(reject)
    loss = Fault("fault-1", "loss", ("i-a", "i-b"), 30)
    faults.put(loss, BASE)
    with pytest.raises(LocalEC2Error, match="kernel"):
        faults.put(replace(loss, amount=60), BASE)
    assert faults.current() == [loss]


def test_fault_that_the_network_does_not_support_is_not_kept() -> None:
    def check(fault: Fault) -> None:
        if fault.kind == "delay":
            raise LocalEC2Error("no netem")

    faults = NetworkFaults(lambda: None, check)
    with pytest.raises(LocalEC2Error, match="no netem"):
        faults.put(Fault("fault-1", "delay", ("i-a", "i-b"), 5), BASE)
    faults.put(Fault("fault-2", "rate", ("i-a", "i-b"), 8), BASE)
    assert [fault.fault_id for fault in faults.current()] == ["fault-2"]


def test_number_of_delays_and_rates_is_limited() -> None:
    faults = NetworkFaults(lambda: None)
    limited = [Fault(f"fault-{number:x}", "rate", ("i-a", "i-b"), 8) for number in range(33)]
    for _ in range(2):  # putting one again is no further one
        for fault in limited[:32]:
            faults.put(fault, BASE)
    with pytest.raises(LocalEC2Error, match="there are 32 delays and rates already"):
        faults.put(limited[32], BASE)
    faults.put(partition("i-a", "i-b", "fault-ff"), BASE)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("i-0", "unknown instance 'i-0': it does not exist, or is terminated"),
        (
            "us-east-1f",
            "unknown end 'us-east-1f': give an instance id, an availability zone that has a subnet, or 'all'",
        ),
    ],
)
def test_unknown_end_is_refused(end: str, message: str) -> None:
    faults = NetworkFaults(lambda: None)
    with pytest.raises(LocalEC2Error, match=message):
        faults.put(partition("i-a", end), BASE)


def test_document_is_read_back() -> None:
    for fault in (
        partition("i-a", "all", new_fault_id()),
        Fault("fault-2", "loss", ("i-a", "us-east-1b"), 30),
        Fault("fault-3", "delay", ("i-a", "i-b"), 60_000),
        Fault("fault-4", "rate", ("i-a", "i-b"), 8),
    ):
        document = fault.to_document()
        assert fault_from(document.pop("fault_id"), document) == fault


def test_everything_is_the_second_end() -> None:
    assert fault_from("fault-1", {"kind": "partition", "between": ["all", "i-a"]}).between == ("i-a", "all")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "flood"}, "faults of the kind 'flood' are not supported: choose partition, loss, delay, or rate"),
        ({"rate": 5}, "faults of the kind partition do not have 'rate': give between and percent"),
        ({"kind": "delay", "percent": 5}, "faults of the kind delay do not have 'percent': give between and millisec"),
        ({"kind": "delay", "milliseconds": 60_001}, "invalid milliseconds 60001: give a whole number from 1 to 60000"),
        ({"kind": "rate", "kbit_per_second": 7.5}, "invalid kbit_per_second 7.5: give a whole number from 8 to 10000"),
        ({"percent": 50}, "a partition drops all packets"),
        ({"kind": "loss"}, "invalid percent None"),
        ({"kind": "loss", "percent": 0}, "invalid percent 0: give a whole number from 1 to 100"),
        ({"kind": "loss", "percent": True}, "invalid percent True"),
        ({"between": ["i-a"]}, "names the two ends"),
        ({"between": "ab"}, "names the two ends"),
        ({"between": ["i-a", 5]}, "names the two ends"),
        ({"between": ["all", "all"]}, "both ends of the fault are 'all'"),
    ],
)
def test_malformed_fault_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LocalEC2Error, match=message):
        fault_from("fault-1", {"kind": "partition", "between": ["i-a", "i-b"], **changes})


def test_invalid_id_and_body_are_refused() -> None:
    with pytest.raises(LocalEC2Error, match="invalid fault id 'x; flush ruleset'"):
        fault_from("x; flush ruleset", {"kind": "partition", "between": ["i-a", "i-b"]})
    with pytest.raises(LocalEC2Error, match="a fault is a JSON object"):
        fault_from("fault-1", None)
