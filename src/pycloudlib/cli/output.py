"""The output of commands: tables for terminals, tab-separated lines for pipes, and JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence

import click

LONG = frozenset({"name"})
"""The columns that wrap if the terminal is too narrow."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def print_json(data: object) -> None:
    """Print JSON to standard output."""
    click.echo(json.dumps(data, indent=2))


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with a header on a terminal, or else one line of tab-separated cells per row.

    Args:
        columns: the header.
        rows: the rows, with one cell per column.
    """
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(map(_one_line, row)))
        return
    if not rows:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in columns:
        # Never wrap an id, because users copy it.
        table.add_column(title, no_wrap=title not in LONG, overflow="fold")
    for row in rows:
        # Use Text: a name may contain rich's markup.
        table.add_row(*(Text(_one_line(cell)) for cell in row))
    Console(highlight=False).print(table)


def print_facts(facts: Mapping[str, str], *, err: bool = False) -> None:
    """Print names and values, one per line: aligned on a terminal, or else tab-separated.

    Args:
        facts: the values by name; empty ones are omitted.
        err: whether to print to standard error; default standard output.
    """
    present = {name: value for name, value in facts.items() if value}
    on_terminal = (sys.stderr if err else sys.stdout).isatty()
    width = max(map(len, present), default=0)
    for name, value in present.items():
        click.echo(f"{name:<{width}}  {value}" if on_terminal else f"{name}\t{_one_line(value)}", err=err)


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", text)
