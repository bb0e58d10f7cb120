"""Writes local-ec2-actions.md from the table of what the local EC2 honors: python docs/audit_page.py."""

from __future__ import annotations

from pathlib import Path

from pycloudlib.local.api.audit import ActionAudit, audit_of, supported_actions

PAGE = Path(__file__).with_name("local-ec2-actions.md")

INTRODUCTION = """\
# Actions of the local EC2

% Written by audit_page.py from src/pycloudlib/local/api/audit.toml.

What is listed here has an effect: it shows in a Describe call, in the metadata service, or in the guest. Anything else
is refused: another action, member, or value with `UnsupportedOperation`, naming it; a filter that EC2 has not with
`InvalidParameterValue`. All actions take `DryRun`; those that EC2 lists as idempotent take `ClientToken`; lists take
`MaxResults` and `NextToken`. A filter on tags is `tag:KEY`, `tag-key`, or `tag-value`; `*` and `?` are wildcards, and a
backslash escapes them.

A member of which only some values are honored is followed by those values.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([INTRODUCTION, *(_section(action) for action in supported_actions())])


def _section(action: str) -> str:
    audit = audit_of(action)
    assert audit is not None
    lines = [f"## {action}", ""]
    if audit.kept or audit.tags:
        lines += [f"Members: {_members(audit)}", ""]
    filters = sorted((*audit.filters, *audit.record_filters))
    if filters:
        lines += [f"Filters: {', '.join(f'`{name}`' for name in filters)}", ""]
    if audit.refused_filters:
        lines += [f"Refused filters: {', '.join(f'`{name}`' for name in sorted(audit.refused_filters))}", ""]
    if len(lines) == 2:
        lines += ["No members.", ""]
    return "\n".join(lines)


def _members(audit: ActionAudit) -> str:
    members = []
    for path, values in sorted(audit.kept.items()):
        limited = f" ({', '.join(sorted(values))})" if values else ""
        members.append(f"`{path}`{limited}")
    if audit.tags:
        members.append(f"`TagSpecifications` (of {', '.join(audit.tags)})")
    return ", ".join(members)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
