"""What RunInstances is asked: the caller's parameters, merged with the library's own.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
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
from pycloudlib.tags import Ownership, tag_specifications

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from pycloudlib.ec2.images.catalogue import ImageDescription

logger = logging.getLogger(__name__)

DEFAULT_INSTANCE_TYPE = "t3.micro"

OWN_PARAMETERS = {
    "ImageId": "image_id",
    "MinCount": "no count: launch() launches one instance, and launch_many() takes count and min_count",
    "MaxCount": "no count: launch() launches one instance, and launch_many() takes count and min_count",
}
"""What is not to be given twice, and what says it."""

OWN_SPELLINGS = {"InstanceType": "instance_type", "UserData": "user_data"}
"""RunInstances' spelling of launch()'s own arguments. Existing suites use both."""

SPELLINGS = {"SecurityGroupsIds": "SecurityGroupIds"}
"""Names that existing suites use for others."""

TAGGED = ("instance", "volume", "network-interface")
"""What RunInstances creates and tags."""

MAX_DISK_GB = 16384
LARGE_DISK_GB = 65536
LARGE_VOLUME_TYPES = frozenset({"gp3", "io2"})
"""Those that may have LARGE_DISK_GB: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html"""

MAX_COUNT = 1000
"""Instances in one call; an account's own quota is lower for most types."""


@dataclass(frozen=True)
class RunRequest:
    """One launch.

    Args:
        image: what is launched.
        instance_type: such as "t3.micro".
        name: the tag "Name".
        user_data: for cloud-init; None for none.
        disk_size_gb: GiB of the root volume.
        enable_ipv6: whether the metadata service answers over IPv6 too.
        more: the caller's parameters of RunInstances.
        network: the parameters that put it into a VPC; they count where the caller says nothing.
        count: how many instances.
        min_count: how many must be had, lest none is launched; None for all.
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

    def parameters(self, ownership: Ownership, mark: str) -> dict[str, Any]:
        """Give the parameters of the call.

        Args:
            ownership: what is created is tagged with it.
            mark: its client token, and a tag of what is created.

        Raises:
            InvalidArgumentError: a tag that EC2 would refuse, or one of the library's own.
        """
        own: dict[str, Any] = {
            "ImageId": self.image.image_id,
            "InstanceType": self.instance_type,
            "MinCount": self.count if self.min_count is None else self.min_count,
            "MaxCount": self.count,
            "ClientToken": mark,
            "TagSpecifications": _tags(self.more.get("TagSpecifications", ()), ownership, self.name, mark),
        }
        devices = _devices(self.more.get("BlockDeviceMappings", ()), self.image, self.disk_size_gb)
        metadata = _metadata_options(self.more.get("MetadataOptions", {}), enable_ipv6=self.enable_ipv6)
        optional = {"UserData": self.user_data, "BlockDeviceMappings": devices, "MetadataOptions": metadata}
        callers = network_parameters(self.more, self.network)
        return own | {**callers, "TagSpecifications": own["TagSpecifications"]} | _given(optional)


def with_own_spellings(instance_type: object, user_data: object, more: Mapping[str, Any]) -> dict[str, Any]:
    """Move RunInstances' spelling of launch()'s own arguments to these arguments.

    Args:
        instance_type: the argument of launch(); None for none.
        user_data: the argument of launch(); None for none.
        more: the caller's parameters of RunInstances.

    Returns:
        The three arguments by name, without the moved parameters in `more`.

    Raises:
        InvalidArgumentError: an argument is given in both spellings.
    """
    own = {"instance_type": instance_type, "user_data": user_data}
    for spelling, name in OWN_SPELLINGS.items():
        if more.get(spelling) is None:
            continue
        if own[name] is not None:
            raise InvalidArgumentError(f"launch() takes {name} or {spelling}, not both")
        own[name] = more[spelling]
    return {**own, "more": {name: value for name, value in more.items() if name not in OWN_SPELLINGS}}


def checked_parameters(client: EC2Client, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Check the caller's parameters, and put the usual misspelling right.

    Args:
        client: the boto3 EC2 client, which knows the parameters of RunInstances.
        parameters: what launch() was given beside its own arguments.

    Raises:
        InvalidArgumentError: one is unknown (names the nearest), is given by another argument, or is of another form
            than RunInstances takes.
    """
    shape: Any = client.meta.service_model.operation_model("RunInstances").input_shape
    known = shape.members
    corrected = {SPELLINGS.get(name, name): value for name, value in parameters.items()}
    for name in corrected:
        if name in OWN_PARAMETERS:
            raise InvalidArgumentError(f"launch() takes no {name}; it takes {OWN_PARAMETERS[name]}")
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise InvalidArgumentError(f"RunInstances has no parameter {name!r}{hint}")
    report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **corrected}, shape)
    if report.has_errors():
        reasons = "; ".join(report.generate_report().splitlines())
        raise InvalidArgumentError(f"RunInstances does not take that: {reasons}")
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
    """Refuse arguments of launch() that are of another type, or out of range.

    Args:
        image_id: must be a text.
        instance_type: must be a text.
        disk_size_gb: must be a whole number that a volume can have.
        username: must be a text, or None.
        switches: by name, what must be True or False.
        more: the parameters of RunInstances, which may name another type of volume.

    Raises:
        InvalidArgumentError: names the argument, what was found, and what is allowed.
    """
    for name, value in {"image_id": image_id, "instance_type": instance_type, "username": username}.items():
        if value is None and name == "username":
            continue
        if not isinstance(value, str) or not value:
            raise InvalidArgumentError(f"{name} is {value!r}; it must be a text")
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise InvalidArgumentError(f"{name} is {value!r}; it must be True or False")
    types = {mapping.get("Ebs", {}).get("VolumeType") for mapping in more.get("BlockDeviceMappings", ())}
    largest = LARGE_DISK_GB if types & LARGE_VOLUME_TYPES else MAX_DISK_GB
    check_number("disk_size_gb", disk_size_gb, 1, largest)


def check_count(count: object, min_count: object) -> None:
    """Refuse numbers of instances that cannot be launched by one call.

    Raises:
        InvalidArgumentError: names the argument, what was found, and what is allowed.
    """
    largest = check_number("count", count, 1, MAX_COUNT)
    if min_count is not None:
        check_number("min_count", min_count, 1, largest)


def check_number(name: str, value: object, least: int, most: int) -> int:
    """Refuse what is no whole number within two limits.

    Args:
        name: of the argument, for the message.
        value: what was given.
        least: the lowest that is allowed.
        most: the highest that is allowed.

    Returns:
        The value.

    Raises:
        InvalidArgumentError: names the argument, what was found, and what is allowed.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidArgumentError(f"{name} is {value!r}; it must be a whole number from {least} to {most}")
    return value


def _tags(callers: Sequence[Mapping[str, Any]], ownership: Ownership, name: str, mark: str) -> list[dict[str, object]]:
    by_type: dict[str, dict[str, str]] = {}
    for given in callers:
        tags = {tag.get("Key", ""): tag.get("Value", "") for tag in given.get("Tags", ())}
        by_type.setdefault(given.get("ResourceType", "instance"), {}).update(tags)
    return [
        specification
        for resource_type in dict.fromkeys([*TAGGED, *by_type])
        for specification in tag_specifications(
            [resource_type], ownership.tags(name, by_type.get(resource_type), creation=mark)
        )
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
    own = {"HttpEndpoint": "enabled", "HttpProtocolIpv6": "enabled"} if enable_ipv6 else {}
    return {**own, **callers}


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value}
