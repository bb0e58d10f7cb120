"""The contents of the instance metadata service, which guests reach at 169.254.169.254.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Union

VERSIONS = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19",
    "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03",
    "2021-03-23", "2021-07-15", "2022-09-24", "latest",
)  # fmt: skip

Tree = Mapping[str, Union[str, bytes, "Tree"]]


@dataclass(frozen=True)
class InterfaceMetadata:
    """The metadata of a network interface."""

    mac: str
    interface_id: str
    device_number: int
    private_ips: tuple[str, ...]
    public_ips: tuple[str, ...]
    ipv6_ips: tuple[str, ...]
    subnet_id: str
    subnet_cidr: str
    subnet_ipv6_cidrs: tuple[str, ...]
    vpc_id: str
    vpc_cidrs: tuple[str, ...]
    vpc_ipv6_cidrs: tuple[str, ...]
    security_groups: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    owner_id: str
    local_hostname: str
    public_hostname: str
    associations: Mapping[str, str] = field(default_factory=dict)
    """Private addresses by associated public address."""


@dataclass(frozen=True)
class RoleCredentials:
    """Temporary credentials for a role."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    updated: datetime
    expires: datetime


@dataclass(frozen=True)
class InstanceProfileMetadata:
    """The metadata of an instance profile.

    Args:
        arn: the ARN of the profile.
        profile_id: the id of the profile.
        role: the name of the role; "" without one.
        credentials: the credentials of the role; None without one.
    """

    arn: str
    profile_id: str
    role: str
    credentials: RoleCredentials | None


@dataclass(frozen=True)
class SpotInterruption:
    """An interruption of a spot instance.

    Args:
        ordered: the time of the rebalance recommendation.
        noticed: the time of the interruption notice.
        ends: the time of the termination.
    """

    ordered: datetime
    noticed: datetime
    ends: datetime


@dataclass(frozen=True)
class InstanceMetadata:
    """The metadata of an instance.

    Args:
        tokens_required: whether HttpTokens is "required", which rejects requests without a token (IMDSv1).
        enabled: whether HttpEndpoint is "enabled".
        tags: the instance's tags if InstanceMetadataTags is "enabled", else None.
        instance_profile: the IAM instance profile; None without one.
        spot_interruption: the pending spot interruption; None without one.
        availability_zone_id: the id of the availability zone, equal for all accounts.
        placement_group: the name of the placement group; default "" for none.
        spot: whether the instance is a spot instance; default no.
        system: the hypervisor, "nitro" (default) or "xen".
    """

    instance_id: str
    image_id: str
    instance_type: str
    architecture: str
    account_id: str
    region: str
    availability_zone: str
    reservation_id: str
    launch_index: int
    pending_time: str
    key_name: str
    public_key: str
    user_data: bytes | None = field(repr=False)
    block_devices: Mapping[str, str]
    interfaces: tuple[InterfaceMetadata, ...]
    tokens_required: bool
    enabled: bool
    tags: Mapping[str, str] | None
    instance_profile: InstanceProfileMetadata | None = None
    spot_interruption: SpotInterruption | None = None
    availability_zone_id: str = ""
    placement_group: str = ""
    spot: bool = False
    system: str = "nitro"


def metadata_tree(instance: InstanceMetadata) -> Tree:
    """Return an instance's metadata as the tree of directories and files below a version."""
    tree: dict[str, str | bytes | Tree] = {
        "meta-data": _meta_data(instance),
        "dynamic": {"instance-identity": {"document": _identity_document(instance)}},
    }
    if instance.user_data is not None:
        tree["user-data"] = instance.user_data
    return tree


def _meta_data(instance: InstanceMetadata) -> Tree:
    primary = instance.interfaces[0]
    data: dict[str, str | bytes | Tree] = {
        "ami-id": instance.image_id,
        "ami-launch-index": str(instance.launch_index),
        "ami-manifest-path": "(unknown)",
        "block-device-mapping": instance.block_devices,
        "events": {"maintenance": {"history": "[]", "scheduled": "[]"}},
        "hostname": primary.local_hostname,
        "instance-action": "none",
        "instance-id": instance.instance_id,
        "instance-life-cycle": "spot" if instance.spot else "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": primary.local_hostname,
        "local-ipv4": primary.private_ips[0],
        "mac": primary.mac,
        "network": {
            "interfaces": {"macs": {interface.mac: _interface(interface) for interface in instance.interfaces}}
        },
        "placement": _placement(instance),
        "profile": "default-hvm",
        "reservation-id": instance.reservation_id,
        "security-groups": "\n".join(primary.security_groups),
        "services": _services(instance.region),
        "system": instance.system,
    }
    if primary.public_ips:
        data["public-ipv4"] = primary.public_ips[0]
        data["public-hostname"] = primary.public_hostname
    if primary.ipv6_ips:
        data["ipv6"] = primary.ipv6_ips[0]
    if instance.public_key:
        data["public-keys"] = {"0": {"openssh-key": instance.public_key.strip() + "\n"}}
    if instance.tags is not None:
        data["tags"] = {"instance": instance.tags}
    if instance.instance_profile is not None:
        data["iam"] = _iam(instance.instance_profile)
    if instance.spot_interruption is not None:
        _add_interruption(data, instance.spot_interruption, datetime.now(timezone.utc))
    return data


def _add_interruption(data: dict[str, str | bytes | Tree], interruption: SpotInterruption, now: datetime) -> None:
    recommendation = json.dumps({"noticeTime": _timestamp(interruption.ordered)})
    events = data["events"]
    data["events"] = {
        **(events if isinstance(events, Mapping) else {}),
        "recommendations": {"rebalance": recommendation},
    }
    if now >= interruption.noticed:
        ends = _timestamp(interruption.ends)
        data["spot"] = {"instance-action": json.dumps({"action": "terminate", "time": ends}), "termination-time": ends}


def _iam(profile: InstanceProfileMetadata) -> Tree:
    """Return an instance profile and its credentials in the format that the AWS SDKs read."""
    if profile.credentials is None:
        return {"info": json.dumps({"Code": "InstanceProfileNotFound", "InstanceProfileArn": profile.arn}, indent=2)}
    credentials = profile.credentials
    info = {
        "Code": "Success",
        "LastUpdated": _timestamp(credentials.updated),
        "InstanceProfileArn": profile.arn,
        "InstanceProfileId": profile.profile_id,
    }
    keys = {
        "Code": "Success",
        "LastUpdated": _timestamp(credentials.updated),
        "Type": "AWS-HMAC",
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.token,
        "Expiration": _timestamp(credentials.expires),
    }
    return {"info": json.dumps(info, indent=2), "security-credentials": {profile.role: json.dumps(keys, indent=2)}}


def _timestamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _placement(instance: InstanceMetadata) -> Tree:
    placement = {
        "availability-zone": instance.availability_zone,
        "availability-zone-id": instance.availability_zone_id,
        "group-name": instance.placement_group,
        "region": instance.region,
    }
    return {name: value for name, value in placement.items() if value}


def _services(region: str) -> Tree:
    if region.startswith("cn-"):
        return {"domain": "amazonaws.com.cn", "partition": "aws-cn"}
    return {"domain": "amazonaws.com", "partition": "aws-us-gov" if region.startswith("us-gov-") else "aws"}


def _interface(interface: InterfaceMetadata) -> Tree:
    facts: dict[str, str | bytes | Tree] = {
        "device-number": str(interface.device_number),
        "interface-id": interface.interface_id,
        "local-hostname": interface.local_hostname,
        "local-ipv4s": "\n".join(interface.private_ips),
        "mac": interface.mac,
        "owner-id": interface.owner_id,
        "security-group-ids": "\n".join(interface.security_group_ids),
        "security-groups": "\n".join(interface.security_groups),
        "subnet-id": interface.subnet_id,
        "subnet-ipv4-cidr-block": interface.subnet_cidr,
        "vpc-id": interface.vpc_id,
        "vpc-ipv4-cidr-block": interface.vpc_cidrs[0],
        "vpc-ipv4-cidr-blocks": "\n".join(interface.vpc_cidrs),
    }
    if interface.public_ips:
        facts["public-ipv4s"] = "\n".join(interface.public_ips)
        facts["public-hostname"] = interface.public_hostname
        facts["ipv4-associations"] = interface.associations
    if interface.ipv6_ips:
        facts["ipv6s"] = "\n".join(interface.ipv6_ips)
        facts["subnet-ipv6-cidr-blocks"] = "\n".join(interface.subnet_ipv6_cidrs)
        facts["vpc-ipv6-cidr-blocks"] = "\n".join(interface.vpc_ipv6_cidrs)
    return facts


def _identity_document(instance: InstanceMetadata) -> str:
    return json.dumps(
        {
            "accountId": instance.account_id,
            "architecture": instance.architecture,
            "availabilityZone": instance.availability_zone,
            "billingProducts": None,
            "devpayProductCodes": None,
            "marketplaceProductCodes": None,
            "imageId": instance.image_id,
            "instanceId": instance.instance_id,
            "instanceType": instance.instance_type,
            "kernelId": None,
            "pendingTime": instance.pending_time,
            "privateIp": instance.interfaces[0].private_ips[0],
            "ramdiskId": None,
            "region": instance.region,
            "version": "2017-09-30",
        },
        indent=2,
    )


def look_up(instance: InstanceMetadata, path: str) -> bytes | None:
    """Return the response body of a GET request; None for an unknown path (404).

    Args:
        instance: the instance's metadata.
        path: the request path, such as "/latest/meta-data/instance-id"; a trailing slash is ignored.
    """
    parts = [part for part in path.split("/") if part]
    if not parts:
        return "\n".join(VERSIONS).encode()
    version, *rest = parts
    if version not in VERSIONS:
        return None
    tree = metadata_tree(instance)
    if not rest:
        # The only listing whose directories have no trailing slash.
        return "\n".join(sorted(tree)).encode()
    node = _walk(tree, rest)
    if rest[-1:] == ["public-keys"] and node is not None:
        return f"0={instance.key_name}".encode()
    return _served(node)


def _walk(tree: Tree, parts: Sequence[str]) -> str | bytes | Tree | None:
    node: str | bytes | Tree = tree
    for part in parts:
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


def _served(node: str | bytes | Tree | None) -> bytes | None:
    if isinstance(node, str):
        return node.encode()
    if isinstance(node, Mapping):
        return "\n".join(_listed(name, child) for name, child in sorted(node.items())).encode()
    return node


def _listed(name: str, child: str | bytes | Tree) -> str:
    return f"{name}/" if isinstance(child, Mapping) else name
