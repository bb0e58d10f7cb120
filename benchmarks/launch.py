"""How long a launch takes beyond the cloud's own time, with how many calls and how much memory, against N.

python benchmarks/launch.py [--runs N] [--json FILE] [--strict]

The cloud's own time is what its clock takes, and what the server takes to answer RunInstances: it is a program on the
same machine, and takes some milliseconds for each instance. That is measured with a plain call, beside.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator

from cloud import BOOT, server_seconds, simulated_cloud
from peers import BOTO3, PYCLOUDLIB, Worker, progress
from report import OURS, Figure, Report, Target, parser

COUNTS = {OURS: (1, 10, 100, 1000), BOTO3: (1, 10, 100, 1000), PYCLOUDLIB: (1, 10, 100)}
"""pycloudlib has no call that launches many: each takes a thread, and a thousand of them more than this server."""

BEYOND = "beyond the cloud's own time"
SECONDS = {1: 0.15, 10: 0.4, 100: 3.0, 1000: 6.0}
CALLS = {1: 12, 100: 30, 1000: 100}
WAITING_BYTES = {1000: 50_000}
CONNECTED_BYTES = {1000: 60_000}
WHY_MISSED = {
    1000: "a thousand guests are processes here, which take more of the machine's cores than the client does",
}
WHY_LARGER = "a connection takes 65 KiB, and the answer to RunInstances 27 to 40 KB"


def cases() -> Iterator[tuple[str, int]]:
    for count in sorted({count for counts in COUNTS.values() for count in counts}):
        yield from ((way, count) for way, counts in COUNTS.items() if count in counts)


def measure(runs: int) -> list[Figure]:
    found: dict[tuple[str, str, str, int], list[float]] = {}
    for _ in range(runs):
        answering = {count: server_seconds(count) for count in SECONDS}
        for way, count in cases():
            # Where each instance is launched for itself, EC2 answers while others boot already.
            cloud_seconds = BOOT + (answering[1] if way == PYCLOUDLIB else answering[count])
            with simulated_cloud() as cloud, Worker(way, cloud.directory / "log") as worker:
                answer = worker("launch", cloud=cloud.facts, count=count, cloud_seconds=cloud_seconds)
            progress("launch", way, count, f"{answer['seconds']:.2f} s, {answer['calls']} calls")
            values = {
                ("launch to ready", "s"): answer["seconds"],
                ("of which RunInstances", "s"): cloud_seconds - BOOT,
                (BEYOND, "s"): answer["seconds"] - cloud_seconds,
                ("calls", "calls"): answer["calls"],
                ("processor time each", "ms"): answer["processor"] / count,
                ("memory each, waiting", "KB"): answer["waiting"] / count,
                ("memory each, connected", "KB"): answer["peak"] / count,
            }
            for (quantity, unit), value in values.items():
                found.setdefault((way, quantity, unit, count), []).append(value)
    return [Figure(way, quantity, unit, tuple(each), n) for (way, quantity, unit, n), each in found.items()]


def targets(figures: list[Figure]) -> list[Target]:
    of = {(one.quantity, one.n): statistics.median(one.values) for one in figures if one.way == OURS}
    found = [
        Target(f"launch of {n} {BEYOND}", of[BEYOND, n], limit, "s", WHY_MISSED.get(n, ""))
        for n, limit in SECONDS.items()
    ]
    found += [Target(f"calls to launch {n}", of["calls", n], limit, "calls") for n, limit in CALLS.items()]
    found += [
        Target(f"memory for each of {n} that are waited for", of["memory each, waiting", n], limit, "KB")
        for n, limit in WAITING_BYTES.items()
    ]
    found += [
        Target(f"memory for each of {n} that are connected", of["memory each, connected", n], limit, "KB", WHY_LARGER)
        for n, limit in CONNECTED_BYTES.items()
    ]
    return found


def main() -> int:
    arguments = parser(__doc__, runs=3).parse_args()
    figures = measure(arguments.runs)
    title = "launch to ready: running, logged in to, cloud-init done"
    return Report("launch", title, arguments.runs, tuple(figures), tuple(targets(figures))).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
