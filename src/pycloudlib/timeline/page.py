"""Boots as a self-contained HTML page, or as a fragment of one: pictures with their tables."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment

from pycloudlib.timeline import drawing
from pycloudlib.timeline.model import STAGES, BootRecord
from pycloudlib.timeline.summary import difference, has_spread, runs_by_label, spread_of

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #57606a; --line: #d0d7de; --paper: #ffffff; --box: #f6f8fa;
 --good: #1a7f37; --bad: #b42318; --rest: #6e4f00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9da7b3; --line: #3d444d; --paper: #0d1117;
 --box: #161b22; --good: #56d364; --bad: #ff9b8f; --rest: #e3b341; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
 padding: 1.5rem; max-width: 62rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; } p.dim, .dim { color: var(--dim); }
table { border-collapse: collapse; font-size: .87rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; } summary { cursor: pointer; color: var(--dim); margin: .4rem 0; }
svg { width: 100%; height: auto; display: block; } .scroll { overflow-x: auto; }
pre { background: var(--box); padding: .7rem; overflow-x: auto; font-size: .8rem;
 white-space: pre-wrap; margin: .3rem 0; }
"""

FRAGMENT = """
<div class="scroll">{{ overview }}</div>
<details><summary>The numbers</summary><div class="scroll"><table>
<thead><tr><th>image</th><th>instance</th>
{% for stage in stages %}<th class="number">{{ stage.replace("_", " ") }}</th>{% endfor %}
<th class="number">vs. first</th></tr></thead>
<tbody>{% for record in records %}<tr><td>{{ record.label }}</td><td>{{ record.instance_id }}</td>
{% for stage in stages %}<td class="number">{{ seconds(record.reached.get(stage)) }}</td>{% endfor %}
<td class="number">{{ "" if loop.first else difference(record.total, records[0].total) }}</td></tr>{% endfor %}</tbody>
</table></div><p class="dim">Seconds since the launch; for a running instance, since the start of its kernel.</p>
</details>
{% if spread %}<h3>Over several boots</h3>
<div class="scroll">{{ spread }}</div>
<details><summary>The numbers</summary><div class="scroll"><table>
<thead><tr><th>image</th><th class="number">boots</th><th class="number">fastest</th><th class="number">median</th>
<th class="number">slowest</th></tr></thead>
<tbody>{% for row in spreads %}<tr><td>{{ row.label }}</td><td class="number">{{ row.count }}</td>
<td class="number">{{ seconds(row.found.low) }}</td><td class="number">{{ seconds(row.found.median) }}</td>
<td class="number">{{ seconds(row.found.high) }}</td></tr>{% endfor %}</tbody></table></div></details>{% endif %}
{% for detail in details %}<details{{ " open" if details|length <= 2 }}>
<summary><strong>Inside {{ detail.record.instance_id }}</strong> {{ detail.record.label }}</summary>
<div class="scroll">{{ detail.picture }}</div>
<p class="dim">Orange: cloud-init's stages. Blue: the slowest units of systemd.</p>
<details><summary>The numbers</summary><div class="scroll"><table>
<thead><tr><th>name</th><th>kind</th><th class="number">from</th><th class="number">duration</th></tr></thead>
<tbody>{% for span in detail.record.spans %}<tr><td>{{ span.name }}</td><td>{{ span.kind }}</td>
<td class="number">{{ seconds(span.start) }}</td><td class="number">{{ "%.2f s"|format(span.seconds) }}</td></tr>
{% endfor %}</tbody></table></div></details></details>{% endfor %}
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Boot timelines</title><style>{{ style }}</style></head>
<body><h1>Boot timelines</h1>
<p class="dim">{{ records|length }} boot{{ "s" if records|length != 1 }} of {{ labels|join(", ") }}</p>
{{ fragment }}
</body></html>
"""


def environment() -> Environment:
    """Return a jinja2 environment that escapes all values."""
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)


def fragment(records: Sequence[BootRecord]) -> str:
    """Return the HTML fragment for some boots.

    Args:
        records: the boots, the reference of the comparison first.
    """
    from markupsafe import Markup  # noqa: PLC0415  (comes with jinja2)

    groups = runs_by_label(records)
    spreads = [
        {"label": label, "count": len(runs), "found": spread_of([run.total for run in runs])}
        for label, runs in groups.items()
    ]
    return (
        environment()
        .from_string(FRAGMENT)
        .render(
            records=records,
            stages=list(STAGES),
            seconds=lambda value: "" if value is None else f"{value:.1f} s",
            difference=difference,
            overview=Markup(drawing.overview(records)),  # noqa: S704  (drawing escapes what it shows)
            spread=Markup(drawing.spread(records)) if has_spread(records) else "",  # noqa: S704
            spreads=spreads,
            details=[
                {"record": record, "picture": Markup(drawing.detail(record))}  # noqa: S704
                for record in records
                if record.spans
            ],
        )
    )


def page(records: Sequence[BootRecord]) -> str:
    """Return an HTML page that compares boots.

    Args:
        records: the boots, the reference of the comparison first.
    """
    from markupsafe import Markup  # noqa: PLC0415

    return (
        environment()
        .from_string(PAGE)
        .render(
            style=Markup(STYLE),  # noqa: S704
            records=records,
            labels=list(runs_by_label(records)),
            fragment=Markup(fragment(records)),  # noqa: S704
        )
    )
