"""`pycloudlib timeline`: the time of each boot stage, in numbers and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pycloudlib.cli.examples import examples
from pycloudlib.cli.files import OUTPUT_FILE, check_writing
from pycloudlib.cli.images_under_test import (
    Launchable,
    Place,
    connected,
    launchable,
    offered_disks,
    place_options,
    require_extras,
)

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.timeline.model import BootRecord

INSTANCE = "i-"
FILE = ".json"


@click.command(
    epilog=examples(
        "pycloudlib timeline trixie --local --runs 3 --save before.json",
        "pycloudlib timeline before.json after.json --html boots.html",
        "pycloudlib timeline i-0123456789abcdef0",
    )
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@place_options
@click.option(
    "--runs", type=click.IntRange(min=1), default=1, show_default=True, help="The number of boots of each image."
)
@click.option("--type", "instance_type", default="t3.micro", show_default=True, help="The instance type.")
@click.option("--username", help="The login user; default: the image's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--save", type=OUTPUT_FILE, help="Save the boots to a file.")
@click.option("--html", type=OUTPUT_FILE, help="Write an HTML page with charts.")
@click.option("--svg", type=OUTPUT_FILE, help="Write the chart of all boots.")
def timeline(
    *,
    sources: tuple[str, ...],
    place: Place,
    runs: int,
    instance_type: str,
    username: str | None,
    as_json: bool,
    save: Path | None,
    html: Path | None,
    svg: Path | None,
) -> None:
    """Compare the time that boots spent in each stage.

    The first boot is the reference of the comparison.

    SOURCE is a file from --save (here or of validate), the id of a running instance, or an image to launch: an AMI id,
    a
    release, or a disk file.
    """
    from pycloudlib.errors import InvalidArgumentError
    from pycloudlib.timeline.model import to_json

    require_extras("timeline --html", {"jinja2": "report"} if html else {})
    check_writing((save, html, svg))
    try:
        records = _records(sources, place, runs, instance_type, username)
    except InvalidArgumentError as error:
        raise click.UsageError(str(error)) from error
    if save:
        save.write_text(to_json(records), encoding="utf-8")
    if svg:
        from pycloudlib.timeline.drawing import overview

        svg.write_text(overview(records), encoding="utf-8")
    if html:
        from pycloudlib.timeline.page import page

        html.write_text(page(records), encoding="utf-8")
    if as_json:
        click.echo(to_json(records), nl=False)
    else:
        _print(records)


def _records(
    sources: Sequence[str], place: Place, runs: int, instance_type: str, username: str | None
) -> list[BootRecord]:
    from pycloudlib.timeline.model import read

    live = [source for source in sources if not _is_file(source)]
    if not live:
        return [record for source in sources for record in read(Path(source))]
    records: list[BootRecord] = []
    images = [source for source in live if not source.startswith(INSTANCE)]
    with (
        offered_disks(images, place.disk) as offered,
        connected(place, "timeline", needs_local=bool(offered), own_key=bool(images)) as ec2,
    ):
        for source in sources:
            if _is_file(source):
                records += read(Path(source))
            elif source.startswith(INSTANCE):
                records.append(_of_instance(ec2, source, username))
            else:
                image = launchable(ec2, source, offered, place)
                records += [_of_image(ec2, image, instance_type, username) for _ in range(runs)]
    return records


def _is_file(source: str) -> bool:
    return source.endswith(FILE)


def _of_instance(ec2: EC2, instance_id: str, username: str | None) -> BootRecord:
    from pycloudlib.timeline.boots import of_running_instance

    return of_running_instance(ec2.get_instance(instance_id, username=username))


def _of_image(ec2: EC2, image: Launchable, instance_type: str, username: str | None) -> BootRecord:
    from pycloudlib.timeline.boots import of_launched_instance

    click.echo(f"launching {image.image_id} ({image.label})", err=True)
    with ec2.launch(image.image_id, instance_type, username=username or image.username, wait=True) as instance:
        return of_launched_instance(instance, image.label)


def _print(records: Sequence[BootRecord]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pycloudlib.timeline.model import STAGES
    from pycloudlib.timeline.summary import difference, runs_by_label, spread_of

    console = Console(highlight=False)
    if not console.is_terminal:
        # Do not wrap tables in files and pipes.
        console.width = max(console.width, 160)
    table = Table(box=None, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("instance", no_wrap=True)
    for stage in STAGES:
        table.add_column(stage.replace("_", " "), justify="right")
    table.add_column("vs. first", justify="right")
    for record in records:
        seconds = [f"{record.reached[stage]:.1f}" if stage in record.reached else "" for stage in STAGES]
        compared = difference(record.total, records[0].total) if record is not records[0] else ""
        # Use Text: a name may contain rich's markup.
        table.add_row(*map(Text, (record.label, record.instance_id, *seconds, compared)))
    console.print(table)
    for label, runs in runs_by_label(records).items():
        if len(runs) > 1:
            spread = spread_of([run.total for run in runs])
            text = f"{label}: {len(runs)} boots, median {spread.median:.1f} s, {spread.low:.1f} to {spread.high:.1f} s"
            console.print(Text(text))
