"""Retention of an instance that was launched here, with everything that it needs."""

from __future__ import annotations

from collections.abc import Sequence

from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.sweep.orphans import INSTANCE, INTERFACE, KINDS, VPC, Orphan
from pycloudlib.tags import RUN

KEPT = "kept-"
"""The prefix of the run tag of kept resources."""


def keep(context: RegionContext, instance_id: str) -> str:
    """Move an instance, its attached resources, and its VPC to a run of their own (CreateTags). See `EC2.keep()`.

    Args:
        context: the context of the instance's region.
        instance_id: the id of an instance launched here.

    Returns:
        The new run.

    Raises:
        CloudError: EC2 rejected the request; the instance is not kept.
    """
    run = context.ownership.run
    kept = f"{KEPT}{instance_id}-{run}"
    created = [one for kind in KINDS for one in kind.find(context) if one.run == run]
    kept_ids = [instance_id, *_kept_with(instance_id, created)]
    with translated():
        context.client.create_tags(Resources=kept_ids, Tags=[{"Key": RUN, "Value": kept}])
    for resource_id in kept_ids:
        context.ledger.forget(resource_id)
    return kept


def _kept_with(instance_id: str, created: Sequence[Orphan]) -> list[str]:
    attached = [one.id for one in created if one.instance_id == instance_id]
    vpc_ids = {one.vpc_id for one in created if one.id == instance_id}
    if not any(one.kind == VPC and one.id in vpc_ids for one in created):
        return attached
    parts = [one.id for one in created if one.vpc_id in vpc_ids and one.kind not in (INSTANCE, INTERFACE)]
    return attached + parts
