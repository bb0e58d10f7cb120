"""Pictures of boots as self-contained SVG: light and dark, with a title and a description, and without scripts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import count

from pycloudlib.timeline.model import STAGES, BootRecord, Span
from pycloudlib.timeline.summary import difference, runs_by_label, spread_of

WIDTH = 960
LEFT = 232
"""The left end of the bars, after their names."""
RIGHT = 806
"""The right limit of the bars, before their totals."""
ROW = 34
BAR = 20
AXIS = 22
MOST_UNITS = 14
NARROWEST = 26
"""The width below which a bar has no number."""
LONGEST_NAME = 30

STYLE = """
.boots { font: 12px system-ui, sans-serif; color-scheme: light dark; --ink: #1b1f24; --dim: #57606a; --line: #d0d7de;
 --paper: #ffffff; --running: #8c959f; --kernel: #b07d2b; --userspace: #0072b2; --reachable: #009e73;
 --logged_in: #cc79a7; --ready: #d55e00; --unit: #56b4e9; --good: #1a7f37; --bad: #b42318; }
@media (prefers-color-scheme: dark) { .boots { --ink: #e6edf3; --dim: #9da7b3; --line: #3d444d; --paper: #0d1117;
 --running: #8b949e; --kernel: #d9a441; --userspace: #4ea3e0; --reachable: #2fc394; --logged_in: #e39fc6;
 --ready: #f08a3c; --unit: #7cc4f2; --good: #56d364; --bad: #ff9b8f; } }
.boots text { fill: var(--ink); } .boots .dim { fill: var(--dim); font-size: 11px; }
.boots .inside { fill: var(--paper); font-size: 11px; font-weight: 600; } .boots .total { font-weight: 600; }
.boots .worse { fill: var(--bad); } .boots .better { fill: var(--good); }
.boots .grid { stroke: var(--line); } .boots .edge { stroke: var(--paper); stroke-width: 1.5; }
.boots .mark { stroke: var(--dim); stroke-dasharray: 3 3; } .boots .range { stroke: var(--dim); stroke-width: 2; }
.boots .dot { fill: var(--userspace); stroke: var(--paper); } .boots .median { stroke: var(--ready); stroke-width: 4; }
"""

_ids = count(1)


def overview(records: Sequence[BootRecord]) -> str:
    """Draw one bar per boot, made of its stages, with the difference to the first boot.

    Args:
        records: the boots, from top to bottom.
    """
    scale = _Scale(max((record.total for record in records), default=0.0))
    top = AXIS + 2 * 18
    body = [*_legend(), *scale.grid(top, len(records) * ROW)]
    for number, record in enumerate(records):
        body += _bar(record, records[0], top + number * ROW, scale)
    sums = "; ".join(f"{record.label}, {record.instance_id}: {record.total:.1f} s" for record in records)
    return _svg("Boot time by stage", sums, body, top + len(records) * ROW + AXIS)


def spread(records: Sequence[BootRecord]) -> str:
    """Draw the spread of each image's boots: a dot per boot, a line for the range, and a thick mark at the median.

    Args:
        records: the boots, in any order.
    """
    groups = runs_by_label(records)
    scale = _Scale(max((record.total for record in records), default=0.0))
    body = list(scale.grid(AXIS, len(groups) * ROW))
    labels: list[str] = []
    first = next(iter(groups.values()))
    for number, (label, runs) in enumerate(groups.items()):
        found = spread_of([run.total for run in runs])
        y = AXIS + number * ROW + ROW / 2
        body.append(_text(8, y - 1, _shortened(label)))
        body.append(_text(8, y + 12, f"{len(runs)} boot{'s' if len(runs) > 1 else ''}", "dim"))
        body.append(f'<line class="range" x1="{scale(found.low):.1f}" x2="{scale(found.high):.1f}" y1="{y}" y2="{y}"/>')
        x = scale(found.median)
        for run in runs:
            tip = f"{run.instance_id}: {run.total:.1f} s"
            body.append(
                f'<circle class="dot" cx="{scale(run.total):.1f}" cy="{y}" r="5"><title>{escape(tip)}</title></circle>'
            )
        body.append(f'<line class="median" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 10}" y2="{y + 10}"/>')
        body += _totals(found.median, spread_of([run.total for run in first]).median, y, first is runs)
        labels.append(f"{label}: median {found.median:.1f} s, {found.low:.1f} to {found.high:.1f} s")
    return _svg("Spread of boot times", "; ".join(labels), body, AXIS + len(groups) * ROW + AXIS)


def detail(record: BootRecord) -> str:
    """Draw the inside of a boot: cloud-init's stages, and the slowest units.

    Args:
        record: the boot.
    """
    spans = shown_spans(record)
    scale = _Scale(max([record.total, *(span.start + span.seconds for span in spans)]))
    row, top = 22, AXIS + 18
    body = list(scale.grid(top, len(spans) * row))
    for stage, seconds in record.reached.items():
        x = scale(seconds)
        body.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{top + len(spans) * row}">'
            f"<title>{escape(stage.replace('_', ' '))}: {seconds:.1f} s</title></line>"
        )
    body += _milestones(record, scale, top)
    for number, span in enumerate(spans):
        y = top + number * row
        x, wide = scale(span.start), max(2.0, scale(span.start + span.seconds) - scale(span.start))
        colour = "ready" if span.kind == "cloud-init" else "unit"
        tip = f"{span.name}: {span.seconds:.2f} s, from {span.start:.1f} s on"
        body.append(_text(8, y + 15, _shortened(span.name)))
        body.append(
            f'<rect x="{x:.1f}" y="{y + 4}" width="{wide:.1f}" height="14" rx="2" style="fill:var(--{colour})">'
            f"<title>{escape(tip)}</title></rect>"
        )
        body.append(_text(x + wide + 5, y + 15, f"{span.seconds:.2f} s", "dim"))
    description = "; ".join(f"{span.name}: {span.seconds:.2f} s from {span.start:.1f} s on" for span in spans)
    return _svg(f"Inside {record.instance_id} ({record.label})", description, body, top + len(spans) * row + AXIS)


def shown_spans(record: BootRecord) -> list[Span]:
    """Return cloud-init's stages and the slowest units, sorted by their start."""
    units = sorted((span for span in record.spans if span.kind == "unit"), key=lambda span: -span.seconds)
    stages = [span for span in record.spans if span.kind != "unit"]
    return sorted([*stages, *units[:MOST_UNITS]], key=lambda span: span.start)


class _Scale:
    """The horizontal scale of a picture, in seconds."""

    def __init__(self, longest: float) -> None:
        self._step = _round_step(max(longest, 1e-3) / 8)
        self._longest = max(longest, self._step)

    def __call__(self, seconds: float) -> float:
        return LEFT + (RIGHT - LEFT) * seconds / self._longest

    def grid(self, top: float, height: float) -> Iterator[str]:
        """Yield lines at round numbers of seconds, with labels below."""
        for number in range(int(self._longest / self._step + 1e-9) + 1):
            seconds = number * self._step
            x = self(seconds)
            yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + height}"/>'
            yield _text(x, top + height + 15, f"{seconds:g} s", "dim", anchor="middle")


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least)


def _legend() -> Iterator[str]:
    third = (WIDTH - 16) / 3
    for number, (stage, meaning) in enumerate(STAGES.items()):
        x, y = 8 + third * (number % 3), 6 + 18 * (number // 3)
        yield f'<rect x="{x:.1f}" y="{y}" width="12" height="12" rx="2" style="fill:var(--{stage})"/>'
        yield _text(x + 18, y + 10, meaning)


def _bar(record: BootRecord, first: BootRecord, top: float, scale: _Scale) -> Iterator[str]:
    yield _text(8, top + 15, _shortened(record.label))
    yield _text(8, top + 28, record.instance_id, "dim")
    for phase in record.phases:
        x, wide = scale(phase.start), scale(phase.start + phase.seconds) - scale(phase.start)
        tip = f"{STAGES[phase.name]}: {phase.seconds:.1f} s"
        yield (
            f'<rect class="edge" x="{x:.1f}" y="{top + 7}" width="{wide:.1f}" height="{BAR}" '
            f'style="fill:var(--{phase.name})"><title>{escape(tip)}</title></rect>'
        )
        if wide >= NARROWEST:
            yield _text(x + wide / 2, top + 21, f"{phase.seconds:.0f}", "inside", anchor="middle")
    yield from _totals(record.total, first.total, top + ROW / 2, record is first)


def _totals(seconds: float, first: float, y: float, is_first: bool) -> Iterator[str]:
    yield _text(RIGHT + 10, y - 1 if not is_first else y + 4, f"{seconds:.1f} s", "total")
    if not is_first:
        yield _text(RIGHT + 10, y + 12, difference(seconds, first), "worse" if seconds > first else "better")


def _milestones(record: BootRecord, scale: _Scale, top: float) -> Iterator[str]:
    """Yield the names of the milestones that have enough room."""
    names = {"kernel": "kernel", "userspace": "systemd", "reachable": "sshd", "logged_in": "login", "ready": "ready"}
    right_end = -math.inf
    for stage, name in names.items():
        x = scale(record.reached.get(stage, -math.inf))
        if x < right_end + 48:
            continue
        yield _text(x, top - 10, name, "dim", anchor="middle")
        right_end = x


def _shortened(text: str) -> str:
    """Shorten a long text in the middle: dates at the end of a name are as informative as its start."""
    if len(text) <= LONGEST_NAME:
        return text
    half = LONGEST_NAME // 2
    return f"{text[: half - 1]}…{text[-half:]}"


def _text(x: float, y: float, text: str, kind: str = "", *, anchor: str = "") -> str:
    attributes = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'


def _svg(title: str, description: str, body: Sequence[str], height: float) -> str:
    number = next(_ids)
    return (
        f'<svg class="boots" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-labelledby="t{number} d{number}"><style>{STYLE}</style>'
        f'<title id="t{number}">{escape(title)}</title><desc id="d{number}">{escape(description)}</desc>'
        f'<rect width="100%" height="100%" style="fill:var(--paper)"/>{"".join(body)}</svg>'
    )
