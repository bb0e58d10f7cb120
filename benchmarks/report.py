"""What the benchmarks have in common: medians, a table, and a JSON file with the machine's description."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One way of doing the same thing.

    Args:
        name: what it is.
        median: seconds.
        fastest: seconds.
        ratio: its median, as a multiple of the first one's.
    """

    name: str
    median: float
    fastest: float
    ratio: float


def rows(seconds: Mapping[str, Sequence[float]]) -> list[Row]:
    """Sum the runs of each way up; the first one is what the others are compared with."""
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    base = next(iter(medians.values()))
    return [Row(name, medians[name], min(each), medians[name] / base) for name, each in seconds.items()]


def parser(description: str | None, runs: int) -> argparse.ArgumentParser:
    """Give the command line that every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--runs", type=int, default=runs, help=f"runs of each way (default {runs})")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    made.add_argument("--strict", action="store_true", help="end with status 1 on MISS")
    return made


def report(title: str, results: Sequence[Row], *, ours: str, limit: float, arguments: argparse.Namespace) -> int:
    """Print the table and the verdict, and write the JSON file.

    Args:
        title: what was measured.
        results: the rows; the first one is the base.
        ours: the name of the row that is judged.
        limit: the largest ratio that is wanted of it.
        arguments: of the command line.

    Returns:
        The exit status.
    """
    row = next(one for one in results if one.name == ours)
    verdict = "PASS" if row.ratio <= limit else "MISS"
    unit, scale = ("ms", 1000.0) if row.median < 1 else ("s", 1.0)
    print(f"{title}, {arguments.runs} runs each")
    print(f"{'':42}{'median':>10}{'fastest':>10}{'ratio':>8}")
    for one in results:
        median, fastest = (f"{value * scale:.2f} {unit}" for value in (one.median, one.fastest))
        print(f"{one.name:42}{median:>10}{fastest:>10}{one.ratio:>8.2f}")
    print(f"{verdict}: {row.ratio:.2f} x {results[0].name}; at most {limit} is wanted")
    if arguments.json:
        figures = {
            "title": title,
            "runs": arguments.runs,
            "limit": limit,
            "verdict": verdict,
            "rows": [asdict(one) for one in results],
            "machine": machine(),
        }
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if arguments.strict and verdict == "MISS" else 0


def machine() -> dict[str, object]:
    """Describe what the figures were taken on."""
    return {
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "paramiko": version("paramiko"),
    }
