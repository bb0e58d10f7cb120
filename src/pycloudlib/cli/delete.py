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
class Deletion:
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
    deletions = [_found(ec2, item) for item in dict.fromkeys(ids)]
    foreign = [item for item in deletions if not item.is_ours]
    if foreign and not force:
        raise PycloudlibError(
            f"not created by this library: {', '.join(item.what for item in foreign)}; nothing was deleted. "
            "--force deletes them anyway"
        )
    if not yes:
        _confirm(deletions)
    with step(f"deleting {', '.join(item.id for item in deletions)}"):
        errors = _delete(deletions, wait=wait)
    return _report(errors, as_json=as_json)


def _found(ec2: EC2, resource_id: str) -> Deletion:
    if resource_id.startswith("ami-"):
        image = ec2.image(resource_id)
        return Deletion(
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
    return Deletion(
        instance.id,
        f"{instance.id} ({instance.tags.get(NAME, 'no name')}, {instance.description.state})",
        is_ours(instance.tags),
        begin=lambda: instance.delete(wait=False),
        finish=lambda: _outcome(instance.wait_for_delete),
    )


def _confirm(deletions: Sequence[Deletion]) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("cannot ask for confirmation without a terminal: add --yes")
    for item in deletions:
        click.echo(item.what, err=True)
    if not click.confirm("Delete?", err=True):
        raise PycloudlibError("nothing was deleted")


def _delete(deletions: Sequence[Deletion], *, wait: bool) -> dict[str, Sequence[Exception]]:
    """Return the errors by id. Start all deletions before waiting for any."""
    errors = {item.id: item.begin() for item in deletions}
    for item in deletions:
        if wait and not errors[item.id]:
            errors[item.id] = item.finish()
        if not errors[item.id]:
            forget_host(item.id)
    return errors


def _outcome(call: Callable[[], object]) -> Sequence[Exception]:
    try:
        call()
    except PycloudlibError as error:
        return [error]
    return []


def _report(errors: dict[str, Sequence[Exception]], *, as_json: bool) -> int:
    if as_json:
        print_json(
            [
                {"id": resource_id, "deleted": not failures, "errors": [*map(str, failures)]}
                for resource_id, failures in errors.items()
            ]
        )
    for resource_id, failures in errors.items():
        for error in failures:
            click.echo(f"pycloudlib: {error}", err=True)
        if not failures and not as_json:
            click.echo(resource_id)
    all_failures = [error for failures in errors.values() for error in failures]
    return common_status(all_failures) if all_failures else 0
