"""The services beside EC2: clients, and the trust policy of roles."""

from __future__ import annotations

import json
from typing import Any

import boto3
from botocore.config import Config

from pycloudlib.local import LocalEC2

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)


def connect(local: LocalEC2, service: str, **credentials: str) -> Any:
    """A client of a service, which sends what it is given without validating it."""
    known = {"aws_access_key_id": local.access_key_id, "aws_secret_access_key": local.secret_access_key}
    return boto3.client(
        service,
        endpoint_url=local.endpoint_url,
        region_name=local.region,
        config=Config(retries={"max_attempts": 1}, parameter_validation=False),
        **{**known, **credentials},
    )
