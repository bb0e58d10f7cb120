"""The deletion of each kind of orphaned resource, the order, and the AWS CLI command for it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent, when_free
from pycloudlib.ec2.api.faults import responded
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.api.retries import STILL_IN_USE_CODES
from pycloudlib.ec2.network.addresses import RELEASE_TIMEOUT, ElasticAddresses
from pycloudlib.ec2.network.interfaces import NetworkInterfaces
from pycloudlib.ec2.network.security_groups import SecurityGroup
from pycloudlib.ec2.network.subnets import NetworkParts
from pycloudlib.ec2.sweep.orphans import (
    ADDRESS,
    GATEWAY,
    IMAGE,
    INSTANCE,
    INTERFACE,
    KEY_PAIR,
    ROUTE_TABLE,
    SECURITY_GROUP,
    SNAPSHOT,
    SUBNET,
    VOLUME,
    VPC,
    Orphan,
)
from pycloudlib.lifecycle import UndoOrder

IN_USE_CODES = STILL_IN_USE_CODES | {"IncorrectState", "InvalidSnapshot.InUse", "VolumeInUse"}
"""EC2's codes for a resource in use, possibly only for a moment."""

ORDER = MappingProxyType(
    {
        INSTANCE: UndoOrder.INSTANCE,
        IMAGE: UndoOrder.IMAGE,
        SNAPSHOT: UndoOrder.SNAPSHOT,
        VOLUME: UndoOrder.VOLUME,
        # EC2 cannot detach a gateway while its VPC has public addresses.
        ADDRESS: UndoOrder.INTERFACE + 1,
        INTERFACE: UndoOrder.INTERFACE,
        SECURITY_GROUP: UndoOrder.SECURITY_GROUP,
        GATEWAY: UndoOrder.NETWORK + 3,
        SUBNET: UndoOrder.NETWORK + 2,
        ROUTE_TABLE: UndoOrder.NETWORK + 1,
        VPC: UndoOrder.NETWORK,
        KEY_PAIR: UndoOrder.KEY_PAIR,
    }
)
"""The highest order is deleted first, as in a ledger."""

_BY_HAND = MappingProxyType(
    {
        INSTANCE: ("terminate-instances", "--instance-ids"),
        IMAGE: ("deregister-image", "--image-id"),
        SNAPSHOT: ("delete-snapshot", "--snapshot-id"),
        VOLUME: ("delete-volume", "--volume-id"),
        ADDRESS: ("release-address", "--allocation-id"),
        INTERFACE: ("delete-network-interface", "--network-interface-id"),
        SECURITY_GROUP: ("delete-security-group", "--group-id"),
        GATEWAY: ("delete-internet-gateway", "--internet-gateway-id"),
        SUBNET: ("delete-subnet", "--subnet-id"),
        ROUTE_TABLE: ("delete-route-table", "--route-table-id"),
        VPC: ("delete-vpc", "--vpc-id"),
        KEY_PAIR: ("delete-key-pair", "--key-name"),
    }
)


def delete(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    """Delete an orphaned resource other than an instance (DeleteVolume, ReleaseAddress, ...).

    Args:
        context: the context of its region.
        orphan: the resource.
        deadline: when to stop waiting for dependencies.

    Raises:
        ResourceNotFoundError: the resource does not exist; for most kinds, this is a no-op instead.
        CloudError: EC2's last transient error, if it did not pass in time; any other error immediately.
    """
    _DELETIONS[orphan.kind](context, orphan, deadline)


def revoke_references(context: RegionContext, orphan: Orphan) -> None:
    """Revoke a security group's rules that reference other groups: mutual references prevent the deletion.

    Args:
        context: the context of its region.
        orphan: the security group.

    Raises:
        CloudError: EC2 rejected the request.
    """
    group = _group(context, orphan)
    group.remove([rule for rule in group.rules if rule.source_group not in (None, orphan.id)])


def command_by_hand(orphan: Orphan, endpoint_url: str | None = None, *, is_protected: bool = False) -> str:
    """Return the AWS CLI command that deletes a resource.

    Args:
        orphan: the resource.
        endpoint_url: the endpoint; default AWS's own.
        is_protected: whether it is an instance with termination protection; default no.
    """

    def aws(action: str, *options: str) -> str:
        where = ["--region", orphan.region, *(["--endpoint-url", endpoint_url] if endpoint_url else [])]
        return shlex.join(["aws", "ec2", action, *where, *options])

    action, option = _BY_HAND[orphan.kind]
    commands = [aws(action, option, orphan.id)]
    if orphan.kind == GATEWAY and orphan.vpc_id:
        commands.insert(0, aws("detach-internet-gateway", option, orphan.id, "--vpc-id", orphan.vpc_id))
    if is_protected:
        disable = ("--instance-id", orphan.id, "--no-disable-api-termination")
        commands.insert(0, aws("modify-instance-attribute", *disable))
    return " && ".join(commands)


def _call(call: Callable[[], object], orphan: Orphan, deadline: Deadline) -> None:
    call_until_consistent(
        call, what=f"delete {orphan.id}", codes=IN_USE_CODES, deadline=deadline, patience=deadline.remaining
    )


def _deregister_image(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    _call(partial(context.client.deregister_image, ImageId=orphan.id), orphan, deadline)


def _delete_snapshot(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    _call(partial(context.client.delete_snapshot, SnapshotId=orphan.id), orphan, deadline)


def _delete_volume(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    _call(partial(context.client.delete_volume, VolumeId=orphan.id), orphan, deadline)


def _release_address(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    ElasticAddresses(context).release(orphan.id, deadline.at_least(RELEASE_TIMEOUT))


def _delete_interface(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    NetworkInterfaces(context).delete_detached(orphan.id, deadline)


def _delete_security_group(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    _group(context, orphan)._delete_by(deadline)


def _group(context: RegionContext, orphan: Orphan) -> SecurityGroup:
    return SecurityGroup(orphan.id, orphan.name, "", orphan.vpc_id, {}, context)


def _delete_gateway(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    NetworkParts(context).delete_gateway(orphan.id, orphan.vpc_id, deadline)


def _delete_subnet(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    NetworkParts(context).delete_subnet(orphan.id, deadline)


def _delete_route_table(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    # Deleting a subnet removes its association, but some servers keep it, and with it the table.
    for association_id in _associations_with_nothing(context, orphan.id, deadline):
        disassociate = partial(context.client.disassociate_route_table, AssociationId=association_id)
        when_free(disassociate, what=f"disassociate {orphan.id}", deadline=deadline)
    NetworkParts(context).delete_route_table(orphan.id, deadline)


def _associations_with_nothing(context: RegionContext, table_id: str, deadline: Deadline) -> list[str]:
    client = context.client
    itself: Any = [{"Name": "route-table-id", "Values": [table_id]}]
    describe_tables = partial(client.describe_route_tables, Filters=itself)
    tables = responded(describe_tables, what=f"describe {table_id}", deadline=deadline)
    of_subnets = {
        association["SubnetId"]: association["RouteTableAssociationId"]
        for table in tables["RouteTables"]
        for association in table.get("Associations", ())
        if association.get("SubnetId")
    }
    if not of_subnets:
        return []
    named: Any = [{"Name": "subnet-id", "Values": list(of_subnets)}]
    describe_subnets = partial(client.describe_subnets, Filters=named)
    subnets = responded(describe_subnets, what="describe subnets", deadline=deadline)["Subnets"]
    subnet_ids = {subnet["SubnetId"] for subnet in subnets}
    return [association_id for subnet_id, association_id in of_subnets.items() if subnet_id not in subnet_ids]


def _delete_vpc(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    _call(partial(context.client.delete_vpc, VpcId=orphan.id), orphan, deadline)


def _delete_key_pair(context: RegionContext, orphan: Orphan, deadline: Deadline) -> None:
    _call(partial(context.client.delete_key_pair, KeyName=orphan.id), orphan, deadline)


_DELETIONS: Mapping[str, Callable[[RegionContext, Orphan, Deadline], None]] = MappingProxyType(
    {
        IMAGE: _deregister_image,
        SNAPSHOT: _delete_snapshot,
        VOLUME: _delete_volume,
        ADDRESS: _release_address,
        INTERFACE: _delete_interface,
        SECURITY_GROUP: _delete_security_group,
        GATEWAY: _delete_gateway,
        SUBNET: _delete_subnet,
        ROUTE_TABLE: _delete_route_table,
        VPC: _delete_vpc,
        KEY_PAIR: _delete_key_pair,
    }
)
