"""What EC2 refuses of a launch, and moto does not."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from moto.ec2.exceptions import EC2ClientError

MAX_USER_DATA = 16384
"""Bytes, before they are encoded: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html"""


def check_launch(backend: Any, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters of RunInstances that EC2 would refuse.

    Args:
        backend: the records.
        parameters: the request's, by botocore's names.

    Raises:
        EC2ClientError: a zone, group or user data is none.
    """
    _check_zone(backend, (parameters.get("Placement") or {}).get("AvailabilityZone"))
    _check_group_names(backend, parameters.get("SecurityGroups") or [], parameters.get("SubnetId"))
    _check_user_data(parameters.get("UserData"))


def _check_zone(backend: Any, zone: str | None) -> None:
    if zone and zone not in {one.name for one in backend.describe_availability_zones()}:
        raise EC2ClientError("InvalidParameterValue", f"Invalid availability zone: [{zone}]")


def _check_group_names(backend: Any, names: list[str], subnet_id: str | None) -> None:
    if names and subnet_id:
        raise EC2ClientError(
            "InvalidParameterCombination", "The parameter groupName cannot be used with the parameter subnet"
        )
    if names:
        backend.describe_security_groups(groupnames=names)


def _check_user_data(user_data: Any) -> None:
    try:
        decoded = base64.b64decode(str(user_data or ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise EC2ClientError("InvalidParameterValue", "Invalid BASE64 encoding of user data") from error
    if len(decoded) > MAX_USER_DATA:
        raise EC2ClientError("InvalidParameterValue", f"User data is limited to {MAX_USER_DATA} bytes")
