"""`pycloudlib sweep`: delete the resources that earlier runs left."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pycloudlib.cli.cloud import CONFIG_NAMES, Cloud, json_option
from pycloudlib.cli.durations import as_age
from pycloudlib.cli.files import INPUT_FILE
from pycloudlib.cli.output import print_json
from pycloudlib.tags import iso_time

if TYPE_CHECKING:
    from rich.table import Table

    from pycloudlib.ec2.sweep.sweep import SweepReport


@click.command()
@click.option(
    "--older-than",
    metavar="DURATION",
    callback=as_age,
    help="Only resources older than this, such as 30m, 2h, or 3d.",
)
@click.option("--run", "run_id", help="Only resources of this run; a prefix of its id suffices.")
@click.option("--owner", help="Only resources of this owner: user@host, or any; default: this user on this host.")
@click.option("--expired", is_flag=True, help="Only resources past their time to live.")
@click.option("--yes", is_flag=True, help="Delete the resources; default: only list them.")
@click.option("--region", "regions", multiple=True, help="The region, or all; repeatable.")
@click.option(
    *CONFIG_NAMES,
    "config_file",
    type=INPUT_FILE,
    help="The settings file; default: PYCLOUDLIB_CONFIG, ~/.config/pycloudlib.toml, or /etc/pycloudlib.toml.",
)
@click.option("--profile", help="A profile of ~/.aws/config.")
@click.option("--endpoint-url", help="The URL of an EC2 endpoint other than AWS's.")
@click.option("--local", is_flag=True, help="Use the running local EC2.")
@json_option
def sweep(
    *,
    older_than: float | None,
    run_id: str | None,
    owner: str | None,
    expired: bool,
    yes: bool,
    regions: tuple[str, ...],
    config_file: Path | None,
    profile: str | None,
    endpoint_url: str | None,
    local: bool,
    as_json: bool,
) -> None:
    """List or delete the resources that earlier runs left.

    Without --yes, they are only listed. Only resources with this library's tags are found and deleted. The exit
    status is 0 if nothing remains, 1 if something does, and 2 for wrong usage.

    \b
    Example:
      pycloudlib sweep --older-than 2h
      pycloudlib sweep --expired --owner any --region all --yes
    """  # noqa: D301  (click takes a backspace for: leave the next paragraph as it is)
    from pycloudlib.errors import InvalidArgumentError

    everywhere = "all" in regions
    named = None if everywhere or not regions else regions
    ec2 = Cloud(config_file, named[0] if named else None, profile, endpoint_url, local).open("sweep")
    try:
        report = ec2.sweep(
            older_than=older_than,
            run=run_id,
            owner=owner,
            expired=expired,
            dry_run=not yes,
            regions="all" if everywhere else named,
        )
    except InvalidArgumentError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report)
    if not report.is_clean:
        raise click.exceptions.Exit(1)


def _as_json(report: SweepReport) -> dict[str, object]:
    reasons = {orphan.orphan: orphan.reason for orphan in report.left}
    resources = [
        {
            "kind": orphan.kind,
            "id": orphan.id,
            "region": orphan.region,
            "name": orphan.name or None,
            "run": orphan.run or None,
            "owner": orphan.owner or None,
            "created": iso_time(orphan.created) if orphan.created else None,
            "expires": iso_time(orphan.expires) if orphan.expires else None,
            "state": orphan.state or None,
            "deleted": orphan in report.deleted,
            "reason": reasons.get(orphan) or None,
        }
        for orphan in report.found
    ]
    return {"found": resources, "errors": [str(error) for error in report.errors]}


def _print(report: SweepReport) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        # Do not truncate ids in files and pipes.
        console.width = max(console.width, 240)
    if report.found:
        console.print(_table(report))
    for error in report.errors:
        click.echo(f"pycloudlib: {error}", err=True)
    for remaining in report.left if not report.dry_run else ():
        click.echo(f"pycloudlib: {remaining}", err=True)
    console.print(_summary(report))


def _table(report: SweepReport) -> Table:
    from rich.table import Table
    from rich.text import Text

    reasons = {orphan.orphan: orphan.reason for orphan in report.left}
    table = Table(box=None, pad_edge=False)
    for title in ("kind", "id", "region", "name", "run", "owner", "age", "expires", "state"):
        # Never wrap an id, because users copy it.
        table.add_column(title, no_wrap=title == "id", overflow="fold")
    if not report.dry_run:
        table.add_column("outcome", overflow="fold")
    now = datetime.now(timezone.utc)
    for orphan in report.found:
        cells = [
            orphan.kind,
            orphan.id,
            orphan.region,
            orphan.name,
            orphan.run,
            orphan.owner,
            _age(orphan.created, now),
        ]
        cells += [_expiry(orphan.expires, now), orphan.state]
        if not report.dry_run:
            cells.append("left" if orphan in reasons else "deleted")
        # Use Text: a name may contain rich's markup.
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _summary(report: SweepReport) -> str:
    if not report.found:
        return "Nothing found."
    if report.dry_run:
        return f"{len(report.found)} found. Nothing was deleted: add --yes to delete them."
    return f"{len(report.deleted)} deleted, {len(report.left)} left."


def _age(created: datetime | None, now: datetime) -> str:
    return _span((now - created).total_seconds()) if created else "unknown"


def _expiry(expires: datetime | None, now: datetime) -> str:
    if expires is None:
        return ""
    seconds = (expires - now).total_seconds()
    return f"in {_span(seconds)}" if seconds > 0 else f"{_span(-seconds)} ago"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
