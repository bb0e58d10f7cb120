"""Comparisons of boots in numbers: differences and spreads."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pycloudlib.timeline.model import BootRecord


@dataclass(frozen=True)
class Spread:
    """The spread of some numbers.

    Args:
        low: the minimum.
        median: the median.
        high: the maximum.
    """

    low: float
    median: float
    high: float


def spread_of(seconds: Sequence[float]) -> Spread:
    """Return the spread of at least one number."""
    return Spread(min(seconds), statistics.median(seconds), max(seconds))


def runs_by_label(records: Sequence[BootRecord]) -> dict[str, list[BootRecord]]:
    """Return the boots of each label, in the order of first occurrence."""
    groups: dict[str, list[BootRecord]] = {}
    for record in records:
        groups.setdefault(record.label, []).append(record)
    return groups


def has_spread(records: Sequence[BootRecord]) -> bool:
    """Return whether a label has more than one boot."""
    return any(len(runs) > 1 for runs in runs_by_label(records).values())


def difference(seconds: float, first: float) -> str:
    """Return the difference to the first value, as in "+3.1 s (+12 %)"."""
    change = seconds - first
    share = f" ({change / first:+.0%})".replace("%", " %") if first else ""
    return f"{change:+.1f} s{share}"
