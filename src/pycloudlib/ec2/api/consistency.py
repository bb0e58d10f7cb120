"""Calls that tolerate EC2's eventual consistency.

EC2 may not find a resource that was just created, and cannot delete a resource until its dependencies are deleted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection
from typing import TypeVar

from botocore.exceptions import ClientError

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import NEVER, responded
from pycloudlib.ec2.api.retries import (
    JITTER,
    JOINED_ALREADY_CODES,
    NOT_YET_VISIBLE,
    NOT_YET_VISIBLE_CODES,
    PASSING_CODES,
    STILL_IN_USE_CODES,
)
from pycloudlib.errors import CloudError, NoResponseError, PycloudlibTimeoutError, ResourceNotFoundError
from pycloudlib.waiting import wait_until

T = TypeVar("T")

logger = logging.getLogger(__name__)


def call_until_consistent(
    call: Callable[[], T],
    *,
    what: str,
    codes: Collection[str] = NOT_YET_VISIBLE_CODES,
    always: Collection[str] = PASSING_CODES,
    deadline: Deadline = NEVER,
    patience: float = NOT_YET_VISIBLE,
    is_hopeless: Callable[[CloudError], bool] = lambda _: False,
) -> T:
    """Make a call on a recently created resource, and retry until EC2 is consistent.

    Args:
        call: sends the request; boto3's exceptions are translated.
        what: the action for the message, such as "tag i-0123".
        codes: the transient AWS error codes of this call; default NOT_YET_VISIBLE_CODES.
        always: further transient codes; default PASSING_CODES. A create call, which must not be repeated after a
            lost response, needs THROTTLING_CODES.
        deadline: when to stop waiting, even if EC2 has not responded; default never.
        patience: maximum seconds to retry; default 60.
        is_hopeless: whether an error is permanent despite its code; called once for each error; default never.

    Returns:
        The result of the call.

    Raises:
        CloudError: EC2's last transient error, if it did not pass in time; any other error immediately.
        NoResponseError: EC2 did not respond by the deadline.
    """
    refusals: list[CloudError] = []

    def attempt() -> tuple[T] | None:
        try:
            return (responded(call, what=what, deadline=deadline),)
        except CloudError as error:
            if (error.code not in codes and error.code not in always) or is_hopeless(error):
                raise
            refusals.append(error)
            return None

    try:
        return wait_until(
            attempt, what=what, deadline=deadline.at_most(patience), interval=0.5, max_interval=3.0, jitter=JITTER
        )[0]
    except PycloudlibTimeoutError as error:
        if isinstance(error, NoResponseError) or not refusals:
            raise
        raise refusals[-1] from None


def ignore_already_attached(call: Callable[[], T]) -> Callable[[], T | None]:
    """Wrap a call that attaches new parts, such as a volume to an instance, so that it ignores "already attached".

    Nothing else uses new parts, so an earlier attempt with a lost response must have succeeded.

    Args:
        call: the boto3 call.

    Returns:
        The wrapped call, which returns None if the parts are already attached.
    """

    def joining_call() -> T | None:
        try:
            return call()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in JOINED_ALREADY_CODES:
                raise
            logger.debug("already done by an earlier attempt: %s", error)
            return None

    return joining_call


def when_free(
    call: Callable[[], object],
    *,
    what: str,
    deadline: Deadline,
    patience: float = math.inf,
    is_hopeless: Callable[[CloudError], bool] = lambda _: False,
) -> None:
    """Make a call that deletes or detaches a part, and retry while it is in use. No-op if it is deleted.

    Args:
        call: the boto3 call.
        what: the action for the message.
        deadline: when to give up.
        patience: maximum seconds to retry; default until the deadline.
        is_hopeless: whether the part remains in use; called after each error; default never.

    Raises:
        CloudError: EC2's last transient error, if it did not pass in time; any other error immediately.
        NoResponseError: EC2 did not respond by the deadline.
    """
    try:
        call_until_consistent(
            call, what=what, codes=STILL_IN_USE_CODES, deadline=deadline, patience=patience, is_hopeless=is_hopeless
        )
    except ResourceNotFoundError as error:
        logger.debug("no need to %s: %s", what, error)
