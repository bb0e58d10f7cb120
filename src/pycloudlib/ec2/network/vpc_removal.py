"""Deletion of a VPC with everything in it, dependents first."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import when_free
from pycloudlib.ec2.api.faults import responded
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.api.retries import PASSING_CODES
from pycloudlib.ec2.network.addresses import ElasticAddress, ElasticAddresses
from pycloudlib.ec2.network.interfaces import NetworkInterfaces
from pycloudlib.ec2.network.subnets import NetworkParts
from pycloudlib.errors import CloudError, InstanceNotFoundError, NoResponseError, PycloudlibError
from pycloudlib.waiting import wait_until

T = TypeVar("T")

logger = logging.getLogger(__name__)

LIVING_STATES = ("pending", "running", "stopping", "stopped", "shutting-down")

TERMINATED_AT_ONCE = 100
"""Instances in one TerminateInstances call."""


class _Part(Enum):
    """Parts that can block the deletion of others."""

    ADDRESS = "address"
    ASSOCIATION = "association"
    INTERFACE = "interface"
    RULE = "rule"
    SUBNET = "subnet"


class VPCRemoval:
    """The deletion of a VPC. Errors do not stop it, but it takes no part from an instance that remains.

    If EC2 does not respond by the deadline, skip the remaining steps.

    Args:
        context: the context of the VPC's region.
        vpc_id: the VPC.
        deadline: when to give up.
    """

    def __init__(self, context: RegionContext, vpc_id: str, deadline: Deadline) -> None:
        self._context = context
        self._client = context.client
        self._vpc_id = vpc_id
        self._deadline = deadline
        self._interfaces = NetworkInterfaces(context)
        self._addresses = ElasticAddresses(context)
        self._parts = NetworkParts(context)
        self._errors: list[Exception] = []
        self._undeletable_instances: set[str] = set()
        self._blocking: set[_Part] = set()
        self._has_instances = True
        self._unanswered = False

    def run(self) -> list[Exception]:
        """Delete the instances, interfaces, gateways, subnets, route tables, and security groups, and then the VPC.

        Returns:
            The errors; empty if everything is deleted.
        """
        addresses: list[ElasticAddress] = []
        self._try(lambda: addresses.extend(self._own_addresses()))
        self._try(self._delete_instances)
        if self._has_instances:
            return self._errors
        for address in addresses:
            self._try(partial(self._addresses.release, address.allocation_id, self._deadline), part=_Part.ADDRESS)
        steps = (
            self._delete_interfaces,
            self._delete_gateways,
            self._delete_subnets,
            self._delete_route_tables,
            self._delete_security_groups,
            self._delete_itself,
        )
        for step in steps:
            self._try(step)
        return self._errors

    def _try(self, step: Callable[[], object], part: _Part | None = None) -> None:
        """Run a step. If it fails, record the error, and that this part remains and blocks others."""
        if self._unanswered:
            return
        try:
            step()
        except NoResponseError as error:
            self._errors.append(error)
            self._unanswered = True
        except PycloudlibError as error:
            self._errors.append(error)
            if part is not None:
                self._blocking.add(part)

    def _patience(self, *parts: _Part) -> float:
        """Return the maximum seconds for blocking parts to be deleted: none if one of them remains."""
        return 0.0 if self._blocking.intersection(parts) else math.inf

    def _call(self, call: Callable[[], T], what: str) -> T:
        return responded(call, what=what, deadline=self._deadline)

    # Instances

    def _own_addresses(self) -> list[ElasticAddress]:
        interfaces = self._interfaces.find("vpc-id", self._vpc_id, self._deadline)
        return self._addresses.own_of(
            "network-interface-id", [interface.id for interface in interfaces], self._deadline
        )

    def _delete_instances(self) -> None:
        instances = self._living()
        for start in range(0, len(instances), TERMINATED_AT_ONCE):
            self._terminate(instances[start : start + TERMINATED_AT_ONCE])
        ending = set(instances) - self._undeletable_instances
        remaining: list[str] = []

        def gone() -> bool:
            living = self._poll_living()
            if living is None:
                return False
            remaining[:] = [instance_id for instance_id in living if instance_id in ending]
            return not remaining

        if ending:
            wait_until(
                gone,
                what=f"the instances in {self._vpc_id} to be terminated",
                deadline=self._deadline,
                interval=0.5,
                max_interval=3.0,
                last_seen=lambda: f"{', '.join(remaining)} not yet",
            )
        for instance_id in ending:
            self._context.ledger.forget(instance_id)
        self._has_instances = bool(self._undeletable_instances)

    def _terminate(self, instance_ids: Sequence[str]) -> None:
        terminate = partial(self._client.terminate_instances, InstanceIds=list(instance_ids))
        try:
            self._call(terminate, "terminate instances")
        except NoResponseError:
            raise
        except PycloudlibError as error:
            if len(instance_ids) > 1:
                # A protected instance must not keep the others running.
                for instance_id in instance_ids:
                    self._terminate([instance_id])
            elif not isinstance(error, InstanceNotFoundError):
                self._undeletable_instances.update(instance_ids)
                self._errors.append(_named(instance_ids[0], error))

    def _living(self) -> list[str]:
        filters: Any = [
            {"Name": "vpc-id", "Values": [self._vpc_id]},
            {"Name": "instance-state-name", "Values": list(LIVING_STATES)},
        ]
        paginator = self._client.get_paginator("describe_instances")
        pages = self._call(lambda: list(paginator.paginate(Filters=filters)), "describe instances")
        return [
            record["InstanceId"]
            for page in pages
            for reservation in page["Reservations"]
            for record in reservation["Instances"]
        ]

    def _poll_living(self) -> list[str] | None:
        """Return the ids of the living instances; None after a transient error."""
        try:
            return self._living()
        except CloudError as error:
            if error.code not in PASSING_CODES:
                raise
            return None

    # Network

    def _delete_interfaces(self) -> None:
        for interface in self._interfaces.find("vpc-id", self._vpc_id, self._deadline):
            # EC2 deletes the interfaces of terminated instances soon, and they cannot be detached.
            delete = self._interfaces.delete_detached if interface.instance_id else self._interfaces.delete
            self._try(partial(delete, interface.id, self._deadline), part=_Part.INTERFACE)

    def _delete_gateways(self) -> None:
        filters: Any = [{"Name": "attachment.vpc-id", "Values": [self._vpc_id]}]
        describe = partial(self._client.describe_internet_gateways, Filters=filters)
        for record in self._call(describe, "describe internet gateways")["InternetGateways"]:
            patience = self._patience(_Part.ADDRESS, _Part.INTERFACE)
            delete = partial(self._parts.delete_gateway, record["InternetGatewayId"], self._vpc_id, self._deadline)
            self._try(partial(delete, patience))

    def _delete_subnets(self) -> None:
        describe = partial(self._client.describe_subnets, Filters=self._in_vpc())
        for record in self._call(describe, "describe subnets")["Subnets"]:
            patience = self._patience(_Part.INTERFACE)
            delete = partial(self._parts.delete_subnet, record["SubnetId"], self._deadline, patience)
            self._try(delete, part=_Part.SUBNET)

    def _delete_route_tables(self) -> None:
        describe = partial(self._client.describe_route_tables, Filters=self._in_vpc())
        for record in self._call(describe, "describe route tables")["RouteTables"]:
            associations = record.get("Associations", ())
            # EC2 deletes the main route table with the VPC.
            if not any(association.get("Main") for association in associations):
                self._disassociate(association["RouteTableAssociationId"] for association in associations)
                patience = self._patience(_Part.SUBNET, _Part.ASSOCIATION)
                delete = partial(self._parts.delete_route_table, record["RouteTableId"], self._deadline, patience)
                self._try(delete)

    def _disassociate(self, association_ids: Iterable[str]) -> None:
        for association_id in association_ids:
            call = partial(self._client.disassociate_route_table, AssociationId=association_id)
            disassociate = partial(when_free, call, what=f"disassociate {association_id}", deadline=self._deadline)
            self._try(disassociate, part=_Part.ASSOCIATION)

    def _delete_security_groups(self) -> None:
        describe = partial(self._client.describe_security_groups, Filters=self._in_vpc())
        groups = self._call(describe, "describe security groups")["SecurityGroups"]
        # EC2 deletes the default security group with the VPC.
        groups = [group for group in groups if group["GroupName"] != "default"]
        for group in groups:
            self._try(partial(self._revoke_references, group), part=_Part.RULE)
        for group in groups:
            self._try(partial(self._delete_security_group, group["GroupId"]))

    def _revoke_references(self, record: Any) -> None:
        """Revoke the rules that reference other groups: two groups that reference each other cannot be deleted."""
        group_id = record["GroupId"]
        for key, call in (
            ("IpPermissions", self._client.revoke_security_group_ingress),
            ("IpPermissionsEgress", self._client.revoke_security_group_egress),
        ):
            naming: Any = [
                {**_kept(permission), "UserIdGroupPairs": [{"GroupId": pair["GroupId"]}]}
                for permission in record.get(key, ())
                for pair in permission.get("UserIdGroupPairs", ())
                if pair.get("GroupId") not in (None, group_id)
            ]
            if naming:
                revoke = partial(call, GroupId=group_id, IpPermissions=naming)
                when_free(revoke, what=f"change {group_id}", deadline=self._deadline, patience=0)

    def _delete_security_group(self, group_id: str) -> None:
        delete = partial(self._client.delete_security_group, GroupId=group_id)
        patience = self._patience(_Part.INTERFACE, _Part.RULE)
        when_free(delete, what=f"delete {group_id}", deadline=self._deadline, patience=patience)
        self._context.ledger.forget(group_id)

    def _delete_itself(self) -> None:
        delete = partial(self._client.delete_vpc, VpcId=self._vpc_id)
        # Resources whose deletion failed do not disappear by themselves.
        patience = 0.0 if self._errors else self._patience()
        when_free(delete, what=f"delete {self._vpc_id}", deadline=self._deadline, patience=patience)
        self._context.ledger.forget(self._vpc_id)
        logger.info("deleted %s", self._vpc_id)

    def _in_vpc(self) -> Any:
        return [{"Name": "vpc-id", "Values": [self._vpc_id]}]


def _kept(permission: Any) -> dict[str, Any]:
    return {key: permission[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in permission}


def _named(resource_id: str, error: PycloudlibError) -> PycloudlibError:
    if resource_id in str(error):
        return error
    named = PycloudlibError(f"{resource_id}: {error}")
    named.__cause__ = error
    return named
