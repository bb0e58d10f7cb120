"""From settings to boto3: the session, the client and the resource of one EC2 endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError

import pycloudlib
from pycloudlib.config import Settings
from pycloudlib.ec2.faults import NO_CREDENTIALS, NO_REGION, translated
from pycloudlib.errors import CloudSetupError, CredentialsError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client, EC2ServiceResource

ATTEMPTS = 4
"""Of every call that EC2 throttles or that is lost; so an endpoint that is not there is reported after some 4 s."""

POOL_SIZE = 50
"""Connections kept to the endpoint: as many threads may make calls at once without opening new ones."""


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

    @cached_property
    def resource(self) -> EC2ServiceResource:
        """The boto3 service resource, made when it is first asked for since it loads slowly."""
        with translated():
            resource: EC2ServiceResource = self.boto3_session.resource("ec2", **_arguments(self.endpoint_url))
            return resource


def open_session(settings: Settings) -> Session:
    """Make the boto3 client that the settings describe. What they leave open, boto3's own chain decides.

    No call is made yet: credentials that AWS refuses are noticed by the first one.

    Args:
        settings: region, profile, credentials and endpoint are used.

    Raises:
        CloudSetupError: no region, no such region, or no valid endpoint URL.
        CredentialsError: no credentials anywhere, or no such profile.
    """
    with translated():
        session = boto3.Session(
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
        client = _client(session, settings.endpoint_url)
    return Session(session.region_name, session, client, settings.endpoint_url)


def _client(session: boto3.Session, endpoint_url: str | None) -> EC2Client:
    try:
        client: EC2Client = session.client("ec2", **_arguments(endpoint_url))
    except ValueError as error:
        if isinstance(error, BotoCoreError):
            raise
        # botocore's own check of the URL raises a bare ValueError.
        raise CloudSetupError(f"endpoint_url {endpoint_url!r} is no URL, such as http://127.0.0.1:4566") from error
    client.meta.events.register("after-call.ec2", _refuse_foreign_answer)
    return client


def _refuse_foreign_answer(parsed: Mapping[str, Any], **_: object) -> None:
    """Refuse a page that happens to be XML; EC2's answers hold a request id at least, and botocore does not look."""
    if set(parsed) == {"ResponseMetadata"} and not parsed["ResponseMetadata"].get("RequestId"):
        raise ResponseParserError("the answer holds nothing that EC2 would say")


def _arguments(endpoint_url: str | None) -> dict[str, Any]:
    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        tcp_keepalive=True,
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=POOL_SIZE,
        user_agent_extra=f"pycloudlib-ec2/{pycloudlib.__version__}",
    )
    return {"endpoint_url": endpoint_url, "config": config}
