"""What EC2 and botocore refuse, translated into this library's errors at one door.

The codes are those of https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import botocore.exceptions as boto
from botocore.parsers import ResponseParserError

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.clock_skew import CLOCK_CODES, remedy_of_refused_credentials
from pycloudlib.ec2.api.retries import (
    CONNECTION_FAULT,
    JITTER,
    NOT_YET_VISIBLE_CODES,
    PASSING_CODES,
    THROTTLING_CODES,
    UNREADABLE,
    attempts_until,
)
from pycloudlib.errors import (
    CapacityError,
    CloudError,
    CloudSetupError,
    CredentialsError,
    IllegalStateError,
    ImageNotFoundError,
    InstanceNotFoundError,
    InvalidArgumentError,
    KeyPairNotFoundError,
    NetworkNotFoundError,
    NoResponseError,
    PermissionDeniedError,
    PycloudlibError,
    PycloudlibTimeoutError,
    ResourceNotFoundError,
    ThrottledError,
)
from pycloudlib.waiting import call_within, wait_until

T = TypeVar("T")

LAST_RESPONSE = 5.0
"""Seconds that EC2 gets at least to respond to a request, also at the deadline."""

NEVER = Deadline.never()

CREDENTIAL_CODES = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurityToken",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        *CLOCK_CODES,
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)

_NOT_FOUND: dict[str, type[ResourceNotFoundError]] = {
    "InvalidAMIID": ImageNotFoundError,
    "InvalidInstanceID": InstanceNotFoundError,
    "InvalidKeyPair": KeyPairNotFoundError,
    "InvalidNetworkInterfaceID": NetworkNotFoundError,
    "InvalidSubnetID": NetworkNotFoundError,
    "InvalidVpcID": NetworkNotFoundError,
}
"""By what stands before ".NotFound", ".Malformed" or ".Unavailable"."""

_ABSENCES = frozenset({"NotFound", "Malformed", "Unavailable"})

_BY_CODE: dict[str, type[CloudError]] = {
    **dict.fromkeys(THROTTLING_CODES, ThrottledError),
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException", "Blocked", "OptInRequired", "PendingVerification"),
        PermissionDeniedError,
    ),
    "UnauthorizedOperation": PermissionDeniedError,
    **dict.fromkeys(
        (
            "DependencyViolation",
            "IncorrectInstanceState",
            "IncorrectSpotRequestState",
            "IncorrectState",
            "InvalidState",
            "OperationNotPermitted",
            "ResourceInUse",
            "UnsupportedHibernationConfiguration",
            "VolumeInUse",
        ),
        IllegalStateError,
    ),
    **dict.fromkeys(
        (
            "InsufficientAddressCapacity",
            "InsufficientCapacity",
            "InsufficientCapacityOnHost",
            "InsufficientFreeAddressesInSubnet",
            "InsufficientHostCapacity",
            "InsufficientInstanceCapacity",
            "InsufficientReservedInstanceCapacity",
            "InsufficientVolumeCapacity",
            "MaxSpotInstanceCountExceeded",
        ),
        CapacityError,
    ),
}

_RESOURCE_ID = re.compile(r"'([^']+)'|\b([a-z]{1,8}-[0-9a-f]{8,17})\b")


@contextmanager
def translated() -> Iterator[None]:
    """Let no foreign error out: what boto3 raises inside becomes this library's own, the original chained to it.

    Raises:
        PycloudlibError: what `translate` makes of it.
    """
    try:
        yield
    except (boto.ClientError, boto.BotoCoreError, ResponseParserError) as error:
        raise translate(error) from error


def translating(call: Callable[[], T]) -> Callable[[], T]:
    """Let a call of boto3 raise this library's errors, as under translated().

    Args:
        call: the call of boto3.
    """

    def translating_call() -> T:
        with translated():
            return call()

    return translating_call


def responded(call: Callable[[], T], *, what: str, deadline: Deadline) -> T:
    """Make a request to EC2, and stop waiting for the response at the deadline.

    The request may outlive its caller, in a thread of its own, where it is not repeated after the deadline.

    Args:
        call: makes the request; boto3's errors are translated.
        what: what the request does, as in "delete vol-0123"; for the message.
        deadline: when to stop waiting; EC2 gets LAST_RESPONSE seconds in any case.

    Raises:
        NoResponseError: EC2 did not respond in time.
        PycloudlibError: what `translate` makes of a refusal.
    """
    request = translating(call)
    if deadline.timeout is None:
        return request()
    patience = deadline.at_least(LAST_RESPONSE)

    def bounded() -> T:
        with attempts_until(patience):
            return request()

    unanswered = NoResponseError(
        f"EC2 did not respond within {patience.seconds:g} s to the request to {what}",
        what=f"EC2 to {what}",
        seconds=patience.seconds,
    )
    return call_within(bounded, what=what, deadline=patience, late=unanswered)


def translate(error: Exception) -> PycloudlibError:
    """Say what a botocore error means, in one line.

    Args:
        error: a botocore ClientError, BotoCoreError or ResponseParserError.
    """
    if isinstance(error, boto.ClientError):
        return _refusal(error)
    if isinstance(error, ResponseParserError):
        # botocore quotes the whole answer, which may be a long page.
        reason = _one_line(error).split(", invalid XML received")[0]
        return CloudError(
            f"what answers at the endpoint is not EC2, so check endpoint_url{_or_proxy()}: {reason}", code=UNREADABLE
        )
    return _local_fault(error)


def call_until_consistent(
    call: Callable[[], T],
    *,
    what: str,
    codes: Collection[str] = NOT_YET_VISIBLE_CODES,
    always: Collection[str] = PASSING_CODES,
    deadline: Deadline = NEVER,
    patience: float = 30.0,
    is_hopeless: Callable[[CloudError], bool] = lambda _: False,
) -> T:
    """Make a call about something just created, again as long as EC2 does not know it yet.

    Args:
        call: makes the request; boto3's errors are translated.
        what: what the call does, as in "tag i-0123"; for the message.
        codes: the AWS codes that pass by themselves; default NOT_YET_VISIBLE_CODES.
        always: those that pass too; default PASSING_CODES, which are too many for a call that must not be made twice.
        deadline: when the caller's call must end, even if EC2 has not responded by then; default never.
        patience: seconds for EC2 to change its answer, at most; default 30.
        is_hopeless: whether a refusal, despite its code, will not pass; asked once for each; default never.

    Returns:
        What the call gives back.

    Raises:
        CloudError: EC2's last answer, if it did not change in time, and every other one at once.
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


def _refusal(error: boto.ClientError) -> PycloudlibError:
    told = error.response.get("Error", {})
    code = told.get("Code", "")
    reason = _one_line(told.get("Message", "") or "no reason given")
    message = f"EC2 refused {error.operation_name}: {reason} ({code})"
    facts: dict[str, Any] = {
        "code": code,
        "operation": error.operation_name,
        "request_id": error.response.get("ResponseMetadata", {}).get("RequestId", ""),
    }
    # EC2 says AuthFailure also to a valid account that may not use somebody else's image or snapshot.
    if code == "AuthFailure" and reason.startswith("Not authorized"):
        return PermissionDeniedError(message, **facts)
    if code in CREDENTIAL_CODES:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return CredentialsError(f"{message}; {remedy_of_refused_credentials(code, reason, headers)}")
    if code.isdigit():
        # botocore makes this of a page of a load balancer or a proxy.
        message += f"; the answer is not EC2's: check endpoint_url{_or_proxy()}"
    kind, _, absence = code.partition(".")
    if absence in _ABSENCES:
        not_found = _NOT_FOUND.get(kind, ResourceNotFoundError)
        return not_found(resource_id=_resource_id(reason), message=message, **facts)
    return _class_of(code)(message, **facts)


def _class_of(code: str) -> type[CloudError]:
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code.endswith("LimitExceeded"):
        return CapacityError
    if code.endswith((".InUse", ".IncorrectState")):
        return IllegalStateError
    return CloudError


def _local_fault(error: Exception) -> PycloudlibError:
    reason = _one_line(error)
    setup_fault = _setup_fault(error, reason)
    if setup_fault is not None:
        return setup_fault
    if isinstance(error, boto.ParamValidationError):
        return InvalidArgumentError(reason)
    if isinstance(error, boto.HTTPClientError):
        return CloudError(f"the connection to EC2 failed: {reason}", code=CONNECTION_FAULT)
    return CloudError(reason)


def _setup_fault(error: Exception, reason: str) -> CloudSetupError | None:
    if isinstance(error, boto.NoRegionError):
        return CloudSetupError(NO_REGION)
    if isinstance(error, boto.InvalidRegionError):
        return CloudSetupError(f"there is no such AWS region: {reason}")
    if isinstance(error, _CREDENTIAL_FAULTS):
        return CredentialsError(f"no usable AWS credentials: {reason}")
    if isinstance(error, boto.ProxyConnectionError):
        return CloudSetupError(_proxy_fault(error))
    if isinstance(error, (boto.EndpointConnectionError, boto.ConnectTimeoutError)):
        url = error.kwargs.get("endpoint_url", "its endpoint")
        return CloudSetupError(
            f"cannot reach EC2 at {url}: check region and endpoint_url, and the network between here and there"
        )
    return None


NO_REGION = (
    "no AWS region: set region in [ec2] of the settings file, or AWS_REGION, or a region in the profile; "
    "or pass region= to EC2(), or --region"
)

NO_CREDENTIALS = (
    "no AWS credentials: set access_key_id and secret_access_key, or profile, in [ec2] of the settings file; "
    "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or run `aws configure`"
)

_CREDENTIAL_FAULTS = (
    boto.NoCredentialsError,
    boto.ProfileNotFound,
    boto.CredentialRetrievalError,
    boto.PartialCredentialsError,
    boto.SSOError,
    boto.TokenRetrievalError,
    boto.RefreshWithMFAUnsupportedError,
    boto.InvalidConfigError,
)


def _proxy_fault(error: boto.ProxyConnectionError) -> str:
    proxy = str(error.kwargs.get("proxy_url", ""))
    cause = error.kwargs.get("error")
    why = _one_line(getattr(cause, "original_error", cause)).rpartition("): ")[2]
    variables = " or ".join(_proxy_variables(proxy)) or "the environment"
    return (
        f"cannot reach EC2 through the proxy {proxy}, which {variables} names: {why}; check the proxy, "
        "or name the host of the endpoint in NO_PROXY"
    )


def _or_proxy() -> str:
    variables = " and ".join(_proxy_variables())
    return f", or the proxy that {variables} names" if variables else ""


def _proxy_variables(proxy: str = "") -> list[str]:
    """The variables that name a proxy: this one, or any."""
    names = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")
    host = urlsplit(proxy).netloc.rpartition("@")[2]
    return [name for name in names if os.environ.get(name) and host in os.environ[name]]


def _resource_id(reason: str) -> str:
    found = _RESOURCE_ID.search(reason)
    return (found[1] or found[2]).strip("[]") if found else ""


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
