"""How long clean() takes beyond the cloud's own time.

python benchmarks/clean.py [--runs N] [--json FILE] [--strict]
"""

from __future__ import annotations

import sys

from cloud import TERMINATE, simulated_cloud
from peers import BOTO3, PYCLOUDLIB, Worker, progress
from report import OURS, Figure, Report, Target, parser

COUNTS = {OURS: (10, 100), BOTO3: (10, 100), PYCLOUDLIB: (10,)}
"""pycloudlib deletes one instance after the other, 15 s each: a hundred of them take 25 minutes."""

ONCE = (PYCLOUDLIB,)
"""What takes so long is measured once."""

BEYOND = "beyond the cloud's own time"
SECONDS = {10: 2.0, 100: 6.0}


def measure(runs: int) -> list[Figure]:
    found: dict[tuple[str, str, str, int], list[float]] = {}
    for number in range(runs):
        for way, counts in COUNTS.items():
            for count in counts if number == 0 or way not in ONCE else ():
                with simulated_cloud(boot=0.0) as cloud, Worker(way, cloud.directory / "log") as worker:
                    answer = worker("clean", cloud=cloud.facts, count=count)
                progress("clean", way, count, f"{answer['seconds']:.2f} s, {answer['calls']} calls")
                values = {
                    ("clean", "s"): answer["seconds"],
                    (BEYOND, "s"): answer["seconds"] - TERMINATE,
                    ("calls", "calls"): answer["calls"],
                }
                for (quantity, unit), value in values.items():
                    found.setdefault((way, quantity, unit, count), []).append(value)
    return [Figure(way, quantity, unit, tuple(each), n) for (way, quantity, unit, n), each in found.items()]


def main() -> int:
    arguments = parser(__doc__, runs=3).parse_args()
    figures = measure(arguments.runs)
    of = {one.n: one.median for one in figures if one.way == OURS and one.quantity == BEYOND}
    targets = tuple(Target(f"clean of {n} {BEYOND}", of[n], limit, "s") for n, limit in SECONDS.items())
    return Report("clean", "clean: delete all instances", arguments.runs, tuple(figures), targets).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
