"""How fast a file goes to a host and comes back, and how fast a command's output comes; and how much memory it takes.

python benchmarks/transfer.py [--runs N] [--size MIB] [--large MIB] [--json FILE] [--strict]
"""

from __future__ import annotations

import filecmp
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cloud import connect, one_host
from peers import FABRIC, PARAMIKO, PYCLOUDLIB, Worker, progress
from report import OURS, Figure, Report, Target, parser

WAYS = (OURS, PARAMIKO, FABRIC, PYCLOUDLIB)
LEFT_OUT = {(FABRIC, "stdout")}
"""It looks through all that has come whenever 1000 bytes more come: 64 MiB had not come after five minutes."""

MIB = 1024 * 1024

PULL_TIME = 1 / 1.1
"""The most that a pull may take of the fastest other way's time."""
STEADY = 1.5
"""The most that the slowest pull may take of the median one's time."""

ROOM_TO_GROW = 16 * MIB
"""What the buffers of a connection may take; a transfer that held the file would take all of it."""


def random_file(path: Path, mib: int) -> Path:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    return path


def actions(source: Path, directory: Path) -> dict[str, Callable[[Worker], dict[str, Any]]]:
    """What is done. On standard output comes text, since some of the ways decode it, and strip it at its end."""
    text = directory / "text"
    text.write_bytes((b"\n" + b"x" * 63) * (source.stat().st_size // 64))
    pushed, pulled = directory / "pushed", directory / "pulled"
    return {
        "push": lambda worker: worker("push", local=str(source), remote=str(pushed)),
        "pull": lambda worker: worker("pull", remote=str(source), local=str(pulled)),
        "stdout": lambda worker: worker("stdout", remote=str(text)),
    }


def measure(runs: int, mib: int) -> list[Figure]:
    times: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as undo:
        cloud, instance_id = undo.enter_context(one_host())
        workers = [undo.enter_context(Worker(way, cloud.directory / "log")) for way in WAYS]
        for worker in workers:
            connect(worker, cloud, instance_id)
        source = random_file(cloud.directory / "source", mib)
        timed_actions = actions(source, cloud.directory)
        for number in range(1 + runs):
            for name, action in timed_actions.items():
                # Who comes first is not always the same.
                for worker in workers[number % len(workers) :] + workers[: number % len(workers)]:
                    if (worker.way, name) in LEFT_OUT:
                        continue
                    seconds = action(worker)["seconds"]
                    if number > 0:
                        times.setdefault((worker.way, name), []).append(mib * MIB / seconds)
        for name in ("pushed", "pulled"):
            assert filecmp.cmp(source, cloud.directory / name, shallow=False)
    return [Figure(way, name, "MB/s", tuple(speeds)) for (way, name), speeds in times.items()]


def growth(mib: int) -> list[Figure]:
    """How much more memory a way has in use after a large file than before it."""
    found = []
    with ExitStack() as undo:
        cloud, instance_id = undo.enter_context(one_host())
        source = random_file(cloud.directory / "source", mib)
        small = random_file(cloud.directory / "small", 64)
        for way in WAYS:
            worker = undo.enter_context(Worker(way, cloud.directory / "log"))
            connect(worker, cloud, instance_id)
            for direction in ("push", "pull"):
                # The small one first: buffers and modules are there then, and what still grows does so with the size.
                for path in (small, source):
                    copy, original = str(cloud.directory / "copy"), str(path)
                    paths = (
                        {"local": original, "remote": copy}
                        if direction == "push"
                        else {"remote": original, "local": copy}
                    )
                    answer = worker(direction, **paths)
                progress("transfer", way, direction, f"{mib} MiB", f"{answer['seconds']:.1f} s")
                found.append(Figure(way, f"memory grown by a {direction} of {mib} MiB", "MB", (answer["grown"],)))
    return found


def targets(figures: list[Figure]) -> list[Target]:
    found = []
    for name in dict.fromkeys(one.quantity for one in figures):
        of = {one.way: one.median for one in figures if one.quantity == name}
        if name.startswith("memory"):
            found.append(Target(name, of[OURS], ROOM_TO_GROW, "MB"))
            continue
        fastest = max((way for way in of if way != OURS), key=lambda way: of[way])
        reach = PULL_TIME if name == "pull" else 1.0
        found.append(Target(f"time of {name}, against {fastest}", of[fastest] / of[OURS], reach, "x"))
    (pulls,) = (one for one in figures if one.way == OURS and one.quantity == "pull")
    found.append(Target("the slowest pull against the median one", pulls.median / min(pulls.values), STEADY, "x"))
    return found


def main() -> int:
    options = parser(__doc__, runs=7)
    options.add_argument("--size", type=int, default=64, metavar="MIB", help="of the files that are timed (default 64)")
    options.add_argument("--large", type=int, default=1024, metavar="MIB", help="of the large file (default 1024)")
    arguments = options.parse_args()
    figures = measure(arguments.runs, arguments.size) + growth(arguments.large)
    title = f"{arguments.size} MiB to a host, from it, and on standard output"
    return Report("transfer", title, arguments.runs, tuple(figures), tuple(targets(figures))).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
