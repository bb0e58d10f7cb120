"""`pycloudlib delete`: deletion of instances and images."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pycloudlib.cli.cloud import Cloud, cloud_options, json_option
from pycloudlib.cli.examples import examples
from pycloudlib.cli.exit_statuses import common_status
from pycloudlib.cli.instance_facts import is_ours
from pycloudlib.cli.openssh import forget_host
from pycloudlib.cli.output import print_json
from pycloudlib.cli.progress import step
from pycloudlib.errors import InvalidArgumentError, PycloudlibError
from pycloudlib.tags import NAME

if TYPE_CHECKING:
    from pycloudlib import EC2


@dataclass(frozen=True)
class Doomed:
    """A resource to delete.

    Args:
        id: the resource id.
        what: a description for the confirmation prompt.
        is_ours: whether this library created it.
        begin: starts the deletion; returns the errors.
        finish: waits until it is gone; returns the errors.
    """

    id: str
    what: str
    is_ours: bool
    begin: Callable[[], Sequence[Exception]]
    finish: Callable[[], Sequence[Exception]]


@click.command(
    epilog=examples(
        "pycloudlib delete i-0123456789abcdef0",
        "pycloudlib delete --yes --no-wait i-0123456789abcdef0 i-0fedcba9876543210",
        "pycloudlib delete --yes ami-0123456789abcdef0",
    )
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--force", is_flag=True, help="Also delete resources that this library did not create.")
@click.option("--wait/--no-wait", default=True, help="Wait until it is deleted; default: yes.")
@json_option
@cloud_options
def delete(*, cloud: Cloud, ids: tuple[str, ...], yes: bool, force: bool, wait: bool, as_json: bool) -> int:
    """Delete instances and images.

    An image is deleted with its snapshots. Nothing is deleted unless all of them exist and this library created them,
    or --force is given.
    """
    ec2 = cloud.open()
    doomed = [_found(ec2, one) for one in dict.fromkeys(ids)]
    others = [one for one in doomed if not one.is_ours]
    if others and not force:
        raise PycloudlibError(
            f"not created by this library: {', '.join(one.what for one in others)}; nothing was deleted. "
            "--force deletes them anyway"
        )
    if not yes:
        _ask(doomed)
    with step(f"deleting {', '.join(one.id for one in doomed)}"):
        errors = _delete(doomed, wait=wait)
    return _tell(errors, as_json=as_json)


def _found(ec2: EC2, resource_id: str) -> Doomed:
    if resource_id.startswith("ami-"):
        image = ec2.image(resource_id)
        return Doomed(
            image.id,
            f"{image.id} ({image.name})",
            is_ours(image.tags),
            begin=lambda: _outcome(image.delete),
            finish=tuple,
        )
    if not resource_id.startswith("i-"):
        raise InvalidArgumentError(
            f"invalid id {resource_id!r}: give the id of an instance (i-...) or an image (ami-...)"
        )
    instance = ec2.get_instance(resource_id)
    return Doomed(
        instance.id,
        f"{instance.id} ({instance.tags.get(NAME, 'no name')}, {instance.description.state})",
        is_ours(instance.tags),
        begin=lambda: instance.delete(wait=False),
        finish=lambda: _outcome(instance.wait_for_delete),
    )


def _ask(doomed: Sequence[Doomed]) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("cannot ask for confirmation without a terminal: add --yes")
    for one in doomed:
        click.echo(one.what, err=True)
    if not click.confirm("Delete?", err=True):
        raise PycloudlibError("nothing was deleted")


def _delete(doomed: Sequence[Doomed], *, wait: bool) -> dict[str, Sequence[Exception]]:
    """Return the errors by id. Start all deletions before waiting for any."""
    errors = {one.id: one.begin() for one in doomed}
    for one in doomed:
        if wait and not errors[one.id]:
            errors[one.id] = one.finish()
        if not errors[one.id]:
            forget_host(one.id)
    return errors


def _outcome(call: Callable[[], object]) -> Sequence[Exception]:
    try:
        call()
    except PycloudlibError as error:
        return [error]
    return []


def _tell(errors: dict[str, Sequence[Exception]], *, as_json: bool) -> int:
    if as_json:
        print_json([{"id": one, "deleted": not wrong, "errors": [*map(str, wrong)]} for one, wrong in errors.items()])
    for one, wrong in errors.items():
        for error in wrong:
            click.echo(f"pycloudlib: {error}", err=True)
        if not wrong and not as_json:
            click.echo(one)
    failures = [error for wrong in errors.values() for error in wrong]
    return common_status(failures) if failures else 0
