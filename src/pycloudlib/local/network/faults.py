"""Network faults: partitions and packet loss between instances and availability zones.

A fault names instances and zones, not addresses, so it applies to addresses that they get later, too.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.topology import Interface, Topology, Vpc

PARTITION, LOSS = "partition", "loss"
KINDS = (PARTITION, LOSS)
ALL = "all"
"""The end of a fault that stands for everything but the other end: all instances, the host, and the internet."""
CERTAIN = 100
"""The percentage of packets that a partition drops."""

_ID = re.compile(r"fault-[0-9a-f]{1,32}")
_INSTANCE = "i-"
_MEMBERS = {"kind", "between", "percent"}


@dataclass(frozen=True)
class Fault:
    """A network fault, in both directions.

    Args:
        fault_id: the id, such as "fault-0123456789abcdef"; the client chooses it, see new_fault_id().
        kind: "partition" or "loss".
        between: the two ends, each an instance id or an availability zone; the second one may be "all".
        percent: the percentage of packets that are dropped, 1 to 100; default 100.
    """

    fault_id: str
    kind: str
    between: tuple[str, str]
    percent: int = CERTAIN

    def __str__(self) -> str:
        one, other = self.between
        return f"{'partition' if self.kind == PARTITION else f'{self.percent} % loss'} between {one} and {other}"

    def interfaces(self, end: str, vpcs: Collection[Vpc]) -> list[Interface]:
        """Return the interfaces at an end.

        Args:
            end: one of `between`, except "all".
            vpcs: the VPCs to search.
        """
        return [one for vpc in vpcs for one in vpc.interfaces.values() if end in places(vpc, one)]

    def affects(self, source: Collection[str], destination: Collection[str]) -> bool:
        """Return whether the fault drops packets between two places.

        Args:
            source: see places(); empty for the host and the internet.
            destination: in the same form.
        """
        one, other = self.between
        return any(
            one in near and (one not in far if other == ALL else other in far)
            for near, far in ((source, destination), (destination, source))
        )

    def to_document(self) -> dict[str, Any]:
        """Return the fault as JSON values."""
        return {**asdict(self), "between": list(self.between)}


def new_fault_id() -> str:
    """Return an unused fault id."""
    return f"fault-{secrets.token_hex(8)}"


def places(vpc: Vpc, interface: Interface) -> frozenset[str]:
    """Return the ends of faults that an interface belongs to: its instance, and its availability zone."""
    zone = vpc.subnets[interface.subnet_id].zone
    return frozenset({interface.instance_id, zone} if interface.instance_id is not None else {zone})


def fault_from(fault_id: str, document: Any) -> Fault:
    """Read a fault.

    Args:
        fault_id: its id.
        document: an object with `kind`, `between`, and `percent` (of a loss only).

    Raises:
        LocalEC2Error: the document is malformed, or asks for what is not supported.
    """
    if not _ID.fullmatch(fault_id):
        raise LocalEC2Error(f"invalid fault id {fault_id!r}: give fault- and 1 to 32 hexadecimal digits")
    if not isinstance(document, Mapping):
        raise LocalEC2Error("a fault is a JSON object with kind, between, and percent")
    unknown = sorted(set(document) - _MEMBERS)
    if unknown:
        raise LocalEC2Error(f"faults do not have {unknown[0]!r}: give kind, between, and percent")
    kind = document.get("kind")
    if kind not in KINDS:
        raise LocalEC2Error(f"faults of the kind {kind!r} are not supported: choose {' or '.join(KINDS)}")
    percent = document.get("percent", CERTAIN if kind == PARTITION else None)
    if type(percent) is not int or not 1 <= percent <= CERTAIN:
        raise LocalEC2Error(f"invalid percent {percent!r}: give a whole number from 1 to {CERTAIN}")
    if kind == PARTITION and percent != CERTAIN:
        raise LocalEC2Error("a partition drops all packets: leave out percent, or choose the kind loss")
    return Fault(fault_id, kind, _ends(document.get("between")), percent)


def _ends(between: Any) -> tuple[str, str]:
    if not isinstance(between, list | tuple) or len(between) != 2 or not all(isinstance(one, str) for one in between):  # noqa: PLR2004  (ends)
        raise LocalEC2Error("'between' names the two ends of a fault: instance ids, availability zones, or 'all'")
    one, other = between
    if one == other:
        raise LocalEC2Error(f"both ends of the fault are {one!r}: give two different ones")
    return (other, one) if one == ALL else (one, other)


class NetworkFaults:
    """The network faults of a server. Safe for threads.

    Args:
        on_change: applies the faults to the network, after put() and remove() have changed them.
    """

    def __init__(self, on_change: Callable[[], object]) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._faults: dict[str, Fault] = {}

    def follow(self, topology: Topology) -> None:
        """Remove the faults whose instances do not exist any more.

        Args:
            topology: the network of all regions, after a change.
        """
        with self._lock:
            known = _places(topology)
            self._faults = {
                fault_id: fault
                for fault_id, fault in self._faults.items()
                if all(end in known for end in fault.between if end.startswith(_INSTANCE))
            }

    def put(self, fault: Fault, topology: Topology) -> None:
        """Add a fault, or replace the one with its id.

        Args:
            fault: the fault.
            topology: the current network of all regions.

        Raises:
            LocalEC2Error: an end does not exist, or the network rejects the fault.
        """
        known = _places(topology)
        for end in fault.between:
            if end != ALL and end not in known:
                raise LocalEC2Error(_unknown(end))
        with self._lock:
            self._faults[fault.fault_id] = fault
        try:
            self._on_change()
        except LocalEC2Error:
            with self._lock:
                self._faults.pop(fault.fault_id, None)
            raise

    def remove(self, fault_id: str = "") -> list[str]:
        """Remove a fault, or all faults.

        Args:
            fault_id: default: all.

        Returns:
            The ids of the removed faults; an unknown one is none of them.
        """
        with self._lock:
            removed = [one for one in self._faults if fault_id in ("", one)]
            for one in removed:
                del self._faults[one]
        self._on_change()
        return removed

    def current(self) -> list[Fault]:
        """Return the faults, in the order in which they were added."""
        with self._lock:
            return list(self._faults.values())


def _places(topology: Topology) -> set[str]:
    instances = {
        one.instance_id for vpc in topology.vpcs.values() for one in vpc.interfaces.values() if one.instance_id
    }
    return instances | {subnet.zone for vpc in topology.vpcs.values() for subnet in vpc.subnets.values()}


def _unknown(end: str) -> str:
    if end.startswith(_INSTANCE):
        return f"unknown instance {end!r}: it does not exist, or is terminated"
    return f"unknown end {end!r}: give an instance id, an availability zone that has a subnet, or {ALL!r}"
