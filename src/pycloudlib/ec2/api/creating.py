"""Create calls whose resources are found even if the response is lost.

Few of EC2's create calls take a client token, and some servers ignore it. All of them take tags, so each call has its
own idempotency tag. If the response is lost, find the resource by that tag before repeating the call.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api import retries
from pycloudlib.ec2.api.faults import NEVER, responded, translated
from pycloudlib.ec2.api.retries import OUTAGE_CODES, PASSING_CODES, UNREADABLE
from pycloudlib.errors import CloudError, NoResponseError, PycloudlibError, PycloudlibTimeoutError
from pycloudlib.lifecycle import Entry, Ledger, UndoOrder
from pycloudlib.tags import CREATION
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

Record = Mapping[str, Any]

PATIENCE = 600.0
"""Seconds for all attempts together; retries.ATTEMPTS usually ends them earlier."""


def _unabridged(record: Record) -> Record:
    """Return the record itself."""
    return record


@dataclass(frozen=True)
class CreateRequest:
    """A create call, and how to find its resources.

    Args:
        kind: the kind of resource in messages: "subnet".
        id_key: the member of a record that holds the id: "SubnetId".
        order: the deletion order; see UndoOrder.
        call: makes the call with an idempotency tag, and returns the record of each created resource.
        find: returns the records that match the parameter Filters of a Describe call.
        delete: deletes one resource, given its record.
        count: the maximum number of resources that one call creates; default 1.
        begin_deletion: starts the deletion of several resources, given their records, so that each `delete` only waits;
            default none.
        abridged: returns the part of a record that `delete` needs. The ledger keeps this part until the deletion;
            default the whole record.
    """

    kind: str
    id_key: str
    order: UndoOrder
    call: Callable[[str], Sequence[Record]]
    find: Callable[[Any], Sequence[Record]]
    delete: Callable[[Record], object]
    count: int = 1
    begin_deletion: Callable[[Sequence[Record]], object] | None = None
    abridged: Callable[[Record], Record] = _unabridged


def create(ledger: Ledger, request: CreateRequest, deadline: Deadline = NEVER) -> Record:
    """Create one resource, and record it. See `create_several()`."""
    return create_several(ledger, request, deadline)[0]


def create_several(ledger: Ledger, request: CreateRequest, deadline: Deadline = NEVER) -> Sequence[Record]:
    """Create the resources of one call, and record them.

    Record the call itself before making it. So `clean()` finds its resources, even if the process is interrupted during
    the call, or EC2 is unreachable for a while afterward.

    Args:
        ledger: the ledger that records the resources.
        request: the call.
        deadline: when to stop waiting; default never. A call that outlives the deadline still records its resources.

    Returns:
        EC2's record of each resource: from the response, or found after a lost response.

    Raises:
        IllegalStateError: clean() is running in another thread, or the `with` block of the EC2 object has ended.
        CloudError: EC2 rejected the request, or did not respond to several attempts.
        NoResponseError: EC2 did not respond by the deadline.
    """
    attempts = _Attempts(ledger, request)
    try:
        return wait_until(
            # Bound the whole attempt, so that the resources of a late response are also recorded.
            lambda: responded(attempts.make, what=f"create the {request.kind}", deadline=deadline),
            what=f"EC2 to answer about a new {request.kind}",
            deadline=deadline.at_most(PATIENCE),
            interval=retries.FIRST_PAUSE,
            max_interval=retries.LONGEST_PAUSE,
            jitter=retries.JITTER,
        )
    except PycloudlibTimeoutError as error:
        if isinstance(error, NoResponseError) or not attempts.lost:
            raise
        raise attempts.lost[-1] from None


class _Attempts:
    """The attempts of one create call. All use the same idempotency tag, which is also the client token."""

    def __init__(self, ledger: Ledger, request: CreateRequest) -> None:
        self.lost: list[CloudError] = []
        self._ledger = ledger
        self._request = request
        self._tag = uuid.uuid4().hex
        self._recorded: set[str] = set()

    def make(self) -> Sequence[Record] | None:
        """Make an attempt. Return None if the response was lost and another attempt is due."""
        kind = f"{self._request.kind} that may have been made"
        with self._ledger.creating(kind, self._tag, self._delete_unrecorded, order=self._request.order) as call:
            try:
                records = self._response()
            except CloudError as error:
                if error.code not in OUTAGE_CODES or len(self.lost) >= retries.ATTEMPTS:
                    raise
                return None
            self._recorded |= {record[self._request.id_key] for record in records}
            # After a lost response, the tag may show more resources later.
            call.created(map(self._entry, records), keep_call=bool(self.lost))
            return records

    def _response(self) -> Sequence[Record]:
        try:
            with translated():
                return self._request.call(self._tag)
        except CloudError as error:
            if error.code in OUTAGE_CODES:
                self.lost.append(error)
                return self._found_after(error)
            if error.code != UNREADABLE and not self.lost:
                # EC2 rejected every attempt, so there is nothing to delete.
                self._ledger.forget(self._tag)
            raise
        except PycloudlibError:
            # The request never left this machine. After any other error, keep the call recorded.
            if not self.lost:
                self._ledger.forget(self._tag)
            raise

    def _found_after(self, lost: CloudError) -> Sequence[Record]:
        logger.warning("EC2 did not respond about a new %s, so look for it: %s", self._request.kind, lost)
        records = _tagged(self._request, self._tag)
        if not records:
            raise lost
        return records

    def _entry(self, record: Record) -> Entry:
        delete = partial(self._request.delete, self._request.abridged(record))
        return Entry(self._request.kind, record[self._request.id_key], delete, self._request.order)

    def _delete_unrecorded(self) -> None:
        """Record the tagged resources that are not recorded yet, for the calling cleanup to delete.

        The cleanup deletes resources in parallel, and reports each one that it cannot delete.
        """
        records = _tagged(self._request, self._tag, raises=True)
        unrecorded = [record for record in records if record[self._request.id_key] not in self._recorded]
        for record in unrecorded:
            entry = self._entry(record)
            logger.info("deleting %s %s, whose create response was lost", entry.kind, entry.resource_id)
            self._ledger.record(entry.kind, entry.resource_id, entry.undo, order=entry.order)
            self._recorded.add(entry.resource_id)
        if unrecorded and self._request.begin_deletion is not None:
            self._request.begin_deletion(unrecorded)


def _tagged(request: CreateRequest, tag: str, *, raises: bool = False) -> Sequence[Record]:
    """Return the resources of a call as soon as EC2 shows all of them, or those it shows by the time limit.

    Args:
        request: the call.
        tag: its idempotency tag.
        raises: whether to raise EC2's last error. By default, an error means that no resource was found.
    """
    refusals: list[PycloudlibError] = []
    records: Sequence[Record] = ()
    deadline = Deadline.after(retries.LOOK_FOR_LOST)

    def poll() -> bool:
        nonlocal records
        refusals.clear()
        filters = [{"Name": f"tag:{CREATION}", "Values": [tag]}]
        try:
            records = responded(lambda: request.find(filters), what=f"find the {request.kind}", deadline=deadline)
        except NoResponseError as error:
            refusals.append(error)
        except CloudError as error:
            refusals.append(error)
            if error.code not in PASSING_CODES:
                raise
        return len(records) >= request.count

    try:
        wait_until(
            poll,
            what=f"EC2 to show a new {request.kind}",
            deadline=deadline,
            interval=0.5,
            max_interval=2.0,
            jitter=retries.JITTER,
        )
    except (PycloudlibTimeoutError, CloudError):
        if raises and refusals:
            raise refusals[-1] from None
    return records
