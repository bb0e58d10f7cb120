"""The request of RunInstances: the caller's parameters, merged with the library's.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.validate import ParamValidator

from pycloudlib.ec2.instances.run_network import network_parameters
from pycloudlib.errors import InvalidArgumentError
from pycloudlib.tags import CREATION, Ownership, tag_specifications

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from pycloudlib.ec2.images.description import ImageDescription

logger = logging.getLogger(__name__)

DEFAULT_INSTANCE_TYPE = "t3.micro"

OWN_PARAMETERS = {
    "ImageId": "image_id",
    "MinCount": "no count: launch() launches one instance, and launch_many() takes count and min_count",
    "MaxCount": "no count: launch() launches one instance, and launch_many() takes count and min_count",
}
"""The parameters that launch() rejects, with the argument to use instead."""

OWN_SPELLINGS = {"InstanceType": "instance_type", "UserData": "user_data"}
"""RunInstances' spelling of launch()'s own arguments. Existing suites use both."""

SPELLINGS = {"SecurityGroupsIds": "SecurityGroupIds"}
"""Misspelled names in existing suites, with the correct names."""

TAGGED = ("instance", "volume", "network-interface")
"""The resources that RunInstances creates and tags."""

MAX_DISK_GB = 16384
LARGE_DISK_GB = 65536
LARGE_VOLUME_TYPES = frozenset({"gp3", "io2"})
"""The types that support LARGE_DISK_GB. See https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html"""

MAX_COUNT = 1000
"""Instances in one call; an account's own quota is lower for most types."""


@dataclass(frozen=True)
class RunRequest:
    """A launch (RunInstances).

    Args:
        image: the image.
        instance_type: the instance type, such as "t3.micro".
        name: the tag "Name".
        user_data: the user data for cloud-init; default none.
        disk_size_gb: the size of the root volume in GiB; default 15.
        enable_ipv6: whether to enable the metadata service over IPv6 too; default no.
        more: the caller's parameters of RunInstances; default none.
        network: the parameters of the VPC, over which the caller's take precedence; default none.
        count: the number of instances; default 1.
        min_count: the minimum number of instances, or else none is launched; default all.
    """

    image: ImageDescription
    instance_type: str
    name: str
    user_data: str | bytes | None = field(default=None, repr=False)
    disk_size_gb: int = 15
    enable_ipv6: bool = False
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)
    network: Mapping[str, Any] = field(default_factory=dict, repr=False)
    count: int = 1
    min_count: int | None = None

    def parameters(self, ownership: Ownership) -> dict[str, Any]:
        """Return the parameters of the call, without an idempotency token.

        Args:
            ownership: the tags of created resources.

        Raises:
            InvalidArgumentError: a tag is invalid, or uses one of this library's keys.
        """
        request: dict[str, Any] = {
            "ImageId": self.image.image_id,
            "InstanceType": self.instance_type,
            "MinCount": self.count if self.min_count is None else self.min_count,
            "MaxCount": self.count,
            "TagSpecifications": _tags(self.more.get("TagSpecifications", ()), ownership, self.name),
        }
        devices = _devices(self.more.get("BlockDeviceMappings", ()), self.image, self.disk_size_gb)
        metadata = _metadata_options(self.more.get("MetadataOptions", {}), enable_ipv6=self.enable_ipv6)
        optional = {"UserData": self.user_data, "BlockDeviceMappings": devices, "MetadataOptions": metadata}
        callers = network_parameters(self.more, self.network)
        return request | {**callers, "TagSpecifications": request["TagSpecifications"]} | _given(optional)


def with_idempotency_token(parameters: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Return the parameters of RunInstances for one call.

    Args:
        parameters: the result of `RunRequest.parameters()`.
        token: the client token, which is also the idempotency tag of created resources.
    """
    tag = {"Key": CREATION, "Value": token}
    tagged = [
        {**specification, "Tags": [*specification["Tags"], tag]} for specification in parameters["TagSpecifications"]
    ]
    return {"ClientToken": token, **parameters, "TagSpecifications": tagged}


def with_own_spellings(instance_type: object, user_data: object, more: Mapping[str, Any]) -> dict[str, Any]:
    """Move RunInstances' spelling of launch()'s own arguments to these arguments.

    Args:
        instance_type: the argument of launch(); None if absent.
        user_data: the argument of launch(); None if absent.
        more: the caller's parameters of RunInstances.

    Returns:
        The fields `instance_type`, `user_data`, and `parameters` of LaunchOptions.

    Raises:
        InvalidArgumentError: an argument is given in both spellings.
    """
    arguments = {"instance_type": instance_type, "user_data": user_data}
    for spelling, name in OWN_SPELLINGS.items():
        if more.get(spelling) is None:
            continue
        if arguments[name] is not None:
            raise InvalidArgumentError(f"launch() takes {name} or {spelling}, not both")
        arguments[name] = more[spelling]
    return {**arguments, "parameters": {name: value for name, value in more.items() if name not in OWN_SPELLINGS}}


def checked_parameters(client: EC2Client, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the caller's parameters, and correct known misspellings.

    Args:
        client: the boto3 EC2 client, which knows the parameters of RunInstances.
        parameters: the extra keyword arguments of launch().

    Returns:
        The corrected parameters.

    Raises:
        InvalidArgumentError: a parameter is unknown (the message suggests the closest), belongs to another argument, or
            has an invalid form.
    """
    shape: Any = client.meta.service_model.operation_model("RunInstances").input_shape
    members = shape.members
    corrected = {SPELLINGS.get(name, name): value for name, value in parameters.items()}
    for name in corrected:
        if name in OWN_PARAMETERS:
            raise InvalidArgumentError(f"launch() takes no {name}; it takes {OWN_PARAMETERS[name]}")
        if name not in members:
            nearest = difflib.get_close_matches(name, members, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise InvalidArgumentError(f"RunInstances has no parameter {name!r}{hint}")
    report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **corrected}, shape)
    if report.has_errors():
        reasons = "; ".join(report.generate_report().splitlines())
        raise InvalidArgumentError(f"invalid parameters of RunInstances: {reasons}")
    return corrected


def check_arguments(
    image_id: object,
    instance_type: object,
    *,
    disk_size_gb: object,
    username: object,
    switches: Mapping[str, object],
    more: Mapping[str, Any],
) -> None:
    """Raise if an argument of launch() has the wrong type, or is out of range.

    Args:
        image_id: must be a string.
        instance_type: must be a string.
        disk_size_gb: must be an integer within the range of the volume type.
        username: must be a string, or None.
        switches: the arguments that must be True or False, by name.
        more: the parameters of RunInstances, which may set another volume type.

    Raises:
        InvalidArgumentError: the message has the argument, its value, and the allowed values.
    """
    for name, value in {"image_id": image_id, "instance_type": instance_type, "username": username}.items():
        if value is None and name == "username":
            continue
        if not isinstance(value, str) or not value:
            raise InvalidArgumentError(f"{name} is {value!r}; it must be a string")
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise InvalidArgumentError(f"{name} is {value!r}; it must be True or False")
    types = {mapping.get("Ebs", {}).get("VolumeType") for mapping in more.get("BlockDeviceMappings", ())}
    largest = LARGE_DISK_GB if types & LARGE_VOLUME_TYPES else MAX_DISK_GB
    check_number("disk_size_gb", disk_size_gb, 1, largest)


def check_count(count: object, min_count: object) -> None:
    """Raise if one call cannot launch this number of instances.

    Raises:
        InvalidArgumentError: the message has the argument, its value, and the allowed values.
    """
    largest = check_number("count", count, 1, MAX_COUNT)
    if min_count is not None:
        check_number("min_count", min_count, 1, largest)


def check_number(name: str, value: object, minimum: int, maximum: int) -> int:
    """Raise unless a value is an integer within two limits.

    Args:
        name: the name of the argument, for the message.
        value: the value.
        minimum: the smallest allowed value.
        maximum: the largest allowed value.

    Returns:
        The value.

    Raises:
        InvalidArgumentError: the message has the argument, its value, and the allowed values.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise InvalidArgumentError(f"{name} is {value!r}; it must be a whole number from {minimum} to {maximum}")
    return value


def _tags(callers: Sequence[Mapping[str, Any]], ownership: Ownership, name: str) -> list[dict[str, object]]:
    by_type: dict[str, dict[str, str]] = {}
    for specification in callers:
        tags = {tag.get("Key", ""): tag.get("Value", "") for tag in specification.get("Tags", ())}
        by_type.setdefault(specification.get("ResourceType", "instance"), {}).update(tags)
    return [
        specification
        for resource_type in dict.fromkeys([*TAGGED, *by_type])
        for specification in tag_specifications([resource_type], ownership.tags(name, by_type.get(resource_type)))
    ]


def _devices(callers: Sequence[Mapping[str, Any]], image: ImageDescription, disk_size_gb: int) -> list[dict[str, Any]]:
    devices = [dict(mapping) for mapping in callers]
    if not image.root_device_name:
        return devices
    size = max(disk_size_gb, image.root_size_gb)
    if size > disk_size_gb:
        logger.debug("%s needs a root volume of %d GiB, so it gets more than %d", image.image_id, size, disk_size_gb)
    for mapping in devices:
        if mapping.get("DeviceName") == image.root_device_name:
            mapping["Ebs"] = {"VolumeSize": size, **mapping.get("Ebs", {})}
            return devices
    return [{"DeviceName": image.root_device_name, "Ebs": {"VolumeSize": size}}, *devices]


def _metadata_options(callers: Mapping[str, Any], *, enable_ipv6: bool) -> dict[str, Any]:
    options = {"HttpEndpoint": "enabled", "HttpProtocolIpv6": "enabled"} if enable_ipv6 else {}
    return {**options, **callers}


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value}
