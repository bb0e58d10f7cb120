"""What EC2 and botocore refuse, translated into this library's errors at one door.

The codes are those of https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

import botocore.exceptions as boto
from botocore.parsers import ResponseParserError

from pycloudlib.ec2.api.retries import (
    CONNECTION_FAULT,
    JITTER,
    NOT_YET_VISIBLE_CODES,
    PASSING_CODES,
    THROTTLING_CODES,
    UNREADABLE,
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
    PermissionDeniedError,
    PycloudlibError,
    PycloudlibTimeoutError,
    ResourceNotFoundError,
    ThrottledError,
)
from pycloudlib.waiting import SYSTEM_CLOCK, Clock, wait_until

T = TypeVar("T")

CREDENTIAL_CODES = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurityToken",
        "MissingAuthenticationToken",
        "RequestExpired",
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
        return CloudError(f"what answers at the endpoint is not EC2, so check endpoint_url: {reason}", code=UNREADABLE)
    return _local_fault(error)


def call_until_consistent(
    call: Callable[[], T],
    *,
    what: str,
    codes: Collection[str] = NOT_YET_VISIBLE_CODES,
    always: Collection[str] = PASSING_CODES,
    timeout: float = 30.0,
    clock: Clock = SYSTEM_CLOCK,
) -> T:
    """Make a call about something just created, again as long as EC2 does not know it yet.

    Args:
        call: the call; it raises this library's errors.
        what: what the call does, as in "tag i-0123"; for the message.
        codes: the AWS codes that pass by themselves; default NOT_YET_VISIBLE_CODES.
        always: those that pass too; default PASSING_CODES, which are too many for a call that must not be made twice.
        timeout: seconds; default 30.
        clock: what tells the time; default the real time.

    Returns:
        What the call gives back.

    Raises:
        CloudError: EC2's last answer, if it did not change in time, and every other one at once.
    """
    refusals: list[CloudError] = []

    def attempt() -> tuple[T] | None:
        try:
            return (call(),)
        except CloudError as error:
            if error.code not in codes and error.code not in always:
                raise
            refusals.append(error)
            return None

    try:
        return wait_until(
            attempt, what=what, timeout=timeout, interval=0.5, max_interval=3.0, jitter=JITTER, clock=clock
        )[0]
    except PycloudlibTimeoutError:
        raise refusals[-1] from None


def _refusal(error: boto.ClientError) -> PycloudlibError:
    told = error.response.get("Error", {})
    code = told.get("Code", "")
    reason = _one_line(told.get("Message", "") or "no reason given")
    message = f"EC2 refused {error.operation_name}: {reason} ({code})"
    facts = {
        "code": code,
        "operation": error.operation_name,
        "request_id": error.response.get("ResponseMetadata", {}).get("RequestId", ""),
    }
    # EC2 says AuthFailure also to a valid account that may not use somebody else's image or snapshot.
    if code == "AuthFailure" and reason.startswith("Not authorized"):
        return PermissionDeniedError(message, **facts)
    if code in CREDENTIAL_CODES:
        return CredentialsError(
            f"{message}; check access_key_id, secret_access_key and session_token, or the profile that they come from"
        )
    kind, _, absence = code.partition(".")
    if absence in _ABSENCES:
        not_found = _NOT_FOUND.get(kind, ResourceNotFoundError)
        return not_found(message, resource_id=_resource_id(reason), **facts)
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


def _resource_id(reason: str) -> str:
    found = _RESOURCE_ID.search(reason)
    return (found[1] or found[2]).strip("[]") if found else ""


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
