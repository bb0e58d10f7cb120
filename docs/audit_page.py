"""Writes local-ec2-actions.md from the table of supported actions, audit.toml: python docs/audit_page.py."""

from __future__ import annotations

from pathlib import Path

from pycloudlib.local.api.audit import ActionAudit, audit_of, supported_actions

PAGE = Path(__file__).with_name("local-ec2-actions.md")

INTRODUCTION = """\
# Actions of the local EC2

% Written by audit_page.py from src/pycloudlib/local/api/audit.toml.

This page lists the actions of EC2 that the local EC2 supports, with their members and filters. Each listed member has
an effect: it shows in a Describe action, in the metadata service, or in the guest. The local EC2
rejects everything else:

- other actions, members, values, and filters of EC2 with `UnsupportedOperation` and their names;
- a filter that EC2 does not have with `InvalidParameterValue`, and a member that EC2 does not have with
  `UnknownParameter`.

If only some values of a member are supported, they follow in parentheses. "Rejected filters" are filters of EC2 that
the local EC2 does not have.

These apply to several actions:

- All actions accept `DryRun`. Those that EC2 lists as idempotent accept `ClientToken`.
- Listings that have pages on EC2 accept `MaxResults` and `NextToken`.
- Filters on tags are `tag:KEY`, `tag-key`, and `tag-value`. In filter values, `*` and `?` are wildcards, and a
  backslash escapes them.
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
        lines += [f"Rejected filters: {', '.join(f'`{name}`' for name in sorted(audit.refused_filters))}", ""]
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
