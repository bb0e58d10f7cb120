"""How long it takes to connect to many hosts and run a command in all of them.

python benchmarks/fleet_execute.py [--runs N] [--hosts N] [--json FILE] [--strict]
"""

from __future__ import annotations

import sys

from cloud import simulated_cloud
from peers import ASYNCSSH, FABRIC, PARALLEL_SSH, PYCLOUDLIB, Worker, progress
from report import OURS, Report, Target, figures_of, parser

COMMAND = "echo hi"
WAYS = (ASYNCSSH, OURS, PARALLEL_SSH, FABRIC, PYCLOUDLIB)
LIMIT = 1.0


def measure(runs: int, hosts: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(runs):
        # In a new cloud each time, for the library's instances remember that they are connected.
        with simulated_cloud(boot=0.0, with_cloud_init=False) as cloud, Worker(OURS, cloud.directory / "log") as ours:
            fleet = ours("prepare_fleet", cloud=cloud.facts, count=hosts)
            login = {
                "hosts": fleet["hosts"],
                "port": cloud.facts["ssh_port"],
                "username": cloud.facts["username"],
                "private_key": cloud.facts["private_key"],
            }
            for way in WAYS:
                if way == OURS:
                    answer = ours("fleet_execute", command=COMMAND)
                else:
                    with Worker(way, cloud.directory / "log") as peer:
                        if way == PYCLOUDLIB:
                            peer("prepare_fleet", cloud=cloud.facts, ids=fleet["ids"])
                        answer = peer("fleet_execute", command=COMMAND, **login)
                assert answer["answers"] == hosts
                times[way].append(answer["seconds"])
                progress("fleet_execute", way, f"{answer['seconds']:.2f} s")
    return times


def main() -> int:
    options = parser(__doc__, runs=3)
    options.add_argument("--hosts", type=int, default=200, help="how many (default 200)")
    arguments = options.parse_args()
    figures = figures_of(measure(arguments.runs, arguments.hosts), "median", "s")
    median = {one.way: one.median for one in figures if one.quantity == "median"}
    targets = (
        Target(f"Fleet.execute against {ASYNCSSH}", median[OURS] / median[ASYNCSSH], LIMIT, "x"),
        Target(f"Fleet.execute against {FABRIC}", median[OURS] / median[FABRIC], 1.0, "x"),
        Target(f"Fleet.execute against {PYCLOUDLIB}", median[OURS] / median[PYCLOUDLIB], 1.0, "x"),
    )
    title = f"{COMMAND!r} on {arguments.hosts} hosts, connections included"
    return Report("fleet_execute", title, arguments.runs, tuple(figures), targets).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
