"""Retention of resources that were created here."""

from __future__ import annotations

from collections.abc import Sequence

from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.facade.base import Facade
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.sweep.orphans import INSTANCE, INTERFACE, KINDS, VPC, Orphan
from pycloudlib.tags import RUN

KEPT = "kept-"
"""The prefix of the run tag of kept resources."""


class KeepCalls(Facade):
    """The methods that keep resources."""

    def keep(self, instance: EC2Instance) -> str:
        """Keep an instance, its attached resources, and the VPC that was created for it here (CreateTags).

        `clean()` and a sweep of this run do not delete them, because they move to a run of their own. Their expiry time
        remains. EC2's key pair is deleted, which does not prevent logins.

        Args:
            instance: an instance launched here.

        Returns:
            The new run: `sweep(run=..., owner="any", dry_run=False)` deletes its resources.

        Raises:
            CloudError: EC2 rejected the request; the instance is not kept.
        """
        kept = f"{KEPT}{instance.id}-{self._ownership.run}"
        staying = [instance.id, *_staying_with(instance.id, self._created_by(self._ownership.run))]
        with translated():
            self.client.create_tags(Resources=staying, Tags=[{"Key": RUN, "Value": kept}])
        for resource_id in staying:
            self._ledger.forget(resource_id)
        return kept

    def leave_to_sweep(self, resource_id: str) -> None:
        """Exempt a resource that was created here from `clean()`, but not from a sweep.

        Args:
            resource_id: the id of an instance, an image, and so on. No-op if the id is not recorded here.
        """
        self._ledger.forget(resource_id)

    def _created_by(self, run: str) -> list[Orphan]:
        return [one for kind in KINDS for one in kind.find(self._region_context) if one.run == run]


def _staying_with(instance_id: str, created: Sequence[Orphan]) -> list[str]:
    attached = [one.id for one in created if one.instance_id == instance_id]
    vpc_ids = {one.vpc_id for one in created if one.id == instance_id}
    if not any(one.kind == VPC and one.id in vpc_ids for one in created):
        return attached
    parts = [one.id for one in created if one.vpc_id in vpc_ids and one.kind not in (INSTANCE, INTERFACE)]
    return attached + parts
