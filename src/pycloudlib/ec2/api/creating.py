"""Calls that create something, made so that a lost answer leaves nothing that nobody knows of.

EC2 takes a client token in few of them. In all of them it takes tags, so each call has a tag of its own; when the
answer is lost, what came of it is looked for by that tag before the call is made again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pycloudlib.ec2.api import retries
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.retries import OUTAGE_CODES, PASSING_CODES, UNREADABLE
from pycloudlib.errors import CloudError, PycloudlibError, PycloudlibTimeoutError
from pycloudlib.lifecycle import Ledger, UndoOrder
from pycloudlib.tags import CREATION
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

Record = Mapping[str, Any]

PATIENCE = 600.0
"""Seconds for all attempts together; the number of them is what usually counts."""


@dataclass(frozen=True)
class Creation:
    """A call that creates something, and how what came of it is found.

    Args:
        kind: of what, in words for the user: "subnet".
        id_key: where a record says which one it is: "SubnetId".
        order: see UndoOrder.
        call: makes the call, given its mark, and gives the record of what was made.
        find: gives the records that match the parameter Filters of a Describe call.
        delete: deletes one, given its record.
        has_token: whether the call takes its mark as a client token too, and so is repeated by the policy already.
    """

    kind: str
    id_key: str
    order: UndoOrder
    call: Callable[[str], Sequence[Record]]
    find: Callable[[Any], Sequence[Record]]
    delete: Callable[[Record], object]
    has_token: bool = False


def create(ledger: Ledger, creation: Creation) -> Record:
    """Create one thing, and record it. See create_several()."""
    return create_several(ledger, creation)[0]


def create_several(ledger: Ledger, creation: Creation) -> Sequence[Record]:
    """Create what one call creates, and record it.

    Before the call is made it is recorded that something may come of it; so clean() finds that, even when the process
    is interrupted in the middle of the call, and when EC2 is out of reach for a while afterwards.

    Args:
        ledger: where it is recorded.
        creation: what.

    Returns:
        EC2's record of each, from its answer, or as found after the answer was lost.

    Raises:
        CloudError: EC2 refused, or gave no answer to several attempts.
    """
    lost: list[CloudError] = []

    def attempt() -> Sequence[Record] | None:
        try:
            return _attempt(ledger, creation)
        except CloudError as error:
            lost.append(error)
            if error.code not in OUTAGE_CODES or creation.has_token or len(lost) >= retries.ATTEMPTS:
                raise
            return None

    interval, most = retries.FIRST_PAUSE, retries.LONGEST_PAUSE
    what = f"EC2 to answer about a new {creation.kind}"
    try:
        return wait_until(
            attempt, what=what, timeout=PATIENCE, interval=interval, max_interval=most, jitter=retries.JITTER
        )
    except PycloudlibTimeoutError:
        raise lost[-1] from None


def _attempt(ledger: Ledger, creation: Creation) -> Sequence[Record]:
    mark = uuid.uuid4().hex
    undo = partial(_delete_marked, creation, mark)
    ledger.record(f"{creation.kind} that may have been made", mark, undo, order=creation.order)
    try:
        with translated():
            made = creation.call(mark)
    except CloudError as error:
        if error.code == UNREADABLE:
            # It stays recorded, in case that something was made.
            raise
        if error.code not in OUTAGE_CODES:
            # EC2 said no, so there is nothing.
            ledger.forget(mark)
            raise
        logger.warning("EC2 gave no answer about a new %s, so it is looked for: %s", creation.kind, error)
        found = _marked_after_a_while(creation, mark)
        if not found:
            raise
        made = found
    except PycloudlibError:
        # It was refused before it left this machine. Any other error may have come of the answer, so it stays recorded.
        ledger.forget(mark)
        raise
    for record in made:
        delete = partial(creation.delete, record)
        ledger.record(creation.kind, record[creation.id_key], delete, order=creation.order)
    ledger.forget(mark)
    return made


def _delete_marked(creation: Creation, mark: str) -> list[Exception]:
    errors: list[Exception] = []
    for record in _marked_after_a_while(creation, mark, raises=True):
        logger.info("deleting %s %s, which EC2 never told of", creation.kind, record[creation.id_key])
        outcome = creation.delete(record)
        errors += outcome if isinstance(outcome, list) else []
    return errors


def _marked_after_a_while(creation: Creation, mark: str, *, raises: bool = False) -> Sequence[Record]:
    """What a call created, as soon as EC2 shows it; nothing when it shows nothing.

    Args:
        creation: the call.
        mark: its mark.
        raises: whether an EC2 that does not tell is an error; otherwise it is taken for "nothing to be seen".
    """
    refusals: list[CloudError] = []

    def look() -> Sequence[Record] | None:
        refusals.clear()
        try:
            with translated():
                return creation.find([{"Name": f"tag:{CREATION}", "Values": [mark]}])
        except CloudError as error:
            refusals.append(error)
            if error.code not in PASSING_CODES:
                raise
            return None

    try:
        return wait_until(
            look,
            what=f"EC2 to show a new {creation.kind}",
            timeout=retries.LOOK_FOR_LOST,
            interval=0.5,
            max_interval=2.0,
            jitter=retries.JITTER,
        )
    except (PycloudlibTimeoutError, CloudError):
        if raises and refusals:
            raise refusals[-1] from None
        return ()
