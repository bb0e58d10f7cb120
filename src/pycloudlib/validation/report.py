"""A validation as a self-contained HTML page: failures, all checks, the boot timeline, and the console."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from markupsafe import Markup

from pycloudlib.timeline.model import BootRecord
from pycloudlib.timeline.page import STYLE as BASE_STYLE
from pycloudlib.timeline.page import environment, fragment
from pycloudlib.validation.runner import Validation

STYLE = """
.passed { color: var(--good); } .failed { color: var(--bad); } .skipped { color: var(--rest); }
.verdict { font-size: 1.1rem; font-weight: 600; margin: .8rem 0; } .outcome { font-weight: 600; white-space: nowrap; }
section.failure { border-left: 4px solid var(--bad); background: var(--box); padding: .5rem 1rem; margin: .8rem 0; }
section.failure h3 { margin: 0; } section.failure pre { background: none; padding: .3rem 0; font-size: .87rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0; }
dt { color: var(--dim); }
dd { margin: 0; } td .dim { font-size: .82rem; }
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ verdict }}: {{ launch.image_name or launch.image_id }}</title><style>{{ style }}</style></head>
<body><h1>{{ launch.image_name or launch.image_id }}</h1>
<p class="verdict {{ "failed" if failures else "passed" }}">{{ verdict }}</p>
<dl><dt>image</dt><dd>{{ launch.image_id }}</dd><dt>instance</dt><dd>{{ launch.instance_id }}</dd>
<dt>login</dt><dd>{% if facts.logged_in_after is none %}never{% else %}as {{ launch.username }}, after
{{ "%.1f"|format(facts.logged_in_after) }} s{% endif %}</dd><dt>checked</dt><dd>{{ now }}</dd></dl>
{% if failures %}<h2>Failures</h2>{% for check in failures %}
<section class="failure"><h3>{{ check.group }}: {{ check.title }}</h3><pre>{{ check.message }}</pre>
<dl>{% if check.reason %}<dt>why</dt><dd>{{ check.reason }}</dd>{% endif %}
{% if check.remedy %}<dt>remedy</dt><dd>{{ check.remedy }}</dd>{% endif %}</dl></section>{% endfor %}{% endif %}
<h2>All checks</h2>
<div class="scroll"><table><thead>
<tr><th>group</th><th>check</th><th>outcome</th><th class="number">time</th></tr></thead>
<tbody>{% for check in outcomes %}<tr><td>{{ check.group }}</td><td>{{ check.title }}
{% if check.outcome == "skipped" %}<br><span class="dim">{{ check.message }}</span>{% endif %}</td>
<td class="outcome {{ check.outcome }}">{{ signs[check.outcome] }} {{ check.outcome }}</td>
<td class="number">{% if check.seconds >= 0.1 %}{{ "%.1f s"|format(check.seconds) }}{% endif %}</td></tr>
{% endfor %}</tbody></table></div>
{% if boots %}<h2>Boot timeline</h2>{{ boots }}{% endif %}
{% if facts.console %}<h2>Console</h2><details><summary>{{ facts.console.splitlines()|length }} lines</summary>
<pre>{{ facts.console }}</pre></details>{% endif %}
</body></html>
"""

SIGNS = {"passed": "✓", "failed": "✗", "skipped": "∅"}


def page(validation: Validation, records: Sequence[BootRecord]) -> str:
    """Return the HTML page.

    Args:
        validation: the outcomes of the checks.
        records: the boot records; empty if the boot failed.
    """
    failures = [outcome for outcome in validation.outcomes if outcome.outcome == "failed"]
    return (
        environment()
        .from_string(PAGE)
        .render(
            style=Markup(BASE_STYLE + STYLE),  # noqa: S704  (fixed)
            facts=validation.facts,
            launch=validation.facts.launch,
            outcomes=validation.outcomes,
            failures=failures,
            verdict=verdict(validation),
            now=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
            signs=SIGNS,
            boots=Markup(fragment(records)) if records else "",  # noqa: S704  (escaped there)
        )
    )


def verdict(validation: Validation) -> str:
    """Return a summary such as "3 failed, 35 passed, 2 skipped"."""
    counts = ((outcome, validation.count(outcome)) for outcome in ("failed", "passed", "skipped"))
    return ", ".join(f"{number} {outcome}" for outcome, number in counts if number) or "nothing was checked"
