"""Deleting what earlier runs left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.fan_out import fan_out
from pycloudlib.ec2.api.faults import call_until_consistent
from pycloudlib.ec2.api.retries import PASSING_CODES
from pycloudlib.ec2.api.scope import Scope
from pycloudlib.ec2.sweep.deletions import ORDER, command_by_hand, delete, untie
from pycloudlib.ec2.sweep.leftovers import INSTANCE, KINDS, KINDS_BY_NAME, SECURITY_GROUP, Kind, Leftover, Selection
from pycloudlib.errors import (
    CloudError,
    CloudSetupError,
    PycloudlibError,
    PycloudlibTimeoutError,
    ResourceNotFoundError,
)
from pycloudlib.lifecycle import Ledger
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

ASKED_AT_ONCE = 8
"""Describe calls that are under way at the same time, at most: AWS counts them for the whole account."""

DELETED_AT_ONCE = 8
"""Likewise for calls that delete."""

TERMINATED_AT_ONCE = 100
"""Instances in one TerminateInstances."""

PATIENCE = 120.0
"""Seconds for what is in the way to go away, and for EC2 to notice that something is deleted."""

SHORT_PATIENCE = 5.0
"""Likewise in a VPC of which something else could not be deleted either: it would be waited for in vain."""

TERMINATION_TIMEOUT = 900.0
"""Seconds for instances to shut down."""

DRY_RUN = "dry run"

PROTECTED_CODE = "OperationNotPermitted"
"""What EC2 says of an instance with termination protection."""


@dataclass(frozen=True)
class LeftBehind:
    """A leftover that is still there.

    Args:
        leftover: which one.
        reason: why.
        by_hand: the command of the AWS command line that deletes it.
    """

    leftover: Leftover
    reason: str
    by_hand: str

    def __str__(self) -> str:
        return f"{self.leftover}: {self.reason}; by hand: {self.by_hand}"


@dataclass(frozen=True)
class SweepReport:
    """What a sweep found, and what became of it.

    Args:
        found: everything that was meant.
        deleted: what is gone.
        left: what is still there; after a dry run, all of it.
        errors: what EC2 refused to tell, so that there may be more.
        dry_run: whether nothing was to be deleted.
    """

    found: tuple[Leftover, ...] = ()
    deleted: tuple[Leftover, ...] = ()
    left: tuple[LeftBehind, ...] = ()
    errors: tuple[PycloudlibError, ...] = ()
    dry_run: bool = True

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left, as far as EC2 told."""
        return not self.left and not self.errors


@dataclass(frozen=True)
class _Question:
    scope: Scope
    kind: Kind

    @property
    def id(self) -> str:
        return f"{self.kind.name} in {self.scope.region}"

    def answer(self) -> list[Leftover]:
        return self.kind.find(self.scope)


class Sweep:
    """One search for leftovers, and their deletion.

    Args:
        scopes: the regions that are searched.
        selection: which ones are meant.
        now: the time, with its zone.
        patience: seconds for what is in the way to go away.
    """

    def __init__(
        self, scopes: Sequence[Scope], selection: Selection, now: datetime, *, patience: float = PATIENCE
    ) -> None:
        self._scopes = {scope.region: scope for scope in scopes}
        self._selection = selection
        self._now = now
        self._patience = patience
        self._reasons: dict[Leftover, str] = {}
        self._protected: set[Leftover] = set()
        self._lock = threading.Lock()

    def run(self, *, dry_run: bool) -> SweepReport:
        """Find the leftovers, and delete them unless it is a dry run. Everything is tried, whatever fails.

        Args:
            dry_run: whether they are only looked for.

        Raises:
            CloudSetupError: EC2 is out of reach, or refuses the credentials.
            KeyboardInterrupt: Ctrl-C was pressed; what was begun is finished before.
        """
        found, refused = self._find(KINDS)
        errors = tuple(refused.values())
        if dry_run or not found:
            left = [self._left_behind(one, DRY_RUN) for one in found]
            return SweepReport(tuple(found), (), tuple(left), errors, dry_run)
        self._delete(found)
        there, doubts = self._still_there(found)
        left = [self._left_behind(one, self._reasons.get(one, "EC2 still lists it")) for one in there]
        deleted = [one for one in found if one not in there]
        for one in deleted:
            self._scopes[one.region].ledger.forget(one.id)
        return SweepReport(tuple(found), tuple(deleted), tuple(left), (*errors, *doubts), dry_run)

    # Finding

    def _find(self, kinds: Iterable[Kind]) -> tuple[list[Leftover], dict[str, PycloudlibError]]:
        """What is meant, and by question what EC2 refused to tell."""
        questions = [_Question(scope, kind) for scope in self._scopes.values() for kind in kinds]
        outcome = fan_out(questions, _Question.answer, at_once=ASKED_AT_ONCE)
        refused = _reportable(outcome.errors)
        found = [one for answer in outcome.results.values() for one in answer]
        return [one for one in found if self._selection.matches(one, self._now)], refused

    def _still_there(self, found: Sequence[Leftover]) -> tuple[list[Leftover], list[PycloudlibError]]:
        """Look again: a deletion counts when EC2 lists it no more. EC2 may go on listing for a while what is gone."""
        kinds = [kind for kind in KINDS if any(one.kind == kind.name for one in found)]
        there: list[Leftover] = []
        refused: dict[str, PycloudlibError] = {}

        def is_settled() -> bool:
            nonlocal refused
            listed, refused = self._find(kinds)
            keys = {_key(one) for one in listed}
            there[:] = [one for one in found if _key(one) in keys or f"{one.kind} in {one.region}" in refused]
            return all(one in self._reasons for one in there)

        try:
            wait_until(
                is_settled,
                what="EC2 to list no more what was deleted",
                deadline=Deadline.after(self._patience),
                interval=0.5,
                max_interval=5.0,
            )
        except PycloudlibTimeoutError as error:
            logger.debug("%s", error)
        return there, list(refused.values())

    # Deleting

    def _delete(self, found: Sequence[Leftover]) -> None:
        plan = Ledger()
        for region, scope in self._scopes.items():
            instances = [one for one in found if one.region == region and one.kind == INSTANCE]
            if instances:
                terminate = partial(self._terminate_all, scope, instances)
                plan.record(INSTANCE, f"instances in {region}", terminate, order=ORDER[INSTANCE])
        for one in found:
            if one.kind != INSTANCE:
                plan.record(one.kind, f"{one.region} {one.id}", partial(self._try, one, found), order=ORDER[one.kind])
            if one.kind == SECURITY_GROUP:
                # All of them before the first one is deleted.
                plan.record(one.kind, f"rules of {one.id}", partial(self._untie, one), order=ORDER[one.kind] + 1)
        for error in plan.undo_all(max_workers=DELETED_AT_ONCE):
            # What EC2 refuses is noted by itself: this is something else.
            raise error

    def _terminate_all(self, scope: Scope, instances: Sequence[Leftover]) -> None:
        for start in range(0, len(instances), TERMINATED_AT_ONCE):
            self._terminate(scope, instances[start : start + TERMINATED_AT_ONCE])
        ending = [one for one in instances if one not in self._reasons]
        if not ending:
            return
        left: set[str] = {one.id for one in ending}

        def ended() -> bool:
            living = _living(scope)
            if living is not None:
                left.intersection_update(living)
            return not left

        try:
            wait_until(
                ended,
                what="the instances to be terminated",
                deadline=Deadline.after(TERMINATION_TIMEOUT),
                interval=0.5,
                max_interval=5.0,
            )
        except PycloudlibError as error:
            for one in ending:
                if one.id in left:
                    self._note(one, f"it was told to terminate, but {error}")

    def _terminate(self, scope: Scope, instances: Sequence[Leftover]) -> None:
        call = partial(scope.client.terminate_instances, InstanceIds=[one.id for one in instances])
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
                # One that is protected must not keep the others alive.
                for one in instances:
                    self._terminate(scope, [one])
                return
            if isinstance(error, CloudError) and error.code == PROTECTED_CODE:
                self._protected.add(instances[0])
            if not isinstance(error, ResourceNotFoundError):
                self._note(instances[0], str(error))

    def _try(self, leftover: Leftover, found: Sequence[Leftover]) -> None:
        reason = self._why_it_stays(leftover, found)
        if reason:
            self._note(leftover, reason)
            return
        try:
            delete(self._scopes[leftover.region], leftover, Deadline.after(self._patience_for(leftover)))
        except ResourceNotFoundError as error:
            # Whether that is true, the second look will tell.
            logger.debug("%s: %s", leftover, error)
        except PycloudlibError as error:
            self._note(leftover, str(error))

    def _untie(self, leftover: Leftover) -> None:
        try:
            untie(self._scopes[leftover.region], leftover)
        except PycloudlibError as error:
            # If that is in the way, its deletion will say so.
            logger.debug("%s keeps its rules: %s", leftover, error)

    def _patience_for(self, leftover: Leftover) -> float:
        with self._lock:
            occupied = {one.vpc_id for one in self._reasons if one.vpc_id}
        return min(self._patience, SHORT_PATIENCE) if leftover.vpc_id in occupied else self._patience

    def _why_it_stays(self, leftover: Leftover, found: Sequence[Leftover]) -> str:
        """What is attached to an instance is not taken from it: it goes when the instance does."""
        if not leftover.instance_id:
            return ""
        instance = next((one for one in found if one.kind == INSTANCE and one.id == leftover.instance_id), None)
        if instance is None:
            return f"the instance {leftover.instance_id} uses it, which is not among what is to be deleted"
        if instance in self._reasons:
            return f"the instance {leftover.instance_id} uses it, which could not be deleted"
        return ""

    def _note(self, leftover: Leftover, reason: str) -> None:
        logger.info("could not delete the %s: %s", leftover, reason)
        with self._lock:
            self._reasons[leftover] = reason

    def _left_behind(self, leftover: Leftover, reason: str) -> LeftBehind:
        command = command_by_hand(
            leftover, self._scopes[leftover.region].session.endpoint_url, is_protected=leftover in self._protected
        )
        return LeftBehind(leftover, reason, command)


def _key(leftover: Leftover) -> tuple[str, str, str]:
    """What makes it the same one at a second look, whatever its state is then."""
    return leftover.region, leftover.kind, leftover.id


def _reportable(errors: Mapping[str, Exception]) -> dict[str, PycloudlibError]:
    """What keeps one question from being answered; what keeps all of them from it is raised instead."""
    reportable: dict[str, PycloudlibError] = {}
    for question, error in errors.items():
        if isinstance(error, CloudSetupError) or not isinstance(error, PycloudlibError):
            raise error
        reportable[question] = error
    return reportable


def _living(scope: Scope) -> set[str] | None:
    """The instances that are not terminated; None while EC2 cannot tell for a moment."""
    try:
        return {one.id for one in KINDS_BY_NAME[INSTANCE].find(scope)}
    except CloudError as error:
        if error.code not in PASSING_CODES:
            raise
        return None
