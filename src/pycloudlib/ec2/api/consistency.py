"""Calls that tolerate EC2's eventual consistency for parts of a network.

EC2 may not find a part that was just created, and cannot delete a part until its dependencies are deleted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import NEVER, call_until_consistent
from pycloudlib.ec2.api.retries import (
    JOINED_ALREADY_CODES,
    NOT_YET_KNOWN_CODES,
    PASSING_CODES,
    STILL_IN_USE_CODES,
    THROTTLING_CODES,
)
from pycloudlib.errors import CloudError, ResourceNotFoundError

T = TypeVar("T")

logger = logging.getLogger(__name__)

NOT_YET_KNOWN = 60.0
"""Seconds for which EC2 may return NotFound for a created resource."""


def when_known(
    call: Callable[[], T],
    *,
    what: str,
    deadline: Deadline = NEVER,
    patience: float = NOT_YET_KNOWN,
    creates: bool = False,
) -> T:
    """Make a call on a recently created resource, and retry while EC2 returns NotFound.

    Args:
        call: the boto3 call.
        what: the action for the message.
        deadline: when to stop waiting; default never.
        patience: maximum seconds to retry; default 60.
        creates: whether not to repeat the call after a lost response; default no.

    Raises:
        CloudError: EC2's last transient error, if it did not pass in time; any other error immediately.
        NoResponseError: EC2 did not respond by the deadline.
    """
    always = THROTTLING_CODES if creates else PASSING_CODES
    return call_until_consistent(
        call, what=what, codes=NOT_YET_KNOWN_CODES, always=always, deadline=deadline, patience=patience
    )


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
            logger.debug("done by an attempt before: %s", error)
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
        logger.debug("to %s: nothing to do: %s", what, error)
