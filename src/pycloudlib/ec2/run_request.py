"""What RunInstances is asked: the caller's parameters, merged with the library's own.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
"""

from __future__ import annotations

import difflib
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pycloudlib.ec2.images import Image
from pycloudlib.errors import InvalidArgumentError
from pycloudlib.tags import Ownership, tag_specifications

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

logger = logging.getLogger(__name__)

MAX_USER_DATA = 16 * 1024
"""Bytes, before they are encoded: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html"""

OWN_PARAMETERS = {
    "ImageId": "image_id",
    "InstanceType": "instance_type",
    "UserData": "user_data",
    "MinCount": "no count: launch() launches one instance",
    "MaxCount": "no count: launch() launches one instance",
}
"""What is not to be given twice, and what says it."""

SPELLINGS = {"SecurityGroupsIds": "SecurityGroupIds"}
"""Names that existing suites use for others."""

TAGGED = ("instance", "volume", "network-interface")
"""What RunInstances creates and tags."""


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
    """

    image: Image
    instance_type: str
    name: str
    user_data: str | bytes | None = field(default=None, repr=False)
    disk_size_gb: int = 15
    enable_ipv6: bool = False
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def parameters(self, ownership: Ownership) -> dict[str, Any]:
        """Give the parameters of the call.

        Args:
            ownership: what is created is tagged with it.

        Raises:
            InvalidArgumentError: a tag that EC2 would refuse, or one of the library's own.
        """
        own: dict[str, Any] = {
            "ImageId": self.image.image_id,
            "InstanceType": self.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "ClientToken": str(uuid.uuid4()),
            "TagSpecifications": _tags(self.more.get("TagSpecifications", ()), ownership, self.name),
        }
        devices = _devices(self.more.get("BlockDeviceMappings", ()), self.image, self.disk_size_gb)
        metadata = _metadata_options(self.more.get("MetadataOptions", {}), enable_ipv6=self.enable_ipv6)
        optional = {"UserData": self.user_data, "BlockDeviceMappings": devices, "MetadataOptions": metadata}
        return own | {**self.more, "TagSpecifications": own["TagSpecifications"]} | _given(optional)


def checked_parameters(client: EC2Client, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names of the caller's parameters, and put the usual misspelling right.

    Args:
        client: the boto3 EC2 client, which knows the parameters of RunInstances.
        parameters: what launch() was given beside its own arguments.

    Raises:
        InvalidArgumentError: one is unknown (names the nearest), or is given by another argument.
    """
    shape = client.meta.service_model.operation_model("RunInstances").input_shape
    known = shape.members if shape else {}
    corrected = {SPELLINGS.get(name, name): value for name, value in parameters.items()}
    for name in corrected:
        if name in OWN_PARAMETERS:
            raise InvalidArgumentError(f"launch() takes no {name}; it takes {OWN_PARAMETERS[name]}")
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise InvalidArgumentError(f"RunInstances has no parameter {name!r}{hint}")
    return corrected


def check_user_data(user_data: str | bytes | None) -> None:
    """Refuse user data that EC2 would refuse.

    Raises:
        InvalidArgumentError: it is longer than 16 KiB; says nothing of what is in it.
    """
    if user_data is None:
        return
    size = len(user_data.encode() if isinstance(user_data, str) else user_data)
    if size > MAX_USER_DATA:
        raise InvalidArgumentError(
            f"the user data has {size} bytes; EC2 takes {MAX_USER_DATA} at most. "
            "Compress it with gzip, which cloud-init unpacks, or let it fetch the rest"
        )


def _tags(callers: Sequence[Mapping[str, Any]], ownership: Ownership, name: str) -> list[dict[str, object]]:
    by_type = {given["ResourceType"]: {tag["Key"]: tag["Value"] for tag in given.get("Tags", ())} for given in callers}
    return [
        specification
        for resource_type in dict.fromkeys([*TAGGED, *by_type])
        for specification in tag_specifications([resource_type], ownership.tags(name, by_type.get(resource_type)))
    ]


def _devices(callers: Sequence[Mapping[str, Any]], image: Image, disk_size_gb: int) -> list[dict[str, Any]]:
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
