"""Run all benchmarks, and write their figures into the documentation: the tables and the picture.

python benchmarks/all.py [--quick] [--only NAME ...] [--without NAME ...] [--no-docs] [--json FILE] [--strict]

What is not run keeps the figures that the JSON file has of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import documents
from peers import DRAWING, environment, progress

HERE = Path(__file__).resolve().parent
QUICK_RUNS = {
    "imports": 3,
    "execute": 100,
    "fleet_execute": 1,
    "transfer": 3,
    "launch": 1,
    "clean": 1,
    "snapshot": 1,
    "describe": 1,
    "pull": 1,
    "vpc_network": 1,
    "guest_network": 1,
    "local_boot": 1,
}
"""Every benchmark, in the order in which they run, with the runs that are enough for a first look."""

DEFAULT_JSON = HERE.parent / "build" / "benchmarks.json"


def run(name: str, arguments: argparse.Namespace) -> tuple[dict[str, Any] | None, bool]:
    """Run one: what it found, and whether it went well."""
    progress(name)
    with tempfile.TemporaryDirectory() as directory:
        written = Path(directory) / "report.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(written)]
        command += ["--runs", str(QUICK_RUNS[name])] if arguments.quick else []
        command += ["--strict"] if arguments.strict else []
        status = subprocess.run(command, check=False).returncode
        if not written.exists():
            return None, False
        found: dict[str, Any] = json.loads(written.read_text())
        return {**found, "name": name, "date": f"{date.today():%d %B %Y}"}, status == 0


def names(arguments: argparse.Namespace) -> list[str]:
    wanted = arguments.only or list(QUICK_RUNS)
    return [name for name in QUICK_RUNS if name in wanted and name not in arguments.without]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="few runs of each: twenty minutes in all")
    options.add_argument("--only", nargs="+", choices=QUICK_RUNS, metavar="NAME", help="run these only")
    options.add_argument("--without", nargs="+", choices=QUICK_RUNS, metavar="NAME", default=[], help="leave these out")
    options.add_argument("--no-docs", action="store_true", help="leave the documentation as it is")
    options.add_argument("--json", type=Path, default=DEFAULT_JSON, metavar="FILE", help="default %(default)s")
    options.add_argument("--strict", action="store_true", help="end with status 1 on MISS")
    arguments = options.parse_args()

    known = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
    reports = {one["name"]: one for one in known}
    well = True
    for name in names(arguments):
        found, went_well = run(name, arguments)
        well = well and went_well
        if found:
            reports[name] = found
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(list(reports.values()), indent=2) + "\n")
    if not arguments.no_docs and reports:
        documents.write(arguments.json, documents.PAGE)
        draw = [str(environment(DRAWING)), str(HERE / "picture.py"), str(arguments.json), str(documents.PICTURE)]
        subprocess.run(draw, check=True)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
