"""`pycloudlib console`: the console log of an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pycloudlib.cli.cloud import Cloud, cloud_options
from pycloudlib.cli.durations import as_seconds
from pycloudlib.cli.examples import examples

if TYPE_CHECKING:
    from pycloudlib import EC2Instance


OVERLAP = 200
"""Characters at the end of a log that locate it in the next one: EC2 keeps only the last 64 KiB."""


@click.command(
    epilog=examples(
        "pycloudlib console i-0123456789abcdef0",
        "pycloudlib console --wait 5m i-0123456789abcdef0",
        "pycloudlib console --follow i-0123456789abcdef0",
    )
)
@click.argument("instance_id", metavar="INSTANCE")
@click.option("--wait", metavar="DURATION", callback=as_seconds, help="Wait for output for this long, such as 5m.")
@click.option("-f", "--follow", is_flag=True, help="Print new output until the instance is terminated.")
@cloud_options
def console(*, cloud: Cloud, instance_id: str, wait: float | None, follow: bool) -> None:
    """Print the console log of an instance. On AWS it may take minutes until there is one."""
    instance = cloud.open().get_instance(instance_id)
    if follow:
        _follow(instance)
        return
    click.echo(instance.console_log(timeout=wait or 0.0), nl=False)


def added(before: str, now: str) -> str:
    """Return the new part of a console log.

    Args:
        before: the previous log.
        now: the current log, whose start may be truncated.
    """
    if now.startswith(before):
        return now[len(before) :]
    known_end = before[-OVERLAP:]
    position = now.rfind(known_end)
    return now if position < 0 else now[position + len(known_end) :]


def _follow(instance: EC2Instance) -> None:
    from pycloudlib.deadline import Deadline
    from pycloudlib.errors import InstanceError, NoResponseError
    from pycloudlib.waiting import wait_until

    seen = ""

    def poll() -> bool:
        nonlocal seen
        # Query the state first, so that no output before the end is missed.
        ended = instance.state.is_ending
        try:
            text = instance.console_log(timeout=0)
        except (InstanceError, NoResponseError):
            return ended
        click.echo(added(seen, text), nl=False)
        seen = text
        return ended

    wait_until(poll, what=f"{instance.id} to end", deadline=Deadline.never(), interval=1.0, max_interval=3.0)
