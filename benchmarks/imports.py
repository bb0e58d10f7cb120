"""How long `import pycloudlib` and `pycloudlib --help` take, and how much memory, over a bare interpreter.

python benchmarks/imports.py [--runs N] [--json FILE] [--strict]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from peers import PYCLOUDLIB, python_of
from report import OURS, Figure, Report, Target, parser

WAYS = (OURS, PYCLOUDLIB)
STATEMENT = "import pycloudlib"
MEMORY = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
"""In KiB. What getrusage() says includes the memory of the process that started this one."""

KIB = 1024
IMPORT_SECONDS = 0.05
IMPORT_BYTES = 20_000_000
HELP_SECONDS = 0.2


def run(command: list[str]) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - began, done.stdout


def over_bare(python: Path, statement: str) -> tuple[float, float]:
    """The seconds and the bytes of a statement beyond those of an interpreter that runs nothing."""
    bare, _ = run([str(python), "-c", "pass"])
    seconds, _ = run([str(python), "-c", statement])
    _, empty = run([str(python), "-c", MEMORY])
    _, full = run([str(python), "-c", f"{statement}; {MEMORY}"])
    return seconds - bare, float(KIB * (int(full) - int(empty)))


def measure(runs: int) -> list[Figure]:
    pythons = {way: python_of(way) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    memory: dict[str, list[float]] = {way: [] for way in WAYS}
    answering: list[float] = []
    help_command = [str(Path(sys.executable).with_name("pycloudlib")), "--help"]
    for number in range(1 + runs):
        for way in WAYS:
            taken, grown = over_bare(pythons[way], STATEMENT)
            if number > 0:
                seconds[way].append(taken)
                memory[way].append(grown)
        taken, _ = run(help_command)
        if number > 0:
            answering.append(taken)
    return [
        *(Figure(way, "import, over a bare interpreter", "s", tuple(seconds[way])) for way in WAYS),
        *(Figure(way, "memory, over a bare interpreter", "MB", tuple(memory[way])) for way in WAYS),
        Figure(OURS, "pycloudlib --help, in all", "s", tuple(answering)),
    ]


def main() -> int:
    arguments = parser(__doc__, runs=10).parse_args()
    figures = measure(arguments.runs)
    of = {one.quantity: one.median for one in figures if one.way == OURS}
    targets = (
        Target("import over a bare interpreter", of["import, over a bare interpreter"], IMPORT_SECONDS, "s"),
        Target("memory of the import", of["memory, over a bare interpreter"], IMPORT_BYTES, "MB"),
        Target("pycloudlib --help", of["pycloudlib --help, in all"], HELP_SECONDS, "s"),
    )
    return Report("imports", "import pycloudlib", arguments.runs, tuple(figures), targets).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
