"""What is being done, and for how long: on standard error, so that standard output carries nothing but data."""

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
    """Say what is being done while the block lasts, and how long it took.

    On a terminal it is one line with a clock; elsewhere it is a plain line in the beginning and one in the end. A
    block that fails gets no last line, since an error follows.

    Args:
        text: what is being done, as in "launching ami-1234".
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
    """Say what is being done while the block lasts, as step() does, but not on a terminal.

    Args:
        text: what is being done, as in "starting a local EC2".
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
            """Leave the cursor alone: a second Ctrl-C ends the process before anybody could show it again."""
            return False

    text = TextColumn("{task.description}", markup=False)
    console = Visible(stderr=True)
    return Progress(SpinnerColumn(), text, TimeElapsedColumn(), console=console, transient=True)
