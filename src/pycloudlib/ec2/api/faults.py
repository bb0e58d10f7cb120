"""Translation of botocore's exceptions and EC2's error codes into this library's exceptions, in one place.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import botocore.exceptions as boto
from botocore.parsers import ResponseParserError

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.clock_skew import CLOCK_CODES, remedy_of_refused_credentials
from pycloudlib.ec2.api.retries import (
    CONNECTION_FAULT,
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
    ResourceNotFoundError,
    ThrottledError,
)
from pycloudlib.waiting import call_within

T = TypeVar("T")

LAST_RESPONSE = 2.0
"""Minimum seconds for EC2 to respond to a request, even at the deadline: with `timeout=0`, a wait polls once."""

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
"""Keyed by the part of the code before ".NotFound", ".Malformed", or ".Unavailable"."""

_ABSENT_SUFFIXES = frozenset({"NotFound", "Malformed", "Unavailable"})

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
    """Translate boto3's exceptions inside the block into this library's, chained to the original.

    Raises:
        PycloudlibError: the translated exception; see `translate()`.
    """
    try:
        yield
    except (boto.ClientError, boto.BotoCoreError, ResponseParserError) as error:
        raise translate(error) from error
    except FileNotFoundError as error:
        # botocore reads the token file of a web identity when it signs the first request.
        raise CredentialsError(f"no usable AWS credentials: there is no file {error.filename}") from error


def translating(call: Callable[[], T]) -> Callable[[], T]:
    """Wrap a boto3 call so that it raises this library's exceptions, as under `translated()`.

    Args:
        call: the boto3 call.
    """

    def translating_call() -> T:
        with translated():
            return call()

    return translating_call


def responded(call: Callable[[], T], *, what: str, deadline: Deadline) -> T:
    """Send a request to EC2, and stop waiting for the response at the deadline.

    The request may outlive its caller in its own thread, and is not retried after the deadline.

    Args:
        call: sends the request; boto3's exceptions are translated.
        what: the action for the message, such as "delete vol-0123".
        deadline: when to stop waiting; at least LAST_RESPONSE seconds from now.

    Raises:
        NoResponseError: EC2 did not respond in time.
        PycloudlibError: EC2 rejected the request; see `translate()`.
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
    """Return this library's exception for a botocore exception, with a message of one line.

    Args:
        error: a botocore ClientError, BotoCoreError, or ResponseParserError.
    """
    if isinstance(error, boto.ClientError):
        return _refusal(error)
    if isinstance(error, ResponseParserError):
        # botocore quotes the whole response, which may be a long page.
        reason = _one_line(error).split(", invalid XML received")[0]
        return CloudError(
            f"the server at the endpoint is not EC2: check endpoint_url{_or_proxy()}: {reason}", code=UNREADABLE
        )
    return _local_fault(error)


def _refusal(error: boto.ClientError) -> PycloudlibError:
    details = error.response.get("Error", {})
    code = details.get("Code", "")
    reason = _one_line(details.get("Message", "") or "no reason given")
    message = f"EC2 refused {error.operation_name}: {reason} ({code})"
    facts: dict[str, Any] = {
        "code": code,
        "operation": error.operation_name,
        "request_id": error.response.get("ResponseMetadata", {}).get("RequestId", ""),
    }
    # EC2 also returns AuthFailure for valid credentials without permission for another account's image or snapshot.
    if code == "AuthFailure" and reason.startswith("Not authorized"):
        return PermissionDeniedError(message, **facts)
    if code in CREDENTIAL_CODES:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return CredentialsError(f"{message}; {remedy_of_refused_credentials(code, reason, headers)}")
    if code.isdigit():
        # botocore's code for the HTML page of a load balancer or a proxy.
        message += f"; the response is not EC2's: check endpoint_url{_or_proxy()}"
    kind, _, suffix = code.partition(".")
    if suffix in _ABSENT_SUFFIXES:
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
        return CloudSetupError(f"unknown AWS region: {reason}")
    if isinstance(error, _CREDENTIAL_FAULTS):
        return CredentialsError(f"no usable AWS credentials: {reason}{_sso_remedy(error)}")
    if isinstance(error, boto.ProxyConnectionError):
        return CloudSetupError(_proxy_fault(error))
    if isinstance(error, (boto.EndpointConnectionError, boto.ConnectTimeoutError)):
        url = error.kwargs.get("endpoint_url", "its endpoint")
        service = "STS" if (urlsplit(url).hostname or "").startswith("sts.") else "EC2"
        return CloudSetupError(f"cannot reach {service} at {url}: check region, endpoint_url, and the network")
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


def _sso_remedy(error: Exception) -> str:
    is_sso = isinstance(error, (boto.SSOError, boto.TokenRetrievalError))
    return "; run `aws sso login` for the profile" if is_sso else ""


def _proxy_fault(error: boto.ProxyConnectionError) -> str:
    proxy = str(error.kwargs.get("proxy_url", ""))
    cause = error.kwargs.get("error")
    why = _one_line(getattr(cause, "original_error", cause)).rpartition("): ")[2]
    variables = " or ".join(_proxy_variables(proxy)) or "the environment"
    return (
        f"cannot reach EC2 through the proxy {proxy}, which {variables} names: {why}; check the proxy, "
        "or add the host of the endpoint to NO_PROXY"
    )


def _or_proxy() -> str:
    variables = " and ".join(_proxy_variables())
    return f", or the proxy in {variables}" if variables else ""


def _proxy_variables(proxy: str = "") -> list[str]:
    """Return the environment variables that name this proxy, or any proxy."""
    names = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")
    host = urlsplit(proxy).netloc.rpartition("@")[2]
    return [name for name in names if os.environ.get(name) and host in os.environ[name]]


def _resource_id(reason: str) -> str:
    match = _RESOURCE_ID.search(reason)
    return (match[1] or match[2]).strip("[]") if match else ""


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
