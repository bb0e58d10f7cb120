"""The retry policy of all calls to AWS: which calls are retried, after which errors, and how often.

docs/retries.md shows it as a table.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import botocore.exceptions as boto

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.endpoints import is_aws
from pycloudlib.tags import CREATION

THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
    }
)
"""EC2 throttled the call and did not act; the same call may succeed a moment later."""

CONNECTION_FAULT = "ConnectionFault"
"""This library's code for a connection that was lost before EC2 responded."""

UNREADABLE = "UnreadableAnswer"
"""This library's code for a response that is not EC2's; the effect of the call is unknown."""

OUTAGE_CODES = frozenset(
    {
        *("InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "Unavailable"),
        # botocore's codes for a response without a code, such as a load balancer's.
        *("500", "502", "503", "504"),
        CONNECTION_FAULT,
    }
)
"""EC2 or the connection failed for a moment; whether EC2 acted is unknown."""

PASSING_CODES = THROTTLING_CODES | OUTAGE_CODES
"""The transient errors: waits continue after them."""

NOT_YET_VISIBLE_CODES = frozenset(
    f"{kind}.NotFound"
    for kind in (
        "InvalidAllocationID",
        "InvalidAMIID",
        "InvalidGroup",
        "InvalidID",
        "InvalidInstanceID",
        "InvalidInternetGatewayID",
        "InvalidKeyPair",
        "InvalidNetworkInterfaceID",
        "InvalidRouteTableID",
        "InvalidSecurityGroupID",
        "InvalidSnapshot",
        "InvalidSubnetID",
        "InvalidVolume",
        "InvalidVpcID",
    )
)
"""EC2 is eventually consistent: the next call may not find a resource that was just created."""

NOT_YET_VISIBLE = 60.0
"""Seconds for which EC2 may not find a created resource."""

TRANSIENT_CODES = PASSING_CODES | NOT_YET_VISIBLE_CODES
"""The errors that pass by themselves while waiting for a resource that was just created."""

STILL_IN_USE_CODES = frozenset(
    {
        "DependencyViolation",
        "InvalidGroup.InUse",
        "InvalidIPAddress.InUse",
        "InvalidNetworkInterface.InUse",
        # "Network interface 'eni-...' is currently in use."
        "InvalidParameterValue",
    }
)
"""EC2's codes for a part of a network while its dependencies are still being deleted."""

JOINED_ALREADY_CODES = frozenset(
    {
        "InvalidNetworkInterface.InUse",
        "Resource.AlreadyAssociated",
        "RouteAlreadyExists",
        "VolumeInUse",
    }
)
"""EC2's codes for two parts that are already attached. For new parts: an attempt with a lost response succeeded."""

ATTEMPTS = 4
"""Attempts of every throttled or lost call; few enough that a missing endpoint is reported after some seconds."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 20.0
"""The longest first pause, and the longest later pause, in seconds. The limit doubles with each attempt."""

JITTER = 0.5
"""The maximum fraction by which to shorten a pause at random, so that clients do not retry in lockstep."""

LOOK_FOR_LOST = 5.0
"""Seconds to look for a resource after a lost response: EC2 may not show it immediately."""

REMOVED_TAGS = "pycloudlib_tags"
"""The key in a call's context of the tags that were removed from the call; see compatibility.py."""

_CREATES = re.compile(r"(Allocate|Copy|Create|Import|Register|Request|Run)[A-Z]")
_DOES_NOT_CREATE = frozenset({"CreateTags", "CreateRoute"})
"""These are idempotent, or fail if the resource exists."""


_LAST_ATTEMPT: ContextVar[Deadline | None] = ContextVar("last_attempt", default=None)


@contextmanager
def attempts_until(deadline: Deadline) -> Iterator[None]:
    """Stop retrying calls of this thread when the next attempt would start after the deadline.

    Args:
        deadline: the caller's deadline.
    """
    token = _LAST_ATTEMPT.set(deadline)
    try:
        yield
    finally:
        _LAST_ATTEMPT.reset(token)


def watch(client: Any) -> None:
    """Register this retry policy with a client, as its only one.

    Args:
        client: a boto3 client that is configured for one attempt per call.
    """
    client.meta.events.register(f"needs-retry.{client.meta.service_model.service_id.hyphenize()}", _pause_before_next)


def is_repeatable(operation: str, parameters: Mapping[str, Any], *, honors_tokens: bool = True) -> bool:
    """Return whether to retry a call whose response was lost.

    creating.py retries create calls with an idempotency tag: it looks for the resource by that tag first.

    Args:
        operation: the operation, such as "CreateVpc".
        parameters: the request's parameters, by their names on the wire.
        honors_tokens: whether the server honors client tokens; default yes.
    """
    creates = _CREATES.match(operation) and operation not in _DOES_NOT_CREATE
    if not creates:
        return True
    return honors_tokens and bool(parameters.get("ClientToken")) and CREATION not in parameters.values()


def pause(failures: int) -> float:
    """Return the seconds until the next attempt: random, between half of the limit and the limit.

    Args:
        failures: the number of failed attempts.
    """
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (failures - 1))
    return longest * (1 - JITTER * random.random())  # noqa: S311  (spreads load, hides nothing)


def _pause_before_next(
    response: Any, operation: Any, attempts: int, caught_exception: Any, request_dict: Mapping[str, Any], **_: object
) -> float | None:
    """Return the seconds after which botocore retries a call; None to give up."""
    if attempts >= ATTEMPTS:
        return None
    seconds = pause(attempts)
    deadline = _LAST_ATTEMPT.get()
    if deadline is not None and deadline.remaining <= seconds:
        return None
    if _was_not_received(response, caught_exception):
        return seconds
    if not _was_lost(response, caught_exception):
        return None
    body = request_dict.get("body")
    parameters = body if isinstance(body, dict) else {}
    is_left_to_caller = REMOVED_TAGS in request_dict.get("context", {})
    honors_tokens = is_aws(request_dict.get("url")) and not is_left_to_caller
    return seconds if is_repeatable(operation.name, parameters, honors_tokens=honors_tokens) else None


def _was_not_received(response: Any, error: Any) -> bool:
    """Return whether EC2 certainly did not act."""
    unreached = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
    return isinstance(error, unreached) or _code(response) in THROTTLING_CODES


def _was_lost(response: Any, error: Any) -> bool:
    """Return whether the response was lost, so that the effect of the call is unknown."""
    return isinstance(error, boto.HTTPClientError) or _code(response) in OUTAGE_CODES


def _code(response: Any) -> str:
    return str(response[1].get("Error", {}).get("Code", "")) if response else ""
