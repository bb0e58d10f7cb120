"""The filters of DescribeInstances.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pycloudlib.ec2.api.filters import described_filters
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import InvalidArgumentError

TAG = "tag:"

SHORT_NAMES = {
    "state": "instance-state-name",
    "image": "image-id",
    "type": "instance-type",
    "zone": "availability-zone",
    "vpc": "vpc-id",
    "subnet": "subnet-id",
    "key": "key-name",
    "name": f"{TAG}Name",
}
"""This library's short names of some filters."""

KNOWN = frozenset(
    {
        "affinity",
        "architecture",
        "availability-zone",
        "availability-zone-id",
        "boot-mode",
        "capacity-reservation-id",
        "client-token",
        "current-instance-boot-mode",
        "dns-name",
        "ebs-optimized",
        "ena-support",
        "hibernation-options.configured",
        "host-id",
        "hypervisor",
        "iam-instance-profile.arn",
        "iam-instance-profile.id",
        "image-id",
        "instance-id",
        "instance-lifecycle",
        "instance-state-code",
        "instance-state-name",
        "instance-type",
        "instance.group-id",
        "instance.group-name",
        "ip-address",
        "ipv6-address",
        "kernel-id",
        "key-name",
        "launch-index",
        "launch-time",
        "monitoring-state",
        "owner-id",
        "placement-group-name",
        "placement-partition-number",
        "platform",
        "platform-details",
        "private-dns-name",
        "private-ip-address",
        "product-code",
        "product-code.type",
        "ramdisk-id",
        "reason",
        "requester-id",
        "reservation-id",
        "root-device-name",
        "root-device-type",
        "source-dest-check",
        "spot-instance-request-id",
        "state-reason-code",
        "state-reason-message",
        "subnet-id",
        "tag-key",
        "tenancy",
        "tpm-support",
        "usage-operation",
        "usage-operation-update-time",
        "virtualization-type",
        "vpc-id",
    }
)
"""The filters with exact names. Groups of filters, such as "network-interface.subnet-id", are matched by prefix."""

GROUPS = (
    TAG,
    "block-device-mapping.",
    "iam-instance-profile.",
    "maintenance-options.",
    "metadata-options.",
    "network-interface.",
    "operator.",
    "private-dns-name-options.",
    "product-code.",
)


def instance_filters(by_name: Mapping[str, Any], by_keyword: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parameter Filters of DescribeInstances.

    Args:
        by_name: values by EC2's filter names; unknown names are passed to EC2.
        by_keyword: values by this library's short names, or by EC2's names with underscores for hyphens.

    Raises:
        InvalidArgumentError: a filter (the message suggests the closest), a state, or a value is invalid.
    """
    if not isinstance(by_name, Mapping):
        raise InvalidArgumentError(f"filters is {by_name!r}; it must be a mapping of EC2's filters to their values")
    named = dict(by_name)
    for keyword, value in by_keyword.items():
        if keyword in ("tag", "tags"):
            named |= _tags(value)
        else:
            named[_name(keyword)] = _states(value) if keyword == "state" else value
    tags = {name.removeprefix(TAG): value for name, value in named.items() if name.startswith(TAG)}
    api_filters = {name: value for name, value in named.items() if not name.startswith(TAG)}
    return described_filters({**api_filters, "tag": tags})


def _name(keyword: str) -> str:
    name = SHORT_NAMES.get(keyword) or keyword.replace("_", "-")
    if name in KNOWN or name.startswith(GROUPS):
        return name
    candidates = {**{name.replace("-", "_"): None for name in sorted(KNOWN) if "." not in name}, **SHORT_NAMES}
    nearest = difflib.get_close_matches(keyword, [*candidates, "tag"], n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else f"; the usual ones are {', '.join(SHORT_NAMES)} and tag"
    raise InvalidArgumentError(f"unknown filter {keyword!r} of instances(){hint}")


def _tags(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {f"{TAG}{key}": values for key, values in value.items()}
    return {"tag-key": value}


def _states(value: object) -> list[str]:
    states = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    supported = [str(state) for state in InstanceState]
    names = [str(state) for state in states]
    for state in names:
        if state not in supported:
            raise InvalidArgumentError(f"unknown instance state {state!r}; allowed: {', '.join(supported)}")
    return names
