"""Create calls, made so that a lost response leaves no resource that nobody knows of.

Few of EC2's create calls take a client token, and some servers ignore it. All of them take tags, so each call has an
idempotency tag of its own. When the response is lost, find the resource by that tag before making the call again.
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
"""Seconds for all attempts together; usually retries.ATTEMPTS ends them first."""


def _whole(record: Record) -> Record:
    """Return the record itself."""
    return record


@dataclass(frozen=True)
class Creation:
    """A create call, and how to find what it created.

    Args:
        kind: the kind of resource, in words for the user: "subnet".
        id_key: the member of a record that holds the id: "SubnetId".
        order: see UndoOrder.
        call: makes the call, given its idempotency tag, and returns the record of each created resource.
        find: returns the records that match the parameter Filters of a Describe call.
        delete: deletes one, given its record.
        count: how many resources one call creates, at most; default 1.
        begin_deletion: begins to delete several at once, given their records, so that each delete() only waits;
            default none.
        abridged: returns the part of a record that delete() needs. The ledger keeps it as long as the resource;
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
    abridged: Callable[[Record], Record] = _whole


def create(ledger: Ledger, creation: Creation, deadline: Deadline = NEVER) -> Record:
    """Create one resource, and record it. See create_several()."""
    return create_several(ledger, creation, deadline)[0]


def create_several(ledger: Ledger, creation: Creation, deadline: Deadline = NEVER) -> Sequence[Record]:
    """Create the resources of one call, and record them.

    The call itself is recorded before it is made. So clean() finds what it created, even if the process is interrupted
    in the middle of the call, or EC2 is unreachable for a while afterwards.

    Args:
        ledger: where to record them.
        creation: the call.
        deadline: when to stop waiting. A call that outlives it still records what it creates. Default never.

    Returns:
        EC2's record of each, from its response, or as found after the response was lost.

    Raises:
        IllegalStateError: clean() is running in another thread, or the `with` block of the EC2 object has ended.
        CloudError: EC2 refused, or did not respond to several attempts.
        NoResponseError: EC2 did not respond by the deadline.
    """
    attempts = _Attempts(ledger, creation)
    try:
        return wait_until(
            # The whole attempt, so that what a late response brings is recorded too.
            lambda: responded(attempts.make, what=f"create the {creation.kind}", deadline=deadline),
            what=f"EC2 to answer about a new {creation.kind}",
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
    """The attempts of one create call. All have the same idempotency tag, which is the client token too."""

    def __init__(self, ledger: Ledger, creation: Creation) -> None:
        self.lost: list[CloudError] = []
        self._ledger = ledger
        self._creation = creation
        self._tag = uuid.uuid4().hex
        self._recorded: set[str] = set()

    def make(self) -> Sequence[Record] | None:
        """Make an attempt; None if the response was lost and another attempt is due."""
        kind = f"{self._creation.kind} that may have been made"
        with self._ledger.creating(kind, self._tag, self._delete_unrecorded, order=self._creation.order) as call:
            try:
                made = self._response()
            except CloudError as error:
                if error.code not in OUTAGE_CODES or len(self.lost) >= retries.ATTEMPTS:
                    raise
                return None
            self._recorded |= {record[self._creation.id_key] for record in made}
            # After a lost response, the tag may show more resources later.
            call.created(map(self._entry, made), keep_call=bool(self.lost))
            return made

    def _response(self) -> Sequence[Record]:
        try:
            with translated():
                return self._creation.call(self._tag)
        except CloudError as error:
            if error.code in OUTAGE_CODES:
                self.lost.append(error)
                return self._found_after(error)
            if error.code != UNREADABLE and not self.lost:
                # EC2 refused every attempt, so there is nothing to delete.
                self._ledger.forget(self._tag)
            raise
        except PycloudlibError:
            # Refused before it left this machine. After any other error the call stays recorded.
            if not self.lost:
                self._ledger.forget(self._tag)
            raise

    def _found_after(self, lost: CloudError) -> Sequence[Record]:
        logger.warning("EC2 did not respond about a new %s, so look for it: %s", self._creation.kind, lost)
        found = _tagged(self._creation, self._tag)
        if not found:
            raise lost
        return found

    def _entry(self, record: Record) -> Entry:
        delete = partial(self._creation.delete, self._creation.abridged(record))
        return Entry(self._creation.kind, record[self._creation.id_key], delete, self._creation.order)

    def _delete_unrecorded(self) -> None:
        """Record what has the tag, except for what was recorded before, and let the clean-up that calls this go on.

        The clean-up deletes resources in parallel, and names each one that it cannot delete.
        """
        found = _tagged(self._creation, self._tag, raises=True)
        unrecorded = [record for record in found if record[self._creation.id_key] not in self._recorded]
        for record in unrecorded:
            entry = self._entry(record)
            logger.info("deleting %s %s, of which the response was lost", entry.kind, entry.resource_id)
            self._ledger.record(entry.kind, entry.resource_id, entry.undo, order=entry.order)
            self._recorded.add(entry.resource_id)
        if unrecorded and self._creation.begin_deletion is not None:
            self._creation.begin_deletion(unrecorded)


def _tagged(creation: Creation, tag: str, *, raises: bool = False) -> Sequence[Record]:
    """Return what a call created, as soon as EC2 shows all of it; what there is when the time is over.

    Args:
        creation: the call.
        tag: its idempotency tag.
        raises: whether to raise EC2's refusal or failure to tell; default no, it counts as nothing found.
    """
    refusals: list[PycloudlibError] = []
    found: Sequence[Record] = ()
    deadline = Deadline.after(retries.LOOK_FOR_LOST)

    def look() -> bool:
        nonlocal found
        refusals.clear()
        filters = [{"Name": f"tag:{CREATION}", "Values": [tag]}]
        try:
            found = responded(lambda: creation.find(filters), what=f"find the {creation.kind}", deadline=deadline)
        except NoResponseError as error:
            refusals.append(error)
        except CloudError as error:
            refusals.append(error)
            if error.code not in PASSING_CODES:
                raise
        return len(found) >= creation.count

    try:
        wait_until(
            look,
            what=f"EC2 to show a new {creation.kind}",
            deadline=deadline,
            interval=0.5,
            max_interval=2.0,
            jitter=retries.JITTER,
        )
    except (PycloudlibTimeoutError, CloudError):
        if raises and refusals:
            raise refusals[-1] from None
    return found
