"""How long a command takes over an open connection, against the others on the same sshd.

python benchmarks/execute.py [--runs N] [--json FILE] [--strict]
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from cloud import connect, one_host
from peers import ASYNCSSH, FABRIC, OPENSSH, PARAMIKO, PYCLOUDLIB, Worker
from report import OURS, Report, Target, figures_of, parser

COMMAND = "echo hi"
WAYS = (PARAMIKO, OURS, ASYNCSSH, FABRIC, OPENSSH, PYCLOUDLIB)
WARM_UP_RUNS = 5
LIMIT = 1.15


def measure(runs: int) -> dict[str, list[float]]:
    """The seconds of every run; each way takes its turn, so that a busy moment meets them all."""
    with ExitStack() as undo:
        cloud, instance_id = undo.enter_context(one_host())
        workers = [undo.enter_context(Worker(way, cloud.directory / "log")) for way in WAYS]
        for worker in workers:
            connect(worker, cloud, instance_id)
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(WARM_UP_RUNS + runs):
            for worker in workers:
                seconds = worker("execute", command=COMMAND)["seconds"]
                if number >= WARM_UP_RUNS:
                    times[worker.way].append(seconds)
        return times


def main() -> int:
    arguments = parser(__doc__, runs=300).parse_args()
    figures = figures_of(measure(arguments.runs), "median", "ms")
    median = {one.way: one.median for one in figures if one.quantity == "median"}
    targets = (
        Target(f"execute({COMMAND!r}) against {PARAMIKO}", median[OURS] / median[PARAMIKO], LIMIT, "x"),
        Target(f"execute({COMMAND!r}) against {OPENSSH}", median[OURS] / median[OPENSSH], 1.0, "x"),
    )
    title = f"execute({COMMAND!r}) over an open connection"
    return Report("execute", title, arguments.runs, tuple(figures), targets).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
