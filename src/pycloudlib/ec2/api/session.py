"""The boto3 session, client, and resource of one EC2 endpoint, created from the settings."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.session import get_session

import pycloudlib
from pycloudlib.config import Settings
from pycloudlib.ec2.api import retries
from pycloudlib.ec2.api.compatibility import CompatibilityShim
from pycloudlib.ec2.api.endpoints import endpoint_in, is_aws
from pycloudlib.ec2.api.faults import NO_CREDENTIALS, NO_REGION, translated
from pycloudlib.errors import CloudSetupError, CredentialsError
from pycloudlib.setting_values import is_loopback

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client, EC2ServiceResource

READ_TIMEOUT = 60
"""Seconds for EC2 to respond, after which the response counts as lost."""

POOL_SIZE = 50
"""Pooled connections to the endpoint: this many threads can make calls without opening new connections."""

_MAKING_A_CLIENT = threading.Lock()
"""boto3 cannot create two clients at the same time, and all sessions share their service models."""


@dataclass(frozen=True)
class Session:
    """An open boto3 session, with its clients.

    Args:
        region: the region, such as "eu-central-1".
        boto3_session: the boto3 session.
        client: the session's EC2 client.
        endpoint_url: the URL of an endpoint other than AWS's; default AWS's own.
    """

    region: str
    boto3_session: boto3.Session
    client: EC2Client
    endpoint_url: str | None = None

    @property
    def credentials_origin(self) -> str:
        """The origin of the credentials, as boto3 names it: "explicit", "env", "sso", "iam-role", ..."""
        credentials = self.boto3_session.get_credentials()
        return str(credentials.method) if credentials else ""

    @cached_property
    def resource(self) -> EC2ServiceResource:
        """The boto3 service resource, created on first use since it loads slowly."""
        with translated():
            resource: EC2ServiceResource = self.boto3_session.resource("ec2", **_arguments(self.endpoint_url))
        _watch(resource.meta.client, self.endpoint_url)
        return resource

    def client_of(self, service: str, region: str) -> Any:
        """Create a boto3 client of another service or region, with the same credentials and endpoint.

        Args:
            service: the service, as boto3 names it: "ec2", "sns", ...
            region: the region, such as "eu-central-1".

        Raises:
            CloudSetupError: the region does not exist.
        """
        endpoint_url = self.endpoint_url
        if service == "ec2":
            endpoint_url = endpoint_in(region, here=self.region, endpoint_url=endpoint_url)
        elif is_aws(endpoint_url):
            endpoint_url = None
        with translated(), _MAKING_A_CLIENT:
            client: Any = self.boto3_session.client(service, region_name=region, **_arguments(endpoint_url))  # type: ignore[call-overload]
        if service == "ec2":
            _watch(client, endpoint_url)
        else:
            retries.watch(client)
        return client


def open_session(settings: Settings) -> Session:
    """Create the boto3 client that the settings describe. boto3's own chain supplies the missing settings.

    No call is made yet: the first call reports rejected credentials.

    Args:
        settings: the settings, of which region, profile, credentials, and endpoint are used.

    Raises:
        CloudSetupError: the region is missing or does not exist, or the endpoint URL is invalid.
        CredentialsError: there are no credentials, or the profile does not exist.
    """
    _keep_secrets_out_of_logs()
    with translated():
        core = get_session()
        session = boto3.Session(
            botocore_session=core,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            aws_session_token=settings.session_token,
            region_name=settings.region,
            profile_name=settings.profile,
        )
        if session.region_name is None:
            raise CloudSetupError(NO_REGION)
        if session.get_credentials() is None:
            raise CredentialsError(NO_CREDENTIALS)
        core.register_component("data_loader", _models_in(core.get_config_variable("data_path")))
        with _MAKING_A_CLIENT:
            client = _client(session, settings.endpoint_url)
            endpoint_url = settings.endpoint_url
            if not is_aws(client.meta.endpoint_url) and endpoint_url is None:
                # The profile sets an endpoint, which boto3 reveals only now.
                endpoint_url = client.meta.endpoint_url
                client = _client(session, endpoint_url)
    return Session(session.region_name, session, client, endpoint_url)


@cache
def _models_in(data_path: str | None) -> Loader:
    """Return the cached loader of botocore's service models; EC2's model is four megabytes of JSON."""
    return create_loader(data_path)


def _keep_secrets_out_of_logs() -> None:
    """Suppress the debug logs of botocore and boto3, whose requests contain session tokens and user data.

    Otherwise a root logger at DEBUG would record them. An explicit level of these loggers is respected.
    """
    for name in ("botocore", "boto3"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))


def _client(session: boto3.Session, endpoint_url: str | None) -> EC2Client:
    try:
        client: EC2Client = session.client("ec2", **_arguments(endpoint_url))
    except ValueError as error:
        if isinstance(error, BotoCoreError):
            raise
        # botocore's URL check raises a bare ValueError.
        raise CloudSetupError(f"endpoint_url {endpoint_url!r} is not a URL such as http://127.0.0.1:4566") from error
    _watch(client, endpoint_url)
    return client


def _watch(client: EC2Client, endpoint_url: str | None) -> None:
    """Register the handlers for endpoints other than AWS's, for foreign responses, and for retries."""
    client.meta.events.register("after-call.ec2", _reject_foreign_response)
    if not is_aws(endpoint_url):
        CompatibilityShim(client)
    retries.watch(client)


def _reject_foreign_response(parsed: Mapping[str, Any], **_: object) -> None:
    """Reject an arbitrary XML page, which botocore accepts. EC2's responses contain at least a request id."""
    if set(parsed) == {"ResponseMetadata"} and not parsed["ResponseMetadata"].get("RequestId"):
        raise ResponseParserError("the response has no request id")


def _arguments(endpoint_url: str | None) -> dict[str, Any]:
    config = Config(
        # HTTP_PROXY does not apply to the loopback interface. An empty mapping disables proxies; None uses the
        # environment.
        proxies={} if is_loopback(endpoint_url) else None,
        # api/retries.py decides about retries, not botocore.
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
        connect_timeout=10,
        read_timeout=READ_TIMEOUT,
        max_pool_connections=POOL_SIZE,
        user_agent_extra=f"pycloudlib-ec2/{pycloudlib.__version__}",
    )
    return {"endpoint_url": endpoint_url, "config": config}
