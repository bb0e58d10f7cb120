"""Write the figures of a JSON file of all.py into the documentation, between two marks.

python benchmarks/documents.py FILE [PAGE]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import Report, shown, table

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "benchmarks.md"
PICTURE = DOCS / "benchmarks.svg"

BEGIN = "<!-- written by benchmarks/all.py: begin -->"
END = "<!-- written by benchmarks/all.py: end -->"


def write(figures: Path, page: Path) -> None:
    """Put what the figures say into the page, in the place of what is between the marks."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for the figures: a line {BEGIN!r}, and after it a line {END!r}")
    reports = json.loads(figures.read_text())
    page.write_text(f"{before}{BEGIN}\n\n{markdown(reports)}\n\n{END}{after}")


def markdown(documents: Sequence[dict[str, Any]]) -> str:
    """The targets in one table, then a table for each benchmark."""
    reports = [Report.from_json(one) for one in documents]
    parts = ["### Targets", _targets(reports)]
    for report, document in zip(reports, documents, strict=True):
        parts += [f"### {report.name}", f"Medians of {report.runs}, {_when(document)}: {report.title}."]
        parts.append(_markdown_table(table(report.figures)))
    parts += ["### The machine", _machine(documents[-1]["machine"])]
    return "\n\n".join(parts)


def _when(document: dict[str, Any]) -> str:
    load = document["machine"].get("load_before")
    return document["date"] + (f", on a machine with a load average of {load} before" if load is not None else "")


def _targets(reports: Sequence[Report]) -> str:
    rows = [["what", "reached", "at most", ""]]
    for report in reports:
        for one in report.targets:
            why = f"missed: {one.why_missed}" if one.why_missed else "missed"
            verdict = "reached" if one.verdict == "PASS" else why
            rows.append([one.what, shown(one.reached, one.unit), shown(one.limit, one.unit), verdict])
    return _markdown_table(rows, last_is_text=True)


def _markdown_table(rows: Sequence[Sequence[str]], *, last_is_text: bool = False) -> str:
    head, *others = rows
    ruler = ["---", *("--:" for _ in head[1:])]
    if last_is_text:
        ruler[-1] = "---"
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ruler, *others))


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "paramiko", "boto3", "moto"))
    return f"{machine['cpus']} cores ({machine['processor']}), {machine['system']}, {machine['openssh']}, {versions}."


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else PAGE)
