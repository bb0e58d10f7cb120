"""The filters of DescribeInstances.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from moto.ec2.models.instances import Instance

Filters = Mapping[str, Sequence[str]]

_ATTRIBUTES = {
    "architecture": "architecture",
    "availability-zone": "placement.zone",
    "dns-name": "public_dns_name",
    "ebs-optimized": "ebs_optimized",
    "image-id": "image_id",
    "instance-id": "id",
    "instance-state-code": "_state.code",
    "instance-state-name": "_state.name",
    "instance-type": "instance_type",
    "ip-address": "public_ip",
    "key-name": "key_name",
    "launch-index": "ami_launch_index",
    "metadata-options.http-endpoint": "metadata_options.http_endpoint",
    "metadata-options.http-tokens": "metadata_options.http_tokens",
    "owner-id": "owner_id",
    "private-dns-name": "private_dns_name",
    "private-ip-address": "private_ip",
    "root-device-name": "root_device_name",
    "root-device-type": "root_device_type",
    "source-dest-check": "source_dest_check",
    "state-reason-code": "state_reason.code",
    "state-reason-message": "state_reason.message",
    "subnet-id": "subnet_id",
    "virtualization-type": "virtualization_type",
    "vpc-id": "vpc_id",
}


def _groups(instance: Instance) -> list[Any]:
    return list(instance.security_groups)


def _volumes(instance: Instance) -> list[Any]:
    return list(instance.block_device_mapping.values())


def _interfaces(instance: Instance) -> list[Any]:
    return list(instance.nics.values())


_LISTS: Mapping[str, Callable[[Instance], Iterable[Any]]] = {
    "block-device-mapping.device-name": lambda instance: instance.block_device_mapping,
    "block-device-mapping.volume-id": lambda instance: (one.volume_id for one in _volumes(instance)),
    "group-id": lambda instance: (group.id for group in _groups(instance)),
    "group-name": lambda instance: (group.name for group in _groups(instance)),
    "instance.group-id": lambda instance: (group.id for group in _groups(instance)),
    "instance.group-name": lambda instance: (group.name for group in _groups(instance)),
    "launch-time": lambda instance: [f"{instance.launch_time:%Y-%m-%dT%H:%M:%S.000Z}"],
    "network-interface.network-interface-id": lambda instance: (one.id for one in _interfaces(instance)),
    "network-interface.subnet-id": lambda instance: (one.subnet.id for one in _interfaces(instance)),
    "network-interface.vpc-id": lambda instance: (one.subnet.vpc_id for one in _interfaces(instance)),
}

_KNOWN = {*_ATTRIBUTES, *_LISTS, "tag-key", "tag-value", "reservation-id"}


def require_known(filters: Filters) -> None:
    """Refuse filters that EC2 has and the local EC2 has not.

    Raises:
        NotImplementedError: names the filter.
    """
    for name in filters:
        if name not in _KNOWN and not name.startswith("tag:"):
            raise NotImplementedError(name)


def matches(instance: Instance, reservation_id: str, tags: Mapping[str, str], filters: Filters) -> bool:
    """Whether an instance has one of each filter's values.

    Args:
        instance: moto's record of it.
        reservation_id: the launch it was part of.
        tags: of the instance.
        filters: values by name; `*` stands for any characters, `?` for any one.
    """
    return all(_has(_values(instance, reservation_id, tags, name), wanted) for name, wanted in filters.items())


def _values(instance: Instance, reservation_id: str, tags: Mapping[str, str], name: str) -> Iterable[Any]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return [tags[key]] if key in tags else []
    if name in ("tag-key", "tag-value"):
        return tags if name == "tag-key" else tags.values()
    if name == "reservation-id":
        return [reservation_id]
    if name in _LISTS:
        return _LISTS[name](instance)
    value: Any = instance
    for attribute in _ATTRIBUTES[name].split("."):
        value = getattr(value, attribute, None)
    return [] if value is None else [value]


def _has(values: Iterable[Any], wanted: Sequence[str]) -> bool:
    present = {_text(value) for value in values}
    # Two hundred ids are asked for at once, of a thousand instances.
    if not present.isdisjoint(wanted):
        return True
    patterns = [_pattern(one) for one in wanted if "*" in one or "?" in one]
    return any(re.fullmatch(pattern, value, re.DOTALL) for pattern in patterns for value in present)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pattern(wanted: str) -> str:
    return re.escape(wanted).replace(r"\*", ".*").replace(r"\?", ".")
