"""Letting something live on that was created here."""

from __future__ import annotations

from collections.abc import Sequence

from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.facade.base import Facade
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.sweep.leftovers import INSTANCE, INTERFACE, KINDS, VPC, Leftover
from pycloudlib.tags import RUN

KEPT = "kept-"
"""What the run in the tags of a kept resource begins with."""


class KeepCalls(Facade):
    """What is left to live on."""

    def keep(self, instance: EC2Instance) -> str:
        """Let an instance live on, with what is attached to it, and with the VPC that was made for it here.

        clean() leaves it alone, and so does a sweep of this run, because from now on it belongs to a run of its own
        (CreateTags). Its time of expiry stays. The key pair in EC2 is deleted, which does not keep anybody out.

        Args:
            instance: one that was launched here.

        Returns:
            The run that it belongs to now: `sweep(run=..., owner="any", dry_run=False)` deletes it.

        Raises:
            CloudError: EC2 refused; the instance is not kept.
        """
        kept = f"{KEPT}{instance.id}-{self._ownership.run}"
        staying = [instance.id, *_staying_with(instance.id, self._created_by(self._ownership.run))]
        with translated():
            self.client.create_tags(Resources=staying, Tags=[{"Key": RUN, "Value": kept}])
        for resource_id in staying:
            self._ledger.forget(resource_id)
        return kept

    def leave_to_sweep(self, resource_id: str) -> None:
        """Let something that was created here outlive this object: clean() leaves it alone, a sweep does not.

        Args:
            resource_id: the id of an instance, an image, ...; one that is not recorded here is no error.
        """
        self._ledger.forget(resource_id)

    def _created_by(self, run: str) -> list[Leftover]:
        return [one for kind in KINDS for one in kind.find(self._scope) if one.run == run]


def _staying_with(instance_id: str, created: Sequence[Leftover]) -> list[str]:
    attached = [one.id for one in created if one.instance_id == instance_id]
    vpc_ids = {one.vpc_id for one in created if one.id == instance_id}
    if not any(one.kind == VPC and one.id in vpc_ids for one in created):
        return attached
    parts = [one.id for one in created if one.vpc_id in vpc_ids and one.kind not in (INSTANCE, INTERFACE)]
    return attached + parts
