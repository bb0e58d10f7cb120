"""The progress of a command, on standard error, so that standard output has only data."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show a step and its duration while the block runs.

    On a terminal, this is one line with a clock; elsewhere, a plain line at the start and one at the end. A failed
    block has no last line, since an error follows.

    Args:
        text: the step, as in "launching ami-1234".
    """
    started = time.monotonic()
    if sys.stderr.isatty():
        with _animation() as shown:
            shown.add_task(text)
            yield
        click.echo(f"{text}: {time.monotonic() - started:.1f} s", err=True)
        return
    click.echo(f"{text} ...", err=True)
    yield
    click.echo(f"{text}: done after {time.monotonic() - started:.1f} s", err=True)


@contextmanager
def plain_step(text: str) -> Iterator[None]:
    """Show a step like `step()`, but not on a terminal.

    Args:
        text: the step, as in "starting a local EC2".
    """
    if sys.stderr.isatty():
        yield
        return
    with step(text):
        yield


def _animation() -> Progress:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    class Visible(Console):
        def show_cursor(self, show: bool = True) -> bool:
            """Do not hide the cursor: a second Ctrl-C ends the process before it could be shown again."""
            return False

    text = TextColumn("{task.description}", markup=False)
    console = Visible(stderr=True)
    return Progress(SpinnerColumn(), text, TimeElapsedColumn(), console=console, transient=True)
