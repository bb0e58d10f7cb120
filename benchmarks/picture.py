"""Draw how the cost of a launch grows with the number of instances: time, calls and memory.

It runs where matplotlib is: all.py makes that environment.

python benchmarks/picture.py FILE PICTURE
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

mpl.use("svg")
mpl.rcParams.update(
    {"svg.hashsalt": "benchmarks", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
)

PANELS = (
    ("beyond the cloud's own time", "Time beyond the cloud's own", "seconds", 1.0, False),
    ("calls", "EC2 API calls", "calls", 1.0, False),
    ("memory each, waiting", "Memory while all are waited for", "MB", 1e-6, True),
)
"""The quantity, the title, the unit, its scale, and whether it is for each instance, and so to be multiplied."""

LOOKS = (("#0b6e4f", "o"), ("#c1666b", "s"), ("#4357ad", "^"))


def series(
    figures: list[dict[str, Any]], way: str, quantity: str, scale: float, *, each: bool
) -> list[tuple[int, float]]:
    found = [
        (one["n"], statistics.median(one["values"]) * scale * (one["n"] if each else 1))
        for one in figures
        if one["way"] == way and one["quantity"] == quantity
    ]
    return sorted(found)


def draw(report: dict[str, Any], path: Path) -> None:
    figures = report["figures"]
    ways = list(dict.fromkeys(one["way"] for one in figures))
    counts = sorted({one["n"] for one in figures})
    picture, panels = plt.subplots(1, len(PANELS), figsize=(11, 3.9))
    for axes, (quantity, title, unit, scale, each) in zip(panels, PANELS, strict=True):
        for way, (color, marker) in zip(ways, LOOKS, strict=False):
            points = series(figures, way, quantity, scale, each=each)
            axes.plot(*zip(*points, strict=True), color=color, marker=marker, linewidth=1.8, label=way)
        axes.set(xscale="log", yscale="log", title=title, xlabel="instances", ylabel=unit)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_locator(NullLocator())
        axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
    handles, labels = panels[0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="lower center", ncols=len(ways), frameon=False)
    picture.suptitle("Launching many instances until all are ready", fontsize=12, fontweight="bold")
    picture.tight_layout(rect=(0, 0.08, 1, 0.99))
    metadata = {"Date": None} if path.suffix == ".svg" else None
    picture.savefig(path, metadata=metadata, dpi=110, facecolor="white")


def main() -> int:
    reports = json.loads(Path(sys.argv[1]).read_text())
    launches = [one for one in reports if one["name"] == "launch"]
    if launches:
        draw(launches[0], Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
