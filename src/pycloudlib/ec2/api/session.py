"""From settings to boto3: the session, the client and the resource of one EC2 endpoint."""

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
from pycloudlib.ec2.api.degrading import Degrading
from pycloudlib.ec2.api.endpoints import endpoint_in, is_aws
from pycloudlib.ec2.api.faults import NO_CREDENTIALS, NO_REGION, translated
from pycloudlib.errors import CloudSetupError, CredentialsError
from pycloudlib.setting_values import is_loopback

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client, EC2ServiceResource

READ_TIMEOUT = 60
"""Seconds for an answer of EC2, after which it counts as lost."""

POOL_SIZE = 50
"""Connections kept to the endpoint: as many threads may make calls at once without opening new ones."""

_MAKING_A_CLIENT = threading.Lock()
"""A boto3 session must not make two clients at once, and all sessions have the same models."""


@dataclass(frozen=True)
class Session:
    """An open boto3 session, and what is made of it.

    Args:
        region: the region's name, such as "eu-central-1".
        boto3_session: the boto3 session.
        client: its EC2 client.
        endpoint_url: another endpoint than AWS's own; None for AWS's.
    """

    region: str
    boto3_session: boto3.Session
    client: EC2Client
    endpoint_url: str | None = None

    @property
    def credentials_origin(self) -> str:
        """Where boto3 has the credentials from, in its words: "explicit", "env", "sso", "iam-role", ..."""
        credentials = self.boto3_session.get_credentials()
        return str(credentials.method) if credentials else ""

    @cached_property
    def resource(self) -> EC2ServiceResource:
        """The boto3 service resource, made when it is first asked for since it loads slowly."""
        with translated():
            resource: EC2ServiceResource = self.boto3_session.resource("ec2", **_arguments(self.endpoint_url))
        _watch(resource.meta.client, self.endpoint_url)
        return resource

    def client_of(self, service: str, region: str) -> Any:
        """Make a boto3 client of another service or region, with the same credentials and endpoint.

        Args:
            service: as boto3 names it: "ec2", "sns", ...
            region: such as "eu-central-1".

        Raises:
            CloudSetupError: no such region.
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
    """Make the boto3 client that the settings describe. What they leave open, boto3's own chain decides.

    No call is made yet: credentials that AWS refuses are noticed by the first one.

    Args:
        settings: region, profile, credentials and endpoint are used.

    Raises:
        CloudSetupError: no region, no such region, or no valid endpoint URL.
        CredentialsError: no credentials anywhere, or no such profile.
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
                # The profile names an endpoint, which boto3 tells only now.
                endpoint_url = client.meta.endpoint_url
                client = _client(session, endpoint_url)
    return Session(session.region_name, session, client, endpoint_url)


@cache
def _models_in(data_path: str | None) -> Loader:
    """What reads botocore's descriptions of services; it keeps them, as EC2's is four megabytes of JSON."""
    return create_loader(data_path)


def _keep_secrets_out_of_logs() -> None:
    """Hold back what botocore and boto3 log of each request, which has session tokens and user data in it.

    Otherwise they would be in every log in which somebody turned everything on. Who sets the level of these loggers
    himself gets what he asks for.
    """
    for name in ("botocore", "boto3"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)


def _client(session: boto3.Session, endpoint_url: str | None) -> EC2Client:
    try:
        client: EC2Client = session.client("ec2", **_arguments(endpoint_url))
    except ValueError as error:
        if isinstance(error, BotoCoreError):
            raise
        # botocore's own check of the URL raises a bare ValueError.
        raise CloudSetupError(f"endpoint_url {endpoint_url!r} is no URL, such as http://127.0.0.1:4566") from error
    _watch(client, endpoint_url)
    return client


def _watch(client: EC2Client, endpoint_url: str | None) -> None:
    """Make a client heed what speaks EC2's API without being AWS, and what does not even do that."""
    client.meta.events.register("after-call.ec2", _refuse_foreign_answer)
    if not is_aws(endpoint_url):
        Degrading(client)
    retries.watch(client)


def _refuse_foreign_answer(parsed: Mapping[str, Any], **_: object) -> None:
    """Refuse a page that happens to be XML; EC2's answers hold a request id at least, and botocore does not look."""
    if set(parsed) == {"ResponseMetadata"} and not parsed["ResponseMetadata"].get("RequestId"):
        raise ResponseParserError("the answer holds nothing that EC2 would say")


def _arguments(endpoint_url: str | None) -> dict[str, Any]:
    config = Config(
        # HTTP_PROXY is meant for other hosts: a proxy cannot reach this computer's loopback. An empty mapping is none;
        # None is what the environment says.
        proxies={} if is_loopback(endpoint_url) else None,
        # When a call is made again, api/retries.py decides, and not botocore.
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
        connect_timeout=10,
        read_timeout=READ_TIMEOUT,
        max_pool_connections=POOL_SIZE,
        user_agent_extra=f"pycloudlib-ec2/{pycloudlib.__version__}",
    )
    return {"endpoint_url": endpoint_url, "config": config}
