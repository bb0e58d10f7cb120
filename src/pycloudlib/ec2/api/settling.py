"""Calls about network parts that EC2 does not know yet, or does not let go yet.

A part that was just created may be unknown to the next call, and one that something else still hangs on cannot be
deleted until that is gone.
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
"""Seconds for which EC2 may not know what it created."""


def when_known(
    call: Callable[[], T],
    *,
    what: str,
    deadline: Deadline = NEVER,
    patience: float = NOT_YET_KNOWN,
    creates: bool = False,
) -> T:
    """Make a call about what was just created, again as long as EC2 does not know it yet.

    Args:
        call: the call of boto3.
        what: what the call does, for the message.
        deadline: when the caller's call must end; default never.
        patience: seconds for EC2 to know it, at most; default 60.
        creates: whether it must not be made again when nobody knows whether EC2 acted on it; default no.

    Raises:
        CloudError: EC2's last answer, if it did not change in time, and every other one at once.
        NoResponseError: EC2 did not respond by the deadline.
    """
    always = THROTTLING_CODES if creates else PASSING_CODES
    return call_until_consistent(
        call, what=what, codes=NOT_YET_KNOWN_CODES, always=always, deadline=deadline, patience=patience
    )


def unless_joined(call: Callable[[], T]) -> Callable[[], T | None]:
    """Let a call that joins new parts, such as a volume and an instance, succeed when they are joined already.

    Nobody else knows them, so an attempt whose answer was lost must have done it.

    Args:
        call: the call of boto3.

    Returns:
        The call, which then gives None.
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
    """Make a call that deletes or detaches something, again as long as it is in use. No-op if it is gone.

    Args:
        call: the call of boto3.
        what: what the call does, for the message.
        deadline: when to give up.
        patience: seconds for it to become free, at most; default until the deadline.
        is_hopeless: whether it stays in use; asked after each refusal; default never.

    Raises:
        CloudError: EC2's last answer, if it did not change in time, and every other one at once.
        NoResponseError: EC2 did not respond by the deadline.
    """
    try:
        call_until_consistent(
            call, what=what, codes=STILL_IN_USE_CODES, deadline=deadline, patience=patience, is_hopeless=is_hopeless
        )
    except ResourceNotFoundError as error:
        logger.debug("to %s: nothing to do: %s", what, error)
