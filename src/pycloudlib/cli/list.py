"""`pycloudlib list`: the existing instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pycloudlib import tags
from pycloudlib.cli.cloud import Cloud, cloud_options, json_option
from pycloudlib.cli.examples import examples
from pycloudlib.cli.instance_facts import COLUMNS, facts, row
from pycloudlib.cli.output import print_json, print_rows

if TYPE_CHECKING:
    from pycloudlib import EC2Instance

STATES = ("pending", "running", "stopping", "stopped", "shutting-down", "terminated")
ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")


@click.command(
    "list",
    epilog=examples(
        "pycloudlib list",
        "pycloudlib list --tag nightly --state running --json",
        "pycloudlib list --all --region eu-central-1",
    ),
)
@click.option("--tag", help="Only instances whose name has this prefix.")
@click.option("--run", "run_id", help="Only instances of this run; a prefix of its id suffices.")
@click.option(
    "--state", "states", type=click.Choice(STATES), multiple=True, help="Only instances in this state; repeatable."
)
@click.option("--all", "all_instances", is_flag=True, help="Include instances that this library did not launch.")
@json_option
@cloud_options
def list_(
    *,
    cloud: Cloud,
    tag: str | None,
    run_id: str | None,
    states: tuple[str, ...],
    all_instances: bool,
    as_json: bool,
) -> None:
    """List the instances that this library launched.

    The list has all users' instances in this account and region, except for terminated ones.
    """
    filters: dict[str, Any] = {"instance-state-name": list(states or ALIVE)}
    if not all_instances:
        filters["tag-key"] = tags.RUN
    if tag is not None:
        filters[f"tag:{tags.NAME}"] = f"{tag}*"
    if run_id is not None:
        filters[f"tag:{tags.RUN}"] = f"{run_id}*"
    _print(cloud.open().instances(filters), as_json=as_json)


def _print(instances: list[EC2Instance], *, as_json: bool) -> None:
    in_order = sorted(instances, key=lambda instance: (facts(instance)["created"] or "", instance.id))
    if as_json:
        print_json([facts(instance) for instance in in_order])
        return
    print_rows(COLUMNS, [row(instance) for instance in in_order])
    if not in_order:
        click.echo("No machines found.", err=True)
