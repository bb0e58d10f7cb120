"""The resources that have tags: tags are created for existing resources only, and end with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import EC2ClientError


@dataclass(frozen=True)
class Kind:
    """A kind of resource.

    Args:
        resource_type: EC2's resource type, such as "vpc".
        code: the error code for an unknown id.
        noun: the name of the id in error messages.
        ids: returns the ids of all such resources, given the records.
    """

    resource_type: str
    code: str
    noun: str
    ids: Callable[[Any], Collection[str]]


def _ids(records: Iterable[Any]) -> set[str]:
    return {record.id for record in records}


def _rule_ids(records: Any) -> set[str]:
    groups = records.describe_security_groups()
    return {rule.id for group in groups for rule in (*group.ingress_rules, *group.egress_rules)}


KINDS: Mapping[str, Kind] = {
    "acl": Kind("network-acl", "InvalidNetworkAclID.NotFound", "networkAcl ID", lambda records: records.network_acls),
    "ami": Kind(
        "image",
        "InvalidAMIID.NotFound",
        "image id",
        lambda records: _ids(records.describe_images(include_deprecated=True)),
    ),
    "dopt": Kind(
        "dhcp-options", "InvalidDhcpOptionID.NotFound", "dhcpOption ID", lambda records: records.dhcp_options_sets
    ),
    "eigw": Kind(
        "egress-only-internet-gateway",
        "InvalidEgressOnlyInternetGatewayId.NotFound",
        "egress-only internet gateway ID",
        lambda records: records.egress_only_internet_gateways,
    ),
    "eipalloc": Kind(
        "elastic-ip",
        "InvalidAllocationID.NotFound",
        "allocation ID",
        lambda records: {address.allocation_id for address in records.addresses},
    ),
    "eni": Kind(
        "network-interface", "InvalidNetworkInterfaceID.NotFound", "networkInterface ID", lambda records: records.enis
    ),
    "i": Kind("instance", "InvalidInstanceID.NotFound", "instance ID", lambda records: records.controllers),
    "igw": Kind(
        "internet-gateway",
        "InvalidInternetGatewayID.NotFound",
        "internetGateway ID",
        lambda records: records.internet_gateways,
    ),
    "key": Kind("key-pair", "InvalidKeyPair.NotFound", "key pair", lambda records: _ids(records.key_pairs.values())),
    "lt": Kind(
        "launch-template",
        "InvalidLaunchTemplateId.NotFound",
        "launch template ID",
        lambda records: records.launch_templates,
    ),
    "nat": Kind("natgateway", "NatGatewayNotFound", "NAT gateway ID", lambda records: records.nat_gateways),
    "pcx": Kind(
        "vpc-peering-connection",
        "InvalidVpcPeeringConnectionID.NotFound",
        "vpcPeeringConnection ID",
        lambda records: records.vpc_pcxs,
    ),
    "pg": Kind(
        "placement-group",
        "InvalidPlacementGroup.Unknown",
        "placement group ID",
        lambda records: {group.group_id for group in records.placement_groups.values()},
    ),
    "pl": Kind(
        "prefix-list", "InvalidPrefixListID.NotFound", "prefixList ID", lambda records: records.managed_prefix_lists
    ),
    "replacevol": Kind(
        "replace-root-volume-task",
        "InvalidReplaceRootVolumeTaskId.NotFound",
        "replaceRootVolumeTask ID",
        lambda records: records.root_volume_tasks,
    ),
    "rtb": Kind("route-table", "InvalidRouteTableID.NotFound", "routeTable ID", lambda records: records.route_tables),
    "sg": Kind(
        "security-group",
        "InvalidGroup.NotFound",
        "security group",
        lambda records: _ids(records.describe_security_groups()),
    ),
    "sgr": Kind("security-group-rule", "InvalidSecurityGroupRuleId.NotFound", "security group rule ID", _rule_ids),
    "sir": Kind(
        "spot-instances-request",
        "InvalidSpotInstanceRequestID.NotFound",
        "spot instance request ID",
        lambda records: records.spot_instance_requests,
    ),
    "snap": Kind("snapshot", "InvalidSnapshot.NotFound", "snapshot", lambda records: records.snapshots),
    "subnet": Kind("subnet", "InvalidSubnetID.NotFound", "subnet ID", lambda records: _ids(records.describe_subnets())),
    "vol": Kind("volume", "InvalidVolume.NotFound", "volume", lambda records: records.volumes),
    "vpc": Kind("vpc", "InvalidVpcID.NotFound", "vpc ID", lambda records: records.vpcs),
}
"""The kinds of resources, by the prefix of their ids."""


class TagRecords(LocalRecords):
    """The tags of one account in one region."""

    def require_resources(self, resource_ids: Iterable[str]) -> None:
        """Require existing resources.

        Raises:
            EC2ClientError: an id is unknown, or no id of a resource.
        """
        for resource_id in resource_ids:
            kind = KINDS.get(_prefix(resource_id))
            if kind is None:
                raise EC2ClientError("InvalidID", f"The ID '{resource_id}' is not valid")
            if resource_id not in kind.ids(self):
                raise EC2ClientError(kind.code, f"The {kind.noun} '{resource_id}' does not exist")

    def describe_tags(self, filters: dict[str, list[str]] | None = None) -> list[dict[str, str]]:
        """Return the tags of existing resources (DescribeTags).

        moto queries one resource's tags for each description; the dispatcher applies the filters of a request.
        """
        named = (filters or {}).get("resource-id")
        existing_ids: dict[str, Collection[str]] = {}
        descriptions = []
        for resource_id in list(self.tags if named is None else named):
            kind = KINDS.get(_prefix(resource_id))
            tags = self.tags.get(resource_id)
            if not tags or kind is None:
                continue
            if named is None:
                if kind.resource_type not in existing_ids:
                    existing_ids[kind.resource_type] = kind.ids(self)
                if resource_id not in existing_ids[kind.resource_type]:
                    continue
            descriptions += [
                {"resource_id": resource_id, "key": key, "value": value, "resource_type": kind.resource_type}
                for key, value in tags.items()
            ]
        return descriptions


def _prefix(resource_id: str) -> str:
    return resource_id.rpartition("-")[0]
