"""How long a snapshot takes beyond the cloud's own time: the stop, then the image beside the start.

python benchmarks/snapshot.py [--runs N] [--json FILE] [--strict]
"""

from __future__ import annotations

import sys

from cloud import BOOT, IMAGE, STOP, simulated_cloud
from peers import BOTO3, PYCLOUDLIB, Worker, progress
from report import OURS, Figure, Report, Target, parser

WAYS = (OURS, BOTO3, PYCLOUDLIB)
CLOUD_SECONDS = STOP + max(IMAGE, BOOT)
BEYOND = "beyond the cloud's own time"
LIMIT = 2.0


def measure(runs: int) -> list[Figure]:
    found: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(runs):
        for way in WAYS:
            with simulated_cloud() as cloud, Worker(way, cloud.directory / "log") as worker:
                answer = worker("snapshot", cloud=cloud.facts)
            progress("snapshot", way, f"{answer['seconds']:.2f} s, {answer['calls']} calls")
            values = {
                ("snapshot", "s"): answer["seconds"],
                (BEYOND, "s"): answer["seconds"] - CLOUD_SECONDS,
                ("calls", "calls"): answer["calls"],
            }
            for (quantity, unit), value in values.items():
                found.setdefault((way, quantity, unit), []).append(value)
    return [Figure(way, quantity, unit, tuple(each)) for (way, quantity, unit), each in found.items()]


def main() -> int:
    arguments = parser(__doc__, runs=3).parse_args()
    figures = measure(arguments.runs)
    (ours,) = (one.median for one in figures if one.way == OURS and one.quantity == BEYOND)
    targets = (Target(f"snapshot {BEYOND}", ours, LIMIT, "s"),)
    title = "snapshot: the instance is stopped, an image is made, it is ready again"
    return Report("snapshot", title, arguments.runs, tuple(figures), targets).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
