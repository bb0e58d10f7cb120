"""What the benchmarks have in common: their command line, medians, a table, and a JSON file with the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

OURS = "pycloudlib-ec2"
"""This library, in every table; its peer pycloudlib has the same import name."""

SCALES = {"s": 1.0, "ms": 1e3, "MB": 1e-6, "KB": 1e-3, "MB/s": 1e-6, "calls": 1.0, "x": 1.0}
"""By what a value is multiplied to be shown in a unit: values are kept in seconds and bytes."""


LOAD_BEFORE = os.getloadavg()[0]
"""What else the machine did when this began: the one minute's load average."""


@dataclass(frozen=True)
class Figure:
    """One quantity of one way of doing something.

    Args:
        way: the library, or whatever does it.
        quantity: what was measured, such as "beyond the cloud's own time".
        unit: in which it is shown; see SCALES.
        values: one for each run, in seconds, bytes or calls.
        n: of how many instances or hosts; None where there is only one.
    """

    way: str
    quantity: str
    unit: str
    values: tuple[float, ...]
    n: int | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        return shown(self.median, self.unit)


@dataclass(frozen=True)
class Target:
    """What this library must reach.

    Args:
        what: the quantity, in words.
        reached: what it came to.
        limit: the most that is wanted.
        unit: of both; see SCALES.
        why_missed: why it cannot be reached, where that is known.
    """

    what: str
    reached: float
    limit: float
    unit: str
    why_missed: str = ""

    @property
    def verdict(self) -> str:
        return "PASS" if self.reached <= self.limit else "MISS"

    def __str__(self) -> str:
        reached, limit = shown(self.reached, self.unit), shown(self.limit, self.unit)
        return f"{self.verdict}: {self.what}: {reached}; at most {limit} is wanted"


@dataclass(frozen=True)
class Report:
    """All that a benchmark found out.

    Args:
        name: of the program, without ".py".
        title: what was measured.
        runs: of each way.
        figures: what was measured.
        targets: what should have been reached.
    """

    name: str
    title: str
    runs: int
    figures: tuple[Figure, ...]
    targets: tuple[Target, ...]

    def finish(self, arguments: argparse.Namespace) -> int:
        """Print it, write the JSON file, and give the exit status."""
        print("\n".join(self.lines()))
        if arguments.json:
            document = {**self.to_json(), "machine": machine()}
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(document, indent=2) + "\n")
        return 1 if arguments.strict and any(one.verdict == "MISS" for one in self.targets) else 0

    def lines(self) -> list[str]:
        head, *rows = table(self.figures)
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        written = [f"{self.title}; medians of {self.runs}"]
        for row in (head, *rows):
            first, *others = zip(row, widths, strict=True)
            written.append("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]))
        return [*written, *map(str, self.targets)]

    def to_json(self) -> dict[str, Any]:
        targets = [{**asdict(one), "verdict": one.verdict} for one in self.targets]
        return {**asdict(self), "targets": targets}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        figures = tuple(Figure(**{**one, "values": tuple(one["values"])}) for one in document["figures"])
        targets = tuple(
            Target(**{key: value for key, value in one.items() if key != "verdict"}) for one in document["targets"]
        )
        return cls(document["name"], document["title"], document["runs"], figures, targets)


def shown(value: float, unit: str) -> str:
    """Write a value, with as many digits as mean something."""
    scaled = value * SCALES[unit]
    digits = 0 if unit == "calls" or abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
    return f"{scaled:.{digits}f} {unit}"


def table(figures: Sequence[Figure]) -> list[list[str]]:
    """Arrange figures: the head, then a row for each way and N; a column for each quantity."""
    quantities = list(dict.fromkeys(one.quantity for one in figures))
    places = list(dict.fromkeys((one.way, one.n) for one in figures))
    numbered = any(n is not None for _, n in places)
    cells = {(one.way, one.n, one.quantity): str(one) for one in figures}
    head = ["way", *(["N"] if numbered else []), *quantities]
    rows = [
        [way, *([str(n)] if numbered else []), *(cells.get((way, n, quantity), "") for quantity in quantities)]
        for way, n in places
    ]
    return [head, *rows]


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


def figures_of(seconds: Mapping[str, Sequence[float]], quantity: str, unit: str) -> list[Figure]:
    """The medians, the fastest runs, and the ratios to the first way's median."""
    found: list[Figure] = []
    for row, values in zip(rows(seconds), seconds.values(), strict=True):
        found.append(Figure(row.name, quantity, unit, tuple(values)))
        found.append(Figure(row.name, "fastest", unit, (row.fastest,)))
        found.append(Figure(row.name, "ratio", "x", (row.ratio,)))
    return found


def parser(description: str | None, runs: int) -> argparse.ArgumentParser:
    """Give the command line that every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--runs", type=int, default=runs, help=f"runs of each way (default {runs})")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    made.add_argument("--strict", action="store_true", help="end with status 1 on MISS")
    return made


def machine() -> dict[str, object]:
    """Describe what the figures were taken on."""
    described: dict[str, object] = {
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "load_before": round(LOAD_BEFORE, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "openssh": _openssh(),
    }
    for package in ("boto3", "paramiko", "cryptography", "moto"):
        try:
            described[package] = version(package)
        except PackageNotFoundError:
            described[package] = None
    return described


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _openssh() -> str:
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False)
    return said.stderr.partition(",")[0].strip()
