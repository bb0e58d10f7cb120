"""Boots side by side, in numbers: how much slower, and how far apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pycloudlib.timeline.model import BootRecord


@dataclass(frozen=True)
class Spread:
    """How far apart some numbers are.

    Args:
        low: the smallest.
        median: the one in the middle.
        high: the largest.
    """

    low: float
    median: float
    high: float


def spread_of(seconds: Sequence[float]) -> Spread:
    """How far apart they are; there is at least one."""
    return Spread(min(seconds), statistics.median(seconds), max(seconds))


def runs_by_label(records: Sequence[BootRecord]) -> dict[str, list[BootRecord]]:
    """The boots of each image, in the order in which images first come."""
    groups: dict[str, list[BootRecord]] = {}
    for record in records:
        groups.setdefault(record.label, []).append(record)
    return groups


def has_spread(records: Sequence[BootRecord]) -> bool:
    """Whether an image was booted more than once."""
    return any(len(runs) > 1 for runs in runs_by_label(records).values())


def difference(seconds: float, first: float) -> str:
    """How much more or less it is than the first, as in "+3.1 s (+12 %)"."""
    more = seconds - first
    share = f" ({more / first:+.0%})".replace("%", " %") if first else ""
    return f"{more:+.1f} s{share}"
