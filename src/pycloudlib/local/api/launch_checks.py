"""Validation of RunInstances that moto lacks."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from pycloudlib.local.api.models.instance_types import check_architecture, describe_type
from pycloudlib.local.api.models.parameters import resolved_image_id
from pycloudlib.local.api.models.placement_groups import PlacementGroup
from pycloudlib.local.api.moto_adapter import EC2ClientError

_PRICE = re.compile(r"(?=.*[1-9])[0-9]*\.?[0-9]+")
"""A price in USD per hour, greater than 0."""

MAX_USER_DATA = 16384
"""The limit in bytes before encoding: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html"""


def check_launch(backend: Any, parameters: Mapping[str, Any]) -> None:
    """Validate the parameters of RunInstances as EC2 does.

    Args:
        backend: the records.
        parameters: the parameters of the request, by botocore's names.

    Raises:
        EC2ClientError: an image, zone, type, group, price, credit mode, user data, or instance profile is invalid.
    """
    describe_type(parameters.get("InstanceType"))
    _check_credits(parameters)
    _check_market(parameters.get("InstanceMarketOptions") or {})
    _check_image(backend, parameters)
    backend.described_key_pairs([parameters["KeyName"]] if parameters.get("KeyName") else [], [])
    _check_group_names(backend, parameters.get("SecurityGroups") or [], parameters.get("SubnetId"))
    placement = parameters.get("Placement") or {}
    _check_placement(backend, placement, _subnets(backend, parameters))
    if placement.get("GroupName"):
        _check_placement_group(backend.placement_group(placement["GroupName"]), parameters.get("InstanceType"))
    _check_user_data(parameters.get("UserData"))
    profile = parameters.get("IamInstanceProfile")
    if profile:
        backend.find_profile(profile.get("Name"), profile.get("Arn"))


def _member(parameters: Mapping[str, Any], path: str) -> Any:
    value: Any = parameters
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _subnets(backend: Any, parameters: Mapping[str, Any]) -> list[Any]:
    """Return the subnets that a launch names."""
    named = [parameters, *(parameters.get("NetworkInterfaces") or [])]
    return [backend.get_subnet(spec["SubnetId"]) for spec in named if spec.get("SubnetId")]


def _check_placement(backend: Any, placement: Mapping[str, Any], subnets: list[Any]) -> None:
    zones = {zone.name: zone.zone_id for zone in backend.describe_availability_zones()}
    zone, zone_id = placement.get("AvailabilityZone"), placement.get("AvailabilityZoneId")
    if zone and zone not in zones:
        raise EC2ClientError("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
    if zone_id and zone_id not in zones.values():
        raise EC2ClientError("InvalidParameterValue", f"Invalid availability zone-id: [{zone_id}]")
    if zone and zone_id:
        raise EC2ClientError(
            "InvalidParameterCombination",
            "The parameters availabilityZone and availabilityZoneId cannot be used together",
        )
    for subnet in subnets:
        if (zone or zone_id) not in (None, subnet.availability_zone, zones[subnet.availability_zone]):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ({zone or zone_id}) for parameter availabilityZone is invalid: the subnet '{subnet.id}' is in "
                f"{subnet.availability_zone}.",
            )


def _check_placement_group(group: PlacementGroup, instance_type: str | None) -> None:
    described = describe_type(instance_type)
    if group.strategy not in described["PlacementGroupInfo"]["SupportedStrategies"]:
        raise EC2ClientError(
            "InvalidParameterCombination",
            f"{group.strategy.capitalize()} placement groups are not supported by the '{described['InstanceType']}' "
            "instance type. Specify a supported instance type or change the placement group strategy, and try again.",
        )


def _check_image(backend: Any, parameters: Mapping[str, Any]) -> None:
    image_id = resolved_image_id(backend.account_id, backend.region_name, parameters.get("ImageId") or "")
    ami = backend.launchable_image(image_id)
    check_architecture(parameters.get("InstanceType"), str(ami.architecture))


def _check_credits(parameters: Mapping[str, Any]) -> None:
    cpu_credits = _member(parameters, "CreditSpecification.CpuCredits")
    if cpu_credits is None:
        return
    if cpu_credits not in ("standard", "unlimited"):
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{cpu_credits}' for CpuCredits.")
    instance_type = parameters.get("InstanceType")
    if not describe_type(instance_type)["BurstablePerformanceSupported"]:
        raise EC2ClientError(
            "InstanceCreditSpecification.NotSupported",
            f"The {instance_type} instance type does not support credit specifications.",
        )


def _check_market(options: Mapping[str, Any]) -> None:
    if options.get("SpotOptions") and not options.get("MarketType"):
        raise EC2ClientError("MissingParameter", "The request must contain the parameter marketType")
    price = _member(options, "SpotOptions.MaxPrice")
    if price is not None and not _PRICE.fullmatch(str(price)):
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{price}' for MaxPrice.")


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
