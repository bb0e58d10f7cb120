"""`pycloudlib validate`: the checks that an image must pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pycloudlib.cli.examples import examples
from pycloudlib.cli.files import OUTPUT_FILE, check_writing
from pycloudlib.cli.images_under_test import (
    Place,
    connected,
    is_disk,
    launchable,
    offered_disks,
    place_options,
    require_extras,
)

if TYPE_CHECKING:
    from pycloudlib.validation.runner import Validation
    from pycloudlib.validation.subject import Subject

NOT_JUDGED = 3
"""The exit status if the image could not be validated."""


@click.command(
    epilog=examples(
        "pycloudlib validate trixie --local",
        "pycloudlib validate ami-0123456789abcdef0 -m 'not lifecycle' --junit report.xml --html report.html",
        "pycloudlib validate noble.img --release noble --checks my-checks/",
    )
)
@click.argument("image", metavar="IMAGE")
@place_options
@click.option(
    "-k", "keywords", default="", metavar="EXPRESSION", help="Only checks whose names match, like pytest's -k."
)
@click.option(
    "-m",
    "markers",
    default="",
    metavar="EXPRESSION",
    help="Only groups that match, such as 'not lifecycle', like pytest's -m.",
)
@click.option(
    "--checks",
    "directories",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="DIR",
    help="A file or directory with your own checks; repeatable.",
)
@click.option("--type", "instance_type", default="t3.micro", show_default=True, help="The instance type.")
@click.option("--username", help="The login user; default: the image's.")
@click.option(
    "--boot-timeout",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="The time limit for the first login; default: the setting boot_timeout.",
)
@click.option("--junit", type=OUTPUT_FILE, help="Write a JUnit XML report.")
@click.option("--html", type=OUTPUT_FILE, help="Write an HTML report.")
@click.option("--save", type=OUTPUT_FILE, help="Save the boot timeline, for the timeline command.")
@click.option("--save-facts", type=OUTPUT_FILE, help="Write the probe's findings as JSON.")
def validate(
    *,
    image: str,
    place: Place,
    keywords: str,
    markers: str,
    directories: tuple[Path, ...],
    instance_type: str,
    username: str | None,
    boot_timeout: float | None,
    junit: Path | None,
    html: Path | None,
    save: Path | None,
    save_facts: Path | None,
) -> None:
    """Validate an image for EC2.

    IMAGE is an AMI id, a release such as bookworm or 24.04, the name of an image, or a disk file, which is launched on
    a local EC2. The command launches an instance of the image, and deletes it at the end. The exit status is 0 if all
    checks passed, and 1 if one failed. It is 2 for wrong usage, or if a check cannot be imported, and 3 if the image
    could not be validated.
    """
    require_extras("validate", {"pytest": "pytest", **({"jinja2": "report"} if html else {})})
    check_writing((junit, html, save, save_facts))
    _check_image(image)
    from pycloudlib.validation.runner import Selection
    from pycloudlib.validation.runner import validate as run
    from pycloudlib.validation.subject import Request, Subject

    selection = Selection(keywords, markers, directories)
    with (
        _errors_as_statuses(),
        offered_disks([image], place.disk) as offered,
        connected(place, "validate", needs_local=bool(offered)) as ec2,
    ):
        source = launchable(ec2, image, offered, place)
        user = username or source.username
        subject = Subject(ec2, Request(source.image_id, instance_type, user, boot_timeout, source.label))
        validation = run(subject, selection, junit=junit)
        _write(validation, subject, html, save, save_facts)
    _end(validation)


def _check_image(image: str) -> None:
    if is_disk(image) and not Path(image).is_file():
        raise click.UsageError(
            f"there is no disk file {image}; IMAGE is an AMI id, a release, the name of an image, or a disk file"
        )


@contextmanager
def _errors_as_statuses() -> Iterator[None]:
    """Distinguish a failed image from one that could not be validated."""
    from pycloudlib.errors import InvalidArgumentError, PycloudlibError

    try:
        yield
    except InvalidArgumentError as error:
        raise click.UsageError(str(error)) from error
    except PycloudlibError as error:
        click.echo(f"pycloudlib: {error}", err=True)
        raise click.exceptions.Exit(NOT_JUDGED) from error


def _write(
    validation: Validation, subject: Subject, html: Path | None, save: Path | None, save_facts: Path | None
) -> None:
    from pycloudlib.timeline.model import to_json

    records = [subject.record] if subject.record else []
    if save_facts:
        save_facts.write_text(validation.facts.to_json() + "\n", encoding="utf-8")
    if save:
        save.write_text(to_json(records), encoding="utf-8")
    if html:
        from pycloudlib.validation.report import page

        html.write_text(page(validation, records), encoding="utf-8")


def _end(validation: Validation) -> None:
    if validation.count("failed"):
        raise click.exceptions.Exit(1)
    if not validation.count("passed"):
        click.echo("pycloudlib: all checks were skipped", err=True)
        raise click.exceptions.Exit(NOT_JUDGED)
