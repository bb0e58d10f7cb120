"""What the benchmarks write into the documentation, from figures that were recorded. Nothing is measured here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PAGE = """# Benchmarks

<!-- written by benchmarks/all.py: begin -->
what was here before
<!-- written by benchmarks/all.py: end -->

The end.
"""


def figure(way: str, quantity: str, unit: str, *values: float, n: int | None = None) -> dict[str, Any]:
    return {"way": way, "quantity": quantity, "unit": unit, "values": list(values), "n": n}


def target(what: str, reached: float, limit: float, unit: str, why_missed: str = "") -> dict[str, Any]:
    verdict = "PASS" if reached <= limit else "MISS"
    return {
        "what": what,
        "reached": reached,
        "limit": limit,
        "unit": unit,
        "why_missed": why_missed,
        "verdict": verdict,
    }


PROGRAMS = sorted(
    path.stem for path in BENCHMARKS.glob("*.py") if f"python benchmarks/{path.name} [--" in path.read_text()
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_starts(program: str) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{program}.py"), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"python benchmarks/{program}.py" in shown


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    machine = {
        "processor": "a processor",
        "cpus": 2,
        "load_before": 0.3,
        "system": "Linux",
        "python": "3.11.2",
        "openssh": "OpenSSH_9.2p1",
        "boto3": "1.44.8",
        "paramiko": "5.1.0",
        "cryptography": "50.0.2",
        "moto": None,
    }
    launch = {
        "name": "launch",
        "title": "launch to ready",
        "runs": 3,
        "date": "27 November 2026",
        "figures": [
            figure("pycloudlib-ec2", "beyond the cloud's own time", "s", 0.5, 0.4, 0.9, n=1),
            figure("pycloudlib-ec2", "calls", "calls", 20, 21, 22, n=1),
            figure("peer", "beyond the cloud's own time", "s", 7.5, n=1),
        ],
        "targets": [target("launch of 1", 0.5, 1.0, "s"), target("launch of 1000", 21.5, 15.0, "s", "the sun shone")],
        "machine": machine,
    }
    execute = {
        "name": "execute",
        "title": "a command",
        "runs": 100,
        "date": "26 November 2026",
        "figures": [figure("pycloudlib-ec2", "median", "ms", 0.0022)],
        "targets": [target("a command", 1.02, 1.15, "x"), target("another", 2.0, 1.15, "x")],
        "machine": machine,
    }
    path = tmp_path / "figures.json"
    path.write_text(json.dumps([launch, execute]))
    return path


def write(figures: Path, page: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "documents.py"), str(figures), str(page)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_figures_take_the_place_of_the_earlier_ones(recorded: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert write(recorded, page).stderr == ""
    text = page.read_text()
    assert "what was here before" not in text
    assert text.startswith("# Benchmarks\n\n<!-- written")
    assert text.endswith("end -->\n\nThe end.\n")
    assert "| way | N | beyond the cloud's own time | calls |" in text
    assert "| pycloudlib-ec2 | 1 | 0.50 s | 21 calls |" in text
    assert "| peer | 1 | 7.50 s |  |" in text
    assert "Medians of 3, 27 November 2026, on a machine with a load average of 0.3 before: launch to ready." in text
    assert "| pycloudlib-ec2 | 2.20 ms |" in text
    assert "2 cores (a processor), Linux" in text
    assert write(recorded, page).returncode == 0
    assert page.read_text() == text


def test_missed_target_reports_the_reason(recorded: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    write(recorded, page)
    lines = page.read_text().splitlines()
    assert "| launch of 1 | 0.50 s | 1.00 s | reached |" in lines
    assert "| launch of 1000 | 21.5 s | 15.0 s | missed: the sun shone |" in lines
    assert "| another | 2.00 x | 1.15 x | missed |" in lines


def test_a_page_without_the_marks_is_refused(recorded: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Benchmarks\n")
    refused = write(recorded, page)
    assert refused.returncode == 1
    assert f"{page} has no place for the figures" in refused.stderr
    assert page.read_text() == "# Benchmarks\n"


def test_the_documentation_has_a_place_for_the_figures(recorded: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text((BENCHMARKS.parent / "docs" / "benchmarks.md").read_text())
    assert write(recorded, page).returncode == 0
