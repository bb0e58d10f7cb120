"""Apply a ruleset that is too large for one transaction, in steps that take effect atomically.

A transaction is one netlink message, which an ordinary user's socket buffer limits to about 500 rules. The steps build
the ruleset in another table, whose chains see no packets until the last step adds their hooks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

STEP_CHARACTERS = 8000
"""The maximum length of one step's commands in characters; netlink messages are about ten times as long."""

_TABLE = re.compile(r"^table (\w+ \w+) \{$", re.MULTILINE)
_BLOCK = re.compile(r"^(chain|set|map) (\S+) \{$")
_ELEMENTS = re.compile(r"^elements = \{ (.*) \}$")
_HOOK = re.compile(r"^type \w+ hook ")


@dataclass
class _Block:
    kind: str
    name: str
    lines: list[str] = field(default_factory=list)

    @property
    def has_hook(self) -> bool:
        return self.kind == "chain" and any(_HOOK.match(line) for line in self.lines)

    def text(self, lines: Iterable[str]) -> str:
        return "\n".join([f"{self.kind} {self.name} {{", *lines, "}"])


def table_of(ruleset: str) -> str | None:
    """Return the family and the name of a ruleset's table, such as "inet ec2"; None without a table."""
    match = _TABLE.search(ruleset)
    return match[1] if match else None


def steps(ruleset: str, table: str, replaced: Iterable[str]) -> Iterator[str]:
    """Return the transactions that apply a ruleset as another table.

    Args:
        ruleset: the commands of one table, one line per rule, as ruleset.ruleset() composes them.
        table: the new table, such as "inet ec2_a"; its current contents are deleted.
        replaced: the tables to delete.
    """
    blocks = list(_blocks(ruleset))
    yield f"table {table} {{ }}\ndelete table {table}\ntable {table} {{ }}\n"
    # Declare all named objects first, because rules and elements refer to them.
    declarations = [block.text(_declaration(block)) for block in blocks if not block.has_hook]
    for part in _bundles(declarations):
        yield "\n".join([f"table {table} {{", *part, "}", ""])
    contents = [command for block in blocks if not block.has_hook for command in _contents(block, table)]
    for part in _bundles(contents):
        yield "\n".join([*part, ""])
    hooks = [block.text(block.lines) for block in blocks if block.has_hook]
    removals = [f"table {old_table} {{ }}\ndelete table {old_table}" for old_table in replaced]
    yield "\n".join([f"table {table} {{", *hooks, "}", *removals, ""])


def _blocks(ruleset: str) -> Iterator[_Block]:
    block: _Block | None = None
    for line in ruleset.splitlines():
        text = line.strip()
        start = _BLOCK.match(text)
        if start:
            block = _Block(start[1], start[2])
        elif block is not None and text == "}":
            yield block
            block = None
        elif block is not None and text:
            block.lines.append(text)


def _declaration(block: _Block) -> list[str]:
    """Return the properties of a block without its contents."""
    return [] if block.kind == "chain" else [line for line in block.lines if not _ELEMENTS.match(line)]


def _contents(block: _Block, table: str) -> Iterator[str]:
    for line in block.lines:
        if block.kind == "chain":
            yield f"add rule {table} {block.name} {line}"
            continue
        elements = _ELEMENTS.match(line)
        if elements:
            for part in _bundles(elements[1].split(", ")):
                yield f"add element {table} {block.name} {{ {', '.join(part)} }}"


def _bundles(texts: Iterable[str]) -> Iterator[list[str]]:
    bundle: list[str] = []
    size = 0
    for text in texts:
        if bundle and size + len(text) > STEP_CHARACTERS:
            yield bundle
            bundle, size = [], 0
        bundle.append(text)
        size += len(text)
    if bundle:
        yield bundle
