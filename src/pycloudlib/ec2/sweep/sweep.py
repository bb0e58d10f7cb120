"""Deletion of the resources that earlier runs left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.api.retries import PASSING_CODES
from pycloudlib.ec2.sweep.deletions import ORDER, command_by_hand, delete, revoke_references
from pycloudlib.ec2.sweep.orphans import INSTANCE, KINDS, KINDS_BY_NAME, SECURITY_GROUP, Kind, Orphan, Selection
from pycloudlib.errors import (
    CloudError,
    CloudSetupError,
    PycloudlibError,
    PycloudlibTimeoutError,
    ResourceNotFoundError,
)
from pycloudlib.fan_out import fan_out
from pycloudlib.lifecycle import Ledger
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

LOOKUPS_AT_ONCE = 8
"""Maximum number of concurrent Describe calls: AWS's limits apply to the whole account."""

DELETED_AT_ONCE = 8
"""Maximum number of concurrent deletion calls."""

TERMINATED_AT_ONCE = 100
"""Instances in one TerminateInstances call."""

PATIENCE = 120.0
"""Seconds for dependencies to be deleted, and for EC2 to be consistent afterward."""

SHORT_PATIENCE = 5.0
"""The same in a VPC that contains an undeletable resource, for which waiting is likely futile."""

TERMINATION_TIMEOUT = 900.0
"""Seconds for instances to shut down."""

DRY_RUN = "dry run"

PROTECTED_CODE = "OperationNotPermitted"
"""EC2's code for an instance with termination protection."""


@dataclass(frozen=True)
class RemainingOrphan:
    """An orphaned resource that still exists.

    Args:
        orphan: the resource.
        reason: why it still exists.
        by_hand: the AWS CLI command that deletes it.
    """

    orphan: Orphan
    reason: str
    by_hand: str

    def __str__(self) -> str:
        return f"{self.orphan}: {self.reason}; by hand: {self.by_hand}"


@dataclass(frozen=True)
class SweepReport:
    """The result of a sweep.

    Args:
        found: the selected resources.
        deleted: the deleted resources.
        left: the remaining resources; all of them after a dry run.
        errors: the lookups that EC2 rejected, so that there may be more resources.
        dry_run: whether the sweep was a dry run; default yes.
    """

    found: tuple[Orphan, ...] = ()
    deleted: tuple[Orphan, ...] = ()
    left: tuple[RemainingOrphan, ...] = ()
    errors: tuple[PycloudlibError, ...] = ()
    dry_run: bool = True

    @property
    def is_clean(self) -> bool:
        """Whether nothing remains, according to EC2."""
        return not self.left and not self.errors


@dataclass(frozen=True)
class _Lookup:
    context: RegionContext
    kind: Kind

    @property
    def id(self) -> str:
        return f"{self.kind.name} in {self.context.region}"

    def find(self) -> list[Orphan]:
        return self.kind.find(self.context)


class Sweep:
    """A search for orphaned resources, and their deletion.

    Args:
        contexts: the contexts of the regions to search.
        selection: the criteria.
        now: the current time, timezone-aware.
        patience: seconds for dependencies to be deleted; default 120.
    """

    def __init__(
        self, contexts: Sequence[RegionContext], selection: Selection, now: datetime, *, patience: float = PATIENCE
    ) -> None:
        self._contexts = {context.region: context for context in contexts}
        self._selection = selection
        self._now = now
        self._patience = patience
        self._reasons: dict[Orphan, str] = {}
        self._protected: set[Orphan] = set()
        self._lock = threading.Lock()

    def run(self, *, dry_run: bool) -> SweepReport:
        """Find the resources, and delete them unless it is a dry run. Errors do not stop the sweep.

        Args:
            dry_run: whether only to search.

        Raises:
            CloudSetupError: EC2 is unreachable, or rejects the credentials.
            KeyboardInterrupt: Ctrl-C was pressed; raised after the deletions in progress.
        """
        found, refused = self._find(KINDS)
        errors = tuple(refused.values())
        if dry_run or not found:
            remaining = [self._remaining(orphan, DRY_RUN) for orphan in found]
            return SweepReport(tuple(found), (), tuple(remaining), errors, dry_run)
        self._delete(found)
        still_listed, lookup_errors = self._find_remaining(found)
        remaining = [
            self._remaining(orphan, self._reasons.get(orphan, "EC2 still lists it")) for orphan in still_listed
        ]
        deleted = [orphan for orphan in found if orphan not in still_listed]
        for orphan in deleted:
            self._contexts[orphan.region].ledger.forget(orphan.id)
        return SweepReport(tuple(found), tuple(deleted), tuple(remaining), (*errors, *lookup_errors), dry_run)

    # Finding

    def _find(self, kinds: Iterable[Kind]) -> tuple[list[Orphan], dict[str, PycloudlibError]]:
        """Return the selected resources, and the rejected lookups by their ids."""
        lookups = [_Lookup(context, kind) for context in self._contexts.values() for kind in kinds]
        outcome = fan_out(lookups, _Lookup.find, at_once=LOOKUPS_AT_ONCE)
        refused = _reportable(outcome.errors)
        matching = [orphan for orphans in outcome.results.values() for orphan in orphans]
        return [orphan for orphan in matching if self._selection.matches(orphan, self._now)], refused

    def _find_remaining(self, found: Sequence[Orphan]) -> tuple[list[Orphan], list[PycloudlibError]]:
        """Search again: a resource is deleted once EC2 stops listing it, which may take a while."""
        kinds = [kind for kind in KINDS if any(orphan.kind == kind.name for orphan in found)]
        still_listed: list[Orphan] = []
        refused: dict[str, PycloudlibError] = {}

        def is_settled() -> bool:
            nonlocal refused
            listed, refused = self._find(kinds)
            keys = {_key(orphan) for orphan in listed}
            still_listed[:] = [
                orphan for orphan in found if _key(orphan) in keys or f"{orphan.kind} in {orphan.region}" in refused
            ]
            return all(orphan in self._reasons for orphan in still_listed)

        try:
            wait_until(
                is_settled,
                what="EC2 to stop listing the deleted resources",
                deadline=Deadline.after(self._patience),
                interval=0.5,
                max_interval=5.0,
            )
        except PycloudlibTimeoutError as error:
            logger.debug("%s", error)
        return still_listed, list(refused.values())

    # Deleting

    def _delete(self, found: Sequence[Orphan]) -> None:
        plan = Ledger()
        for region, context in self._contexts.items():
            instances = [orphan for orphan in found if orphan.region == region and orphan.kind == INSTANCE]
            if instances:
                terminate = partial(self._terminate_all, context, instances)
                plan.record(INSTANCE, f"instances in {region}", terminate, order=ORDER[INSTANCE])
        for orphan in found:
            if orphan.kind != INSTANCE:
                plan.record(
                    orphan.kind,
                    f"{orphan.region} {orphan.id}",
                    partial(self._try, orphan, found),
                    order=ORDER[orphan.kind],
                )
            if orphan.kind == SECURITY_GROUP:
                # Revoke the references of all groups before deleting the first one.
                plan.record(
                    orphan.kind,
                    f"rules of {orphan.id}",
                    partial(self._revoke_references, orphan),
                    order=ORDER[orphan.kind] + 1,
                )
        for error in plan.undo_all(max_workers=DELETED_AT_ONCE):
            # _try() records EC2's errors, so this is an unexpected one.
            raise error

    def _terminate_all(self, context: RegionContext, instances: Sequence[Orphan]) -> None:
        for start in range(0, len(instances), TERMINATED_AT_ONCE):
            self._terminate(context, instances[start : start + TERMINATED_AT_ONCE])
        ending = [orphan for orphan in instances if orphan not in self._reasons]
        if not ending:
            return
        remaining: set[str] = {orphan.id for orphan in ending}

        def ended() -> bool:
            living = _living(context)
            if living is not None:
                remaining.intersection_update(living)
            return not remaining

        try:
            wait_until(
                ended,
                what="the instances to be terminated",
                deadline=Deadline.after(TERMINATION_TIMEOUT),
                interval=0.5,
                max_interval=5.0,
            )
        except PycloudlibError as error:
            for orphan in ending:
                if orphan.id in remaining:
                    self._note(orphan, f"its termination was requested, but {error}")

    def _terminate(self, context: RegionContext, instances: Sequence[Orphan]) -> None:
        call = partial(context.client.terminate_instances, InstanceIds=[orphan.id for orphan in instances])
        try:
            call_until_consistent(
                call,
                what="terminate instances",
                codes=(),
                deadline=Deadline.after(TERMINATION_TIMEOUT),
                patience=self._patience,
            )
        except PycloudlibError as error:
            if len(instances) > 1:
                # A protected instance must not keep the others running.
                for orphan in instances:
                    self._terminate(context, [orphan])
                return
            if isinstance(error, CloudError) and error.code == PROTECTED_CODE:
                self._protected.add(instances[0])
            if not isinstance(error, ResourceNotFoundError):
                self._note(instances[0], str(error))

    def _try(self, orphan: Orphan, found: Sequence[Orphan]) -> None:
        reason = self._blocked_by(orphan, found)
        if reason:
            self._note(orphan, reason)
            return
        try:
            delete(self._contexts[orphan.region], orphan, Deadline.after(self._patience_for(orphan)))
        except ResourceNotFoundError as error:
            # The second search verifies this.
            logger.debug("%s: %s", orphan, error)
        except PycloudlibError as error:
            self._note(orphan, str(error))

    def _revoke_references(self, orphan: Orphan) -> None:
        try:
            revoke_references(self._contexts[orphan.region], orphan)
        except PycloudlibError as error:
            # The deletion reports the error if a rule blocks it.
            logger.debug("%s keeps its rules: %s", orphan, error)

    def _patience_for(self, orphan: Orphan) -> float:
        with self._lock:
            blocked_vpcs = {failed.vpc_id for failed in self._reasons if failed.vpc_id}
        return min(self._patience, SHORT_PATIENCE) if orphan.vpc_id in blocked_vpcs else self._patience

    def _blocked_by(self, orphan: Orphan, found: Sequence[Orphan]) -> str:
        """Return why a resource remains: do not detach it from an instance that is not deleted."""
        if not orphan.instance_id:
            return ""
        instance = next(
            (candidate for candidate in found if candidate.kind == INSTANCE and candidate.id == orphan.instance_id),
            None,
        )
        if instance is None:
            return f"the instance {orphan.instance_id} uses it, and is not selected"
        if instance in self._reasons:
            return f"the instance {orphan.instance_id} uses it, and could not be deleted"
        return ""

    def _note(self, orphan: Orphan, reason: str) -> None:
        logger.info("could not delete the %s: %s", orphan, reason)
        with self._lock:
            self._reasons[orphan] = reason

    def _remaining(self, orphan: Orphan, reason: str) -> RemainingOrphan:
        command = command_by_hand(
            orphan, self._contexts[orphan.region].session.endpoint_url, is_protected=orphan in self._protected
        )
        return RemainingOrphan(orphan, reason, command)


def _key(orphan: Orphan) -> tuple[str, str, str]:
    """Return the identity of a resource, independent of its state."""
    return orphan.region, orphan.kind, orphan.id


def _reportable(errors: Mapping[str, Exception]) -> dict[str, PycloudlibError]:
    """Return the errors of single lookups; raise an error that affects all of them."""
    reportable: dict[str, PycloudlibError] = {}
    for lookup_id, error in errors.items():
        if isinstance(error, CloudSetupError) or not isinstance(error, PycloudlibError):
            raise error
        reportable[lookup_id] = error
    return reportable


def _living(context: RegionContext) -> set[str] | None:
    """Return the ids of the instances that are not terminated; None after a transient error."""
    try:
        return {instance.id for instance in KINDS_BY_NAME[INSTANCE].find(context)}
    except CloudError as error:
        if error.code not in PASSING_CODES:
            raise
        return None
