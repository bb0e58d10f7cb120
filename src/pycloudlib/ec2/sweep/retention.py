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
    marker = f"{KEPT}{instance_id}-{run}"
    created = [orphan for kind in KINDS for orphan in kind.find(context) if orphan.run == run]
    kept_ids = [instance_id, *_kept_with(instance_id, created)]
    with translated():
        context.client.create_tags(Resources=kept_ids, Tags=[{"Key": RUN, "Value": marker}])
    for resource_id in kept_ids:
        context.ledger.forget(resource_id)
    return marker


def _kept_with(instance_id: str, created: Sequence[Orphan]) -> list[str]:
    attached = [orphan.id for orphan in created if orphan.instance_id == instance_id]
    vpc_ids = {orphan.vpc_id for orphan in created if orphan.id == instance_id}
    if not any(orphan.kind == VPC and orphan.id in vpc_ids for orphan in created):
        return attached
    parts = [orphan.id for orphan in created if orphan.vpc_id in vpc_ids and orphan.kind not in (INSTANCE, INTERFACE)]
    return attached + parts
