"""VPCs: networks of one's own, and everything in them."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from pycloudlib.ec2.api.creating import Creation, create
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.retries import NOT_YET_KNOWN_CODES, PASSING_CODES
from pycloudlib.ec2.api.scope import Scope
from pycloudlib.ec2.api.settling import when_known
from pycloudlib.ec2.network.security_groups import SecurityGroups
from pycloudlib.ec2.network.subnets import NetworkParts
from pycloudlib.ec2.network.vpc_plan import VPCPlan
from pycloudlib.ec2.network.vpc_removal import VPCRemoval
from pycloudlib.errors import CloudError, InvalidArgumentError, NetworkNotFoundError
from pycloudlib.lifecycle import UndoOrder
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

KIND = "VPC"

DELETE_TIMEOUT = 600.0
"""Seconds for deleting a VPC with its instances."""

AVAILABLE_TIMEOUT = 120.0
"""Seconds until a new VPC must be available and have its IPv6 network."""

SUBNET_PREFIX_IPV6 = 64


@dataclass(frozen=True)
class VPC:
    """A VPC, with what an instance needs to be launched into it.

    It is made by EC2.get_or_create_vpc().

    Args:
        id: such as "vpc-0123456789abcdef0".
        name: the tag "Name".
        ipv4_cidr: its network.
        ipv6_cidr: its IPv6 network; empty without one.
        subnets: the id of a subnet in each availability zone that has one.
        security_group_id: of the security group that instances are launched with.
        scope: where it is.
    """

    id: str
    name: str
    ipv4_cidr: str
    ipv6_cidr: str
    subnets: Mapping[str, str]
    security_group_id: str
    scope: Scope = field(repr=False, compare=False)

    @property
    def subnet_ids(self) -> list[str]:
        """The ids of its subnets."""
        return list(self.subnets.values())

    def network_parameters(self, zone: str | None = None) -> dict[str, Any]:
        """Give the parameters of RunInstances that put an instance into this VPC: SubnetId and SecurityGroupIds.

        Args:
            zone: the availability zone; default the first one with a subnet.

        Raises:
            InvalidArgumentError: it has no subnet there.
        """
        if not self.subnets or (zone is not None and zone not in self.subnets):
            known = f"; it has some in {', '.join(self.subnets)}" if self.subnets else ""
            raise InvalidArgumentError(f"{self.id} ({self.name}) has no subnet{f' in {zone}' if zone else ''}{known}")
        subnet_id = self.subnets[zone] if zone else next(iter(self.subnets.values()))
        return {"SubnetId": subnet_id, "SecurityGroupIds": [self.security_group_id]}

    def delete(self, timeout: float = DELETE_TIMEOUT) -> list[Exception]:
        """Delete it with everything in it, its instances first, and wait until they are gone.

        TerminateInstances, DeleteNetworkInterface, DeleteInternetGateway, DeleteSubnet, DeleteRouteTable,
        DeleteSecurityGroup, DeleteVpc. Everything is tried, whatever fails; but as long as an instance stays, which is
        protected for example, its network stays too. One that is gone already is fine.

        Args:
            timeout: seconds; default 600.

        Returns:
            What went wrong; empty when nothing is left.
        """
        return VPCRemoval(self.scope, self.id, timeout).run()


class VPCs:
    """The VPCs of one region.

    Args:
        scope: where they are.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._created: dict[str, VPC] = {}
        self.creating = threading.Lock()

    def created(self) -> list[VPC]:
        """Those that were created here and are not deleted yet, oldest first."""
        return [self._created[vpc_id] for vpc_id in self._scope.ledger.ids(KIND) if vpc_id in self._created]

    def zones(self) -> list[str]:
        """The availability zones of the region, in order (DescribeAvailabilityZones)."""
        with translated():
            found = self._scope.client.describe_availability_zones()["AvailabilityZones"]
        # Local zones and such have other instance types.
        usual = [one for one in found if one.get("ZoneType", "availability-zone") == "availability-zone"]
        return sorted(one["ZoneName"] for one in usual if one.get("State", "available") == "available")

    def named(self, name: str) -> VPC | None:
        """Find one by its tag "Name" (DescribeVpcs).

        Args:
            name: the name.

        Raises:
            InvalidArgumentError: there are several of this name.
        """
        with translated():
            found = self._scope.client.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [name]}])["Vpcs"]
        if len(found) > 1:
            ids = ", ".join(sorted(record["VpcId"] for record in found))
            raise InvalidArgumentError(
                f"there are {len(found)} VPCs named {name!r}: {ids}; delete all but one, or choose another name"
            )
        if not found:
            return None
        vpc_id = found[0]["VpcId"]
        return self._created.get(vpc_id) or self._described(name, found[0])

    def create(self, plan: VPCPlan) -> VPC:
        """Make one; when anything fails, nothing is left (CreateVpc).

        Args:
            plan: what it shall be.

        Raises:
            CapacityError: the account has as many as it may have.
            CloudError: EC2 refused.
        """
        vpc_id = create(self._scope.ledger, self._creation(plan))["VpcId"]
        try:
            vpc = self._furnish(vpc_id, plan)
        except BaseException:
            # Ctrl-C too: nobody but this method knows of it.
            for error in self._remove(vpc_id):
                logger.error("%s was not deleted and is left to clean(): %s", vpc_id, error)
            raise
        self._created[vpc_id] = vpc
        logger.info("created the VPC %s as %s", plan.name, vpc_id)
        return vpc

    def _creation(self, plan: VPCPlan) -> Creation:
        client = self._scope.client

        def call(mark: str) -> Sequence[Any]:
            tags = self._scope.tags_for("vpc", name=plan.name, creation=mark)
            answer = client.create_vpc(
                CidrBlock=plan.ipv4_cidr, AmazonProvidedIpv6CidrBlock=True, TagSpecifications=tags
            )
            return [answer["Vpc"]]

        return Creation(
            kind=KIND,
            id_key="VpcId",
            order=UndoOrder.NETWORK,
            call=call,
            find=lambda filters: client.describe_vpcs(Filters=filters)["Vpcs"],
            delete=lambda record: self._remove(record["VpcId"]),
        )

    def _remove(self, vpc_id: str) -> list[Exception]:
        return VPCRemoval(self._scope, vpc_id, DELETE_TIMEOUT).run()

    def _furnish(self, vpc_id: str, plan: VPCPlan) -> VPC:
        ipv6_cidr = self._wait_for_ipv6(vpc_id)
        modify = partial(self._scope.client.modify_vpc_attribute, VpcId=vpc_id)
        # EC2 takes one attribute in each call.
        when_known(partial(modify, EnableDnsSupport={"Value": True}), what=f"modify {vpc_id}")
        when_known(partial(modify, EnableDnsHostnames={"Value": True}), what=f"modify {vpc_id}")
        group = self._groups().create(plan.name, f"instances in {plan.name}", vpc_id=vpc_id)
        group.add(plan.rules(group.id))
        parts = NetworkParts(self._scope, plan.name)
        gateway_id = parts.create_gateway(vpc_id)
        table_id = parts.create_route_table(vpc_id, gateway_id)
        ipv6_parts = ipaddress.IPv6Network(ipv6_cidr).subnets(new_prefix=SUBNET_PREFIX_IPV6)
        subnets = {
            zone: parts.create_subnet(vpc_id, zone, cidr, str(next(ipv6_parts)), table_id)
            for zone, cidr in plan.subnets.items()
        }
        for part_id in (group.id, gateway_id, table_id, *subnets.values()):
            # From here on they are found in their VPC, and go with it.
            self._scope.ledger.forget(part_id)
        return VPC(vpc_id, plan.name, plan.ipv4_cidr, ipv6_cidr, MappingProxyType(subnets), group.id, self._scope)

    def _wait_for_ipv6(self, vpc_id: str) -> str:
        return wait_until(
            lambda: self._ipv6_when_available(vpc_id),
            what=f"{vpc_id} to be available and to have an IPv6 network",
            timeout=AVAILABLE_TIMEOUT,
            interval=0.5,
            max_interval=3.0,
        )

    def _ipv6_when_available(self, vpc_id: str) -> str | None:
        try:
            with translated():
                record = self._scope.client.describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]
        except CloudError as error:
            if error.code not in PASSING_CODES | NOT_YET_KNOWN_CODES:
                raise
            return None
        return _ipv6_cidr(record) if record.get("State", "available") == "available" else None

    def _described(self, name: str, record: Mapping[str, Any]) -> VPC:
        vpc_id = record["VpcId"]
        in_vpc: Any = [{"Name": "vpc-id", "Values": [vpc_id]}]
        with translated():
            found = self._scope.client.describe_subnets(Filters=in_vpc)["Subnets"]
        in_order = sorted(found, key=lambda one: (one["AvailabilityZone"], one["SubnetId"]), reverse=True)
        # Of several in one zone, the first one.
        subnets = {one["AvailabilityZone"]: one["SubnetId"] for one in in_order}
        return VPC(
            id=vpc_id,
            name=name,
            ipv4_cidr=record["CidrBlock"],
            ipv6_cidr=_ipv6_cidr(record) or "",
            subnets=MappingProxyType(dict(sorted(subnets.items()))),
            security_group_id=self._security_group_of(vpc_id, name),
            scope=self._scope,
        )

    def _security_group_of(self, vpc_id: str, name: str) -> str:
        """The one that was made with the VPC has its name; the default one of a VPC that was made by others."""
        by_name = {group.name: group.id for group in self._groups().find({"vpc_id": vpc_id})}
        group_id = by_name.get(name) or by_name.get("default")
        if group_id is None:
            raise NetworkNotFoundError(f"{vpc_id} ({name}) has no security group", resource_id=vpc_id)
        return group_id

    def _groups(self) -> SecurityGroups:
        return SecurityGroups(self._scope)


def _ipv6_cidr(record: Mapping[str, Any]) -> str | None:
    for association in record.get("Ipv6CidrBlockAssociationSet", ()):
        if association["Ipv6CidrBlockState"]["State"] == "associated":
            return str(association["Ipv6CidrBlock"])
    return None
