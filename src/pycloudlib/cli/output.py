"""What commands print: tables and facts for people, lines with tabs for pipes, JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence

import click

LONG = frozenset({"name"})
"""Columns that are broken where the terminal is too narrow."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def print_json(data: object) -> None:
    """Print JSON, to standard output."""
    click.echo(json.dumps(data, indent=2))


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with a header on a terminal, else a line for each row, with tabs between the cells.

    Args:
        columns: the header.
        rows: the cells of each; as many as there are columns.
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
        # An id is copied from here, so it is never broken.
        table.add_column(title, no_wrap=title not in LONG, overflow="fold")
    for row in rows:
        # As text: a name may hold what rich would take for markup.
        table.add_row(*(Text(_one_line(cell)) for cell in row))
    Console(highlight=False).print(table)


def print_facts(facts: Mapping[str, str], *, err: bool = False) -> None:
    """Print names and what they stand for, a line each: aligned on a terminal, else with a tab between.

    Args:
        facts: by name; those that are empty are left out.
        err: whether to standard error; default to standard output.
    """
    said = {name: value for name, value in facts.items() if value}
    on_terminal = (sys.stderr if err else sys.stdout).isatty()
    width = max(map(len, said), default=0)
    for name, value in said.items():
        click.echo(f"{name:<{width}}  {value}" if on_terminal else f"{name}\t{_one_line(value)}", err=err)


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", text)
