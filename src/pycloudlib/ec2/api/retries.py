"""Which calls are made again, after which answers, and how often: the one policy, for every call to AWS.

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
"""EC2 received too many calls and did nothing; the same call may be accepted a moment later."""

CONNECTION_FAULT = "ConnectionFault"
"""This library's own code, for a connection that was lost before EC2 answered."""

UNREADABLE = "UnreadableAnswer"
"""This library's own code, for an answer that is none of EC2's; what the call did, nobody knows."""

OUTAGE_CODES = frozenset(
    {
        *("InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "Unavailable"),
        # What botocore says of an answer without a code, as from a load balancer.
        *("500", "502", "503", "504"),
        CONNECTION_FAULT,
    }
)
"""EC2, or the way to it, failed for a moment. Nobody knows whether EC2 acted."""

PASSING_CODES = THROTTLING_CODES | OUTAGE_CODES
"""Whoever waits for something goes on waiting when a question about it ends in one of these."""

NOT_YET_VISIBLE_CODES = frozenset({"InvalidInstanceID.NotFound", "InvalidKeyPair.NotFound"})
"""EC2 is eventually consistent: right after its creation a resource may be unknown to the next call."""

NOT_YET_KNOWN_CODES = frozenset(
    {
        "InvalidAllocationID.NotFound",
        "InvalidGroup.NotFound",
        "InvalidInstanceID.NotFound",
        "InvalidInternetGatewayID.NotFound",
        "InvalidNetworkInterfaceID.NotFound",
        "InvalidRouteTableID.NotFound",
        "InvalidSecurityGroupID.NotFound",
        "InvalidSubnetID.NotFound",
        "InvalidVpcID.NotFound",
    }
)
"""What EC2 may say of a part of a network that it created a moment ago."""

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
"""What EC2 says of a part while something that hangs on it goes away."""

JOINED_ALREADY_CODES = frozenset(
    {
        "InvalidNetworkInterface.InUse",
        "Resource.AlreadyAssociated",
        "RouteAlreadyExists",
        "VolumeInUse",
    }
)
"""What EC2 says when two parts that were to be joined are; of new parts: an attempt whose answer was lost was heard."""

ATTEMPTS = 4
"""Of every call that EC2 throttles or that is lost; so an endpoint that is not there is reported after some seconds."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 20.0
"""Seconds before the second attempt, at most, and before any later one; each pause may be twice as long as the last."""

JITTER = 0.5
"""By which part a pause may be shorter, by chance, so that those who failed together do not come back together."""

LOOK_FOR_LOST = 5.0
"""Seconds for which EC2 is asked whether it made what it gave no answer about: it may not show it at once."""

TAGS_KEPT = "pycloudlib_tags"
"""The key under which the context of a call keeps tags that were left out of it; see degrading.py."""

_CREATES = re.compile(r"(Allocate|Copy|Create|Import|Register|Request|Run)[A-Z]")
_DOES_NOT_CREATE = frozenset({"CreateTags", "CreateRoute"})
"""These give the same answer when they are made twice, or say that it is there already."""


_LAST_ATTEMPT: ContextVar[Deadline | None] = ContextVar("last_attempt", default=None)


@contextmanager
def attempts_until(deadline: Deadline) -> Iterator[None]:
    """Repeat no call of this thread when the deadline would pass before the next attempt.

    Args:
        deadline: the caller's deadline.
    """
    token = _LAST_ATTEMPT.set(deadline)
    try:
        yield
    finally:
        _LAST_ATTEMPT.reset(token)


def watch(client: Any) -> None:
    """Let a client make its calls again by this policy, and by no other one.

    Args:
        client: a boto3 client that was made with one attempt for each call.
    """
    client.meta.events.register(f"needs-retry.{client.meta.service_model.service_id.hyphenize()}", _pause_before_next)


def is_repeatable(operation: str, parameters: Mapping[str, Any], *, honors_tokens: bool = True) -> bool:
    """Tell whether to make a call again when its response was lost.

    A create call that carries an idempotency tag is left to creating.py, which finds the resource by that tag first.

    Args:
        operation: such as "CreateVpc".
        parameters: the request's, by their names on the wire.
        honors_tokens: whether the server honors client tokens; default yes.
    """
    creates = _CREATES.match(operation) and operation not in _DOES_NOT_CREATE
    if not creates:
        return True
    return honors_tokens and bool(parameters.get("ClientToken")) and CREATION not in parameters.values()


def pause(failures: int) -> float:
    """Seconds until a call is made again, by chance between half of the longest and the longest.

    Args:
        failures: how often it failed.
    """
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (failures - 1))
    return longest * (1 - JITTER * random.random())  # noqa: S311  (spreads load, hides nothing)


def _pause_before_next(
    response: Any, operation: Any, attempts: int, caught_exception: Any, request_dict: Mapping[str, Any], **_: object
) -> float | None:
    """Tell botocore after how many seconds it makes a call again; None for not at all."""
    if attempts >= ATTEMPTS:
        return None
    seconds = pause(attempts)
    deadline = _LAST_ATTEMPT.get()
    if deadline is not None and deadline.remaining <= seconds:
        return None
    if _was_not_heard(response, caught_exception):
        return seconds
    if not _was_lost(response, caught_exception):
        return None
    body = request_dict.get("body")
    parameters = body if isinstance(body, dict) else {}
    is_left_to_caller = TAGS_KEPT in request_dict.get("context", {})
    honors_tokens = is_aws(request_dict.get("url")) and not is_left_to_caller
    return seconds if is_repeatable(operation.name, parameters, honors_tokens=honors_tokens) else None


def _was_not_heard(response: Any, error: Any) -> bool:
    """Whether EC2 certainly did nothing."""
    unreached = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
    return isinstance(error, unreached) or _code(response) in THROTTLING_CODES


def _was_lost(response: Any, error: Any) -> bool:
    """Whether nobody knows what EC2 did."""
    return isinstance(error, boto.HTTPClientError) or _code(response) in OUTAGE_CODES


def _code(response: Any) -> str:
    return str(response[1].get("Error", {}).get("Code", "")) if response else ""
