"""Delays and rate limits as traffic classes: plain data that the helper applies.

The ruleset marks a packet with one bit per applicable fault, and assigns it to the class of that mark. Each device
towards a receiver has a queueing discipline with a class per possible mark. Packets with the same mark therefore share
a rate limit on each device.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pycloudlib.local.network.faults import DELAY, RATE, Fault, places
from pycloudlib.local.network.namespaces.routing import EXCHANGE, INTERNET_DEVICE
from pycloudlib.local.network.topology import Topology, Vpc

LONGEST_DELAY = 240_000
"""The maximum total delay of a packet in milliseconds; the kernel's limit is 274 s."""

CLASSES = 1
"""The major number of the queueing discipline."""


@dataclass(frozen=True)
class TrafficClass:
    """The delay and rate limit of a mark's packets on a device.

    Args:
        mark: the bits of the faults: 1 << the index in shaping_faults().
        number: the minor number of the class, from 1.
        milliseconds: the delay; 0 for none.
        kbit_per_second: the rate limit in kbit/s; 0 for none.
    """

    mark: int
    number: int
    milliseconds: int
    kbit_per_second: int


def shaping_faults(faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults that delay packets or limit their rate."""
    return [fault for fault in faults if fault.shapes]


def shaping(
    vpc: Vpc, topology: Topology, devices: Mapping[str, str], faults: Collection[Fault]
) -> dict[str, list[TrafficClass]]:
    """Return the traffic classes in a VPC's namespace, by device; devices without classes are omitted.

    Args:
        vpc: the VPC.
        topology: all VPCs, for senders in peered VPCs, or in all VPCs if machines reach each other's public addresses.
        devices: the names of devices, by the id of the interface, and by EXCHANGE.
        faults: all network faults.
    """
    shaped = shaping_faults(faults)
    if not shaped:
        return {}
    ends = {end for fault in shaped for end in fault.between}
    outside: frozenset[str] = frozenset()
    vpcs = list(topology.vpcs.values()) if EXCHANGE in devices else [vpc, *topology.peers_of(vpc).values()]
    senders = {
        places(sender_vpc, interface) & ends for sender_vpc in vpcs for interface in sender_vpc.interfaces.values()
    } | {outside}
    receivers = {
        devices[interface.interface_id]: places(vpc, interface) & ends
        for interface in vpc.interfaces.values()
        if interface.interface_id in devices
    } | {INTERNET_DEVICE: outside}
    marks = {
        device: sorted({_mark(shaped, sender, receiver) for sender in senders} - {0})
        for device, receiver in receivers.items()
    }
    numbers = {
        mark: number
        for number, mark in enumerate(sorted({mark for device_marks in marks.values() for mark in device_marks}), 1)
    }
    return {
        device: [_class(shaped, mark, numbers[mark]) for mark in device_marks]
        for device, device_marks in marks.items()
        if device_marks
    }


def _mark(shaped: list[Fault], sender: frozenset[str], receiver: frozenset[str]) -> int:
    return sum(1 << bit for bit, fault in enumerate(shaped) if fault.affects(sender, receiver))


def _class(shaped: list[Fault], mark: int, number: int) -> TrafficClass:
    applied = [fault for bit, fault in enumerate(shaped) if mark >> bit & 1]
    return TrafficClass(
        mark,
        number,
        milliseconds=min(LONGEST_DELAY, sum(fault.amount for fault in applied if fault.kind == DELAY)),
        kbit_per_second=min((fault.amount for fault in applied if fault.kind == RATE), default=0),
    )
