"""Network faults: partitions, packet loss, delays, and rates between instances and availability zones.

A fault references instances and zones rather than addresses, so it also applies to addresses assigned later.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.topology import Interface, Topology, Vpc

PARTITION, LOSS, DELAY, RATE = "partition", "loss", "delay", "rate"
ALL = "all"
"""The end of a fault for everything but the other end: all instances, the host, and the internet."""
CERTAIN = 100
"""The percentage of packets that a partition drops."""

_ID = re.compile(r"fault-[0-9a-f]{1,32}")
_INSTANCE = "i-"


@dataclass(frozen=True)
class Quantity:
    """The amount of a kind of fault.

    Args:
        name: the member of the amount in documents, which contains the unit.
        minimum: the smallest amount.
        maximum: the largest amount.
    """

    name: str
    minimum: int
    maximum: int


QUANTITIES = {
    PARTITION: Quantity("percent", CERTAIN, CERTAIN),
    LOSS: Quantity("percent", 1, CERTAIN),
    DELAY: Quantity("milliseconds", 1, 60_000),
    RATE: Quantity("kbit_per_second", 8, 10_000_000),
}
"""The kinds of faults."""

MOST_SHAPING = 32
"""The maximum number of concurrent delays and rates: each is a bit of a packet's mark."""


@dataclass(frozen=True)
class Fault:
    """A network fault, in both directions.

    Args:
        fault_id: the id, such as "fault-0123456789abcdef"; the client chooses it, see new_fault_id().
        kind: "partition", "loss", "delay", or "rate".
        between: the two ends, each an instance id or an availability zone; the second one may be "all".
        amount: the percentage of packets that are dropped, 1 to 100; the delay in milliseconds, 1 to 60000; or the rate
            in kbit/s, 8 to 10000000; default 100, the percentage of a partition.
    """

    fault_id: str
    kind: str
    between: tuple[str, str]
    amount: int = CERTAIN

    def __str__(self) -> str:
        first, second = self.between
        return f"{_NOUNS[self.kind].format(self.amount)} between {first} and {second}"

    @property
    def effect(self) -> str:
        """The effect on packets, as a verb and its object."""
        if self.cuts:
            return "drops all packets"
        return _VERBS[self.kind].format(self.amount)

    @property
    def cuts(self) -> bool:
        """Whether the fault drops all packets."""
        return self.kind in (PARTITION, LOSS) and self.amount == CERTAIN

    @property
    def shapes(self) -> bool:
        """Whether the fault delays packets or limits their rate."""
        return self.kind in (DELAY, RATE)

    def interfaces(self, end: str, vpcs: Collection[Vpc]) -> list[Interface]:
        """Return the interfaces at an end.

        Args:
            end: an end in `between`, except "all".
            vpcs: the VPCs to search.
        """
        return [interface for vpc in vpcs for interface in vpc.interfaces.values() if end in places(vpc, interface)]

    def affects(self, source: Collection[str], destination: Collection[str]) -> bool:
        """Return whether the fault applies to packets between two places.

        Args:
            source: see places(); empty for the host and the internet.
            destination: in the same form.
        """
        first, second = self.between
        return any(
            first in from_places and (first not in to_places if second == ALL else second in to_places)
            for from_places, to_places in ((source, destination), (destination, source))
        )

    def to_document(self) -> dict[str, Any]:
        """Return the fault as JSON values."""
        return {
            "fault_id": self.fault_id,
            "kind": self.kind,
            "between": list(self.between),
            QUANTITIES[self.kind].name: self.amount,
        }


_NOUNS = {PARTITION: "partition", LOSS: "{} % loss", DELAY: "{} ms delay", RATE: "{} kbit/s"}
_VERBS = {
    LOSS: "drops {} % of the packets",
    DELAY: "delays the packets by {} ms",
    RATE: "limits the packets to {} kbit/s",
}


def new_fault_id() -> str:
    """Return an unused fault id."""
    return f"fault-{secrets.token_hex(8)}"


def places(vpc: Vpc, interface: Interface) -> frozenset[str]:
    """Return the ends of faults that an interface belongs to: its instance, and its availability zone."""
    zone = vpc.subnets[interface.subnet_id].zone
    return frozenset({interface.instance_id, zone} if interface.instance_id is not None else {zone})


def fault_from(fault_id: str, document: Any) -> Fault:
    """Parse a fault.

    Args:
        fault_id: the fault's id.
        document: an object with `kind`, `between`, and the amount: `percent` of a loss, `milliseconds` of a delay, or
            `kbit_per_second` of a rate.

    Raises:
        LocalEC2Error: the document is malformed, or has unsupported values.
    """
    if not _ID.fullmatch(fault_id):
        raise LocalEC2Error(f"invalid fault id {fault_id!r}: give fault- and 1 to 32 hexadecimal digits")
    if not isinstance(document, Mapping):
        raise LocalEC2Error("a fault is a JSON object with kind, between, and an amount")
    kind = document.get("kind")
    if kind not in QUANTITIES:
        kinds = list(QUANTITIES)
        raise LocalEC2Error(
            f"faults of the kind {kind!r} are not supported: choose {', '.join(kinds[:-1])}, or {kinds[-1]}"
        )
    quantity = QUANTITIES[kind]
    unknown = sorted(set(document) - {"kind", "between", quantity.name})
    if unknown:
        raise LocalEC2Error(f"faults of the kind {kind} do not have {unknown[0]!r}: give between and {quantity.name}")
    return Fault(fault_id, kind, _ends(document.get("between")), _amount(kind, quantity, document))


def _amount(kind: str, quantity: Quantity, document: Mapping[str, Any]) -> int:
    amount = document.get(quantity.name, CERTAIN if kind == PARTITION else None)
    if type(amount) is int and quantity.minimum <= amount <= quantity.maximum:
        return amount
    if kind == PARTITION:
        raise LocalEC2Error("a partition drops all packets: omit percent, or choose the kind loss")
    raise LocalEC2Error(
        f"invalid {quantity.name} {amount!r}: give a whole number from {quantity.minimum} to {quantity.maximum}"
    )


def _ends(between: Any) -> tuple[str, str]:
    if not isinstance(between, list | tuple) or len(between) != 2 or not all(isinstance(end, str) for end in between):  # noqa: PLR2004  (ends)
        raise LocalEC2Error("'between' names the two ends of a fault: instance ids, availability zones, or 'all'")
    first, second = between
    if first == second:
        raise LocalEC2Error(f"both ends of the fault are {first!r}: give two different ones")
    return (second, first) if first == ALL else (first, second)


class NetworkFaults:
    """The network faults of a server. Thread-safe.

    Args:
        on_change: applies the faults to the network, after put() and remove() have changed them.
        check: raises LocalEC2Error for a fault that the network does not support; default no check.
    """

    def __init__(self, on_change: Callable[[], object], check: Callable[[Fault], object] | None = None) -> None:
        self._on_change = on_change
        self._check = check
        self._lock = threading.Lock()
        self._faults: dict[str, Fault] = {}

    def follow(self, topology: Topology) -> None:
        """Remove the faults of deleted instances.

        Args:
            topology: the network of all regions, after a change.
        """
        with self._lock:
            existing = all_places(topology)
            self._faults = {
                fault_id: fault
                for fault_id, fault in self._faults.items()
                if all(end in existing for end in fault.between if end.startswith(_INSTANCE))
            }

    def put(self, fault: Fault, topology: Topology) -> None:
        """Add a fault, or replace the fault with the same id.

        Args:
            fault: the fault.
            topology: the current network of all regions.

        Raises:
            LocalEC2Error: an end does not exist, or the network rejects the fault. A fault with the same id remains.
        """
        existing = all_places(topology)
        for end in fault.between:
            if end != ALL and end not in existing:
                raise LocalEC2Error(unknown_end(end))
        if self._check is not None:
            self._check(fault)
        with self._lock:
            other_faults = [
                other for other in self._faults.values() if other.shapes and other.fault_id != fault.fault_id
            ]
            if fault.shapes and len(other_faults) >= MOST_SHAPING:
                raise LocalEC2Error(f"there are {MOST_SHAPING} delays and rates already, and no more at once: heal one")
            replaced = self._faults.get(fault.fault_id)
            self._faults[fault.fault_id] = fault
        try:
            self._on_change()
        except LocalEC2Error:
            with self._lock:
                self._faults.pop(fault.fault_id, None)
                if replaced is not None:
                    self._faults[replaced.fault_id] = replaced
            # The fault may have been applied partially.
            with contextlib.suppress(LocalEC2Error):
                self._on_change()
            raise

    def remove(self, fault_id: str = "") -> list[str]:
        """Remove a fault, or all faults.

        Args:
            fault_id: the fault's id; default all faults.

        Returns:
            The ids of the removed faults; empty for an unknown id.
        """
        with self._lock:
            removed = [existing_id for existing_id in self._faults if fault_id in ("", existing_id)]
            for removed_id in removed:
                del self._faults[removed_id]
        self._on_change()
        return removed

    def current(self) -> list[Fault]:
        """Return the faults, in the order in which they were added."""
        with self._lock:
            return list(self._faults.values())


def all_places(topology: Topology) -> set[str]:
    """Return the possible ends of a fault: the ids of the instances, and the zones that have subnets."""
    instances = {
        interface.instance_id
        for vpc in topology.vpcs.values()
        for interface in vpc.interfaces.values()
        if interface.instance_id
    }
    return instances | {subnet.zone for vpc in topology.vpcs.values() for subnet in vpc.subnets.values()}


def unknown_end(end: str) -> str:
    """Return the message for an end that does not exist."""
    if end.startswith(_INSTANCE):
        return f"unknown instance {end!r}: it does not exist, or is terminated"
    return f"unknown end {end!r}: give an instance id, an availability zone that has a subnet, or {ALL!r}"
