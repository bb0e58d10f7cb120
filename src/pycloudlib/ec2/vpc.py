"""VPCs and their contents."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent
from pycloudlib.ec2.api.creating import CreateRequest, create
from pycloudlib.ec2.api.faults import NEVER, responded
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.api.retries import JITTER, TRANSIENT_CODES
from pycloudlib.ec2.network.security_groups import SecurityGroups
from pycloudlib.ec2.network.subnets import NetworkParts
from pycloudlib.ec2.network.vpc_candidates import COMPLETE, INCOMPLETE, VPCCandidate, vpc_candidates
from pycloudlib.ec2.network.vpc_plan import VPCDraft, VPCPlan
from pycloudlib.ec2.network.vpc_removal import VPCRemoval
from pycloudlib.errors import (
    CloudError,
    InvalidArgumentError,
    NetworkNotFoundError,
    NoResponseError,
    PermissionDeniedError,
    PycloudlibTimeoutError,
)
from pycloudlib.lifecycle import UndoOrder
from pycloudlib.tags import STATE
from pycloudlib.waiting import acquired, timed_out, wait_until

if TYPE_CHECKING:
    from mypy_boto3_ec2.service_resource import Vpc

logger = logging.getLogger(__name__)

KIND = "VPC"

DELETE_TIMEOUT = 600.0
"""The default timeout in seconds for deleting a VPC with its instances."""

CREATE_TIMEOUT = 300.0
"""The default timeout of `get_or_create_vpc()` in seconds, including waits for other processes."""

AVAILABLE_TIMEOUT = 120.0
"""The seconds within which a new VPC must be available and have its IPv6 block."""

SUBNET_PREFIX_IPV6 = 64


@dataclass(frozen=True)
class VPC:
    """A VPC, with the subnets and the security group for launches.

    `EC2.get_or_create_vpc()` returns a VPC.

    Args:
        id: the id, such as "vpc-0123456789abcdef0".
        name: the tag "Name".
        ipv4_cidr: the IPv4 CIDR block.
        ipv6_cidr: the IPv6 CIDR block; empty without one.
        subnets: one subnet id per availability zone with a subnet.
        security_group_id: the security group of launched instances.
    """

    id: str
    name: str
    ipv4_cidr: str
    ipv6_cidr: str
    subnets: Mapping[str, str]
    security_group_id: str
    _context: RegionContext = field(repr=False, compare=False)

    @property
    def subnet_ids(self) -> list[str]:
        """The ids of the subnets."""
        return list(self.subnets.values())

    @property
    def vpc(self) -> Vpc:
        """The boto3 resource, as in pycloudlib: `vpc.vpc.subnets.all()`. It raises botocore's exceptions."""
        return self._context.session.resource.Vpc(self.id)

    def network_parameters(self, zone: str | None = None) -> dict[str, Any]:
        """Return the parameters of RunInstances for a launch into this VPC: SubnetId and SecurityGroupIds.

        Args:
            zone: the availability zone; default the first one with a subnet.

        Raises:
            InvalidArgumentError: the VPC has no subnet in the zone.
        """
        if not self.subnets or (zone is not None and zone not in self.subnets):
            hint = f"; it has some in {', '.join(self.subnets)}" if self.subnets else ""
            raise InvalidArgumentError(f"{self.id} ({self.name}) has no subnet{f' in {zone}' if zone else ''}{hint}")
        subnet_id = self.subnets[zone] if zone else next(iter(self.subnets.values()))
        return {"SubnetId": subnet_id, "SecurityGroupIds": [self.security_group_id]}

    def delete(self, timeout: float = DELETE_TIMEOUT) -> list[Exception]:
        """Delete the VPC and everything in it, instances first, and wait until they are gone. No-op if it is deleted.

        An error does not prevent further deletions. But if an instance remains, for example a protected one, its
        network remains too. (TerminateInstances, DeleteNetworkInterface, DeleteInternetGateway, DeleteSubnet,
        DeleteRouteTable, DeleteSecurityGroup, DeleteVpc)

        Args:
            timeout: seconds; default 600.

        Returns:
            The errors; empty on success. They include a NoResponseError if EC2 did not respond in time.
        """
        return VPCRemoval(self._context, self.id, Deadline.after(timeout)).run()


class VPCs:
    """The VPCs of a region.

    Args:
        context: the region.
    """

    def __init__(self, context: RegionContext) -> None:
        self._context = context
        self._created: dict[str, VPC] = {}
        self._creating = threading.Lock()

    def created(self) -> list[VPC]:
        """Return the VPCs created here and not deleted yet, oldest first."""
        return [self._created[vpc_id] for vpc_id in self._context.ledger.ids(KIND) if vpc_id in self._created]

    def record(self, vpc: VPC) -> None:
        """Record a VPC as created here, so that `clean()` deletes it and everything in it.

        Args:
            vpc: the VPC.

        Raises:
            InvalidArgumentError: `vpc` is not a `VPC`.
        """
        if not isinstance(vpc, VPC):
            raise InvalidArgumentError(f"{vpc!r} is not a VPC from get_or_create_vpc()")
        self._created[vpc.id] = vpc
        self._context.record(KIND, vpc.id, vpc.delete, UndoOrder.NETWORK)

    def forget(self, vpc: VPC) -> None:
        """Exempt a VPC from `clean()`."""
        self._context.ledger.forget(vpc.id)

    def zones(self, deadline: Deadline = NEVER) -> list[str]:
        """Return the availability zones of the region, sorted by name (DescribeAvailabilityZones).

        Args:
            deadline: when to stop waiting for EC2; default never.
        """
        describe = self._context.client.describe_availability_zones
        zones = responded(describe, what="describe availability zones", deadline=deadline)["AvailabilityZones"]
        # Local Zones and Wavelength Zones have other instance types.
        usual = [zone for zone in zones if zone.get("ZoneType", "availability-zone") == "availability-zone"]
        return sorted(zone["ZoneName"] for zone in usual if zone.get("State", "available") == "available")

    def get_or_create(self, draft: VPCDraft, deadline: Deadline) -> VPC:
        """Return the VPC of a draft's name, or create one (DescribeVpcs, DescribeAvailabilityZones, CreateVpc).

        If processes race to create VPCs of the same name, all use the oldest one. The others delete their own VPC, and
        wait until the oldest is complete.

        Args:
            draft: the name, and the contents of a new VPC.
            deadline: when to give up waiting for EC2, other processes, and other threads.

        Raises:
            InvalidArgumentError: a zone of the draft does not exist, or has no room for its subnet.
            IllegalStateError: the VPC of this name remained incomplete until the deadline.
            NoResponseError: EC2 did not respond by the deadline.
            PycloudlibTimeoutError: other threads or processes created VPCs of this name until the deadline.
            CapacityError: the account has reached its limit of VPCs.
            CloudError: EC2 rejected the request.
        """
        name = draft.name
        # One thread at a time.
        what = f"another thread to find or create a VPC, before {name!r}"
        with acquired(self._creating, what=what, deadline=deadline):
            while True:
                vpc = self._first_when_complete(name, deadline) or self._create_unless_outraced(draft, deadline)
                if vpc is not None:
                    return vpc
                if deadline.has_passed:
                    raise timed_out(f"one VPC named {name!r}", deadline)

    def _first_when_complete(self, name: str, deadline: Deadline) -> VPC | None:
        """Wait until the VPC of a name is complete, and return it; return None if there is none."""
        first: VPCCandidate | None = None

        def poll() -> bool:
            nonlocal first
            first = next(iter(self._candidates(name, deadline)), None)
            if first is None or first.is_complete:
                return True
            if first.id in self._context.ledger:
                # An earlier failure here left it incomplete; this thread holds the lock, so no other completes it.
                self._delete_incomplete(first, deadline)
            elif first.is_abandoned(self._context.ownership.now()):
                raise first.incomplete_error()
            return False

        try:
            wait_until(
                poll,
                what=f"the VPC {name} to be complete",
                deadline=deadline,
                interval=0.5,
                max_interval=3.0,
                jitter=JITTER,
            )
        except PycloudlibTimeoutError as error:
            if first is None or isinstance(error, NoResponseError):
                raise
            raise first.incomplete_error() from None
        if first is None:
            return None
        return self._created.get(first.id) or self._described(name, first.record, deadline)

    def _delete_incomplete(self, incomplete: VPCCandidate, deadline: Deadline) -> None:
        errors = self._remove(incomplete.id, deadline)
        if errors:
            raise incomplete.incomplete_error() from errors[0]

    def _candidates(self, name: str, deadline: Deadline) -> Sequence[VPCCandidate]:
        candidates = vpc_candidates(self._context.client, name, deadline)
        complete = [candidate.id for candidate in candidates if candidate.is_complete]
        if len(complete) > 1:
            duplicates = ", ".join(complete[1:])
            logger.warning("there are %d VPCs named %s: using %s, not %s", len(complete), name, complete[0], duplicates)
        return candidates

    def _create_unless_outraced(self, draft: VPCDraft, deadline: Deadline) -> VPC | None:
        """Create a VPC; delete it on failure, or if another process's VPC is older; return None in that case."""
        plan = draft.plan(self.zones(deadline))
        vpc_id = create(self._context.ledger, self._create_request(plan), deadline)["VpcId"]
        try:
            if not self._is_outraced(plan.name, vpc_id, deadline):
                vpc = self._create_parts(vpc_id, plan, deadline)
                # Another process may meanwhile have created one that counts as older, because its clock is behind.
                if not self._is_outraced(plan.name, vpc_id, deadline):
                    self._mark_complete(vpc_id, deadline)
                    self._created[vpc_id] = vpc
                    logger.info("created the VPC %s as %s", plan.name, vpc_id)
                    return vpc
        except BaseException:
            # Also on Ctrl-C: only this method knows of the VPC.
            self._remove_or_log(vpc_id, deadline)
            raise
        self._remove_or_log(vpc_id, deadline)
        return None

    def _is_outraced(self, name: str, vpc_id: str, deadline: Deadline) -> bool:
        first = next(iter(vpc_candidates(self._context.client, name, deadline)), None)
        if first is None or first.id == vpc_id:
            return False
        logger.info("another process created the VPC %s as %s first: deleting %s", name, first.id, vpc_id)
        return True

    def _mark_complete(self, vpc_id: str, deadline: Deadline) -> None:
        tags: Any = [{"Key": STATE, "Value": COMPLETE}]
        tag = partial(self._context.client.create_tags, Resources=[vpc_id], Tags=tags)
        try:
            responded(tag, what=f"tag {vpc_id}", deadline=deadline)
        except PermissionDeniedError as error:
            logger.warning("other processes will consider %s incomplete: %s", vpc_id, error)

    def _remove_or_log(self, vpc_id: str, deadline: Deadline) -> None:
        for error in self._remove(vpc_id, deadline):
            logger.error("could not delete %s; clean() tries again: %s", vpc_id, error)

    def _create_request(self, plan: VPCPlan) -> CreateRequest:
        client = self._context.client

        def call(idempotency_tag: str) -> Sequence[Any]:
            tags = self._context.tags_for("vpc", name=plan.name, idempotency_tag=idempotency_tag)
            tags[0]["Tags"].append({"Key": STATE, "Value": INCOMPLETE})
            response = client.create_vpc(
                CidrBlock=plan.ipv4_cidr, AmazonProvidedIpv6CidrBlock=True, TagSpecifications=tags
            )
            return [response["Vpc"]]

        return CreateRequest(
            kind=KIND,
            id_key="VpcId",
            order=UndoOrder.NETWORK,
            call=call,
            find=lambda filters: client.describe_vpcs(Filters=filters)["Vpcs"],
            delete=lambda record: self._remove(record["VpcId"], Deadline.after(DELETE_TIMEOUT)),
        )

    def _remove(self, vpc_id: str, deadline: Deadline) -> list[Exception]:
        return VPCRemoval(self._context, vpc_id, deadline).run()

    def _create_parts(self, vpc_id: str, plan: VPCPlan, deadline: Deadline) -> VPC:
        ipv6_cidr = self._wait_for_ipv6(vpc_id, deadline)
        modify = partial(self._context.client.modify_vpc_attribute, VpcId=vpc_id)
        # EC2 accepts one attribute per call.
        for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
            change: Any = {attribute: {"Value": True}}
            call_until_consistent(partial(modify, **change), what=f"modify {vpc_id}", deadline=deadline)
        group = self._groups().create(plan.name, f"instances in {plan.name}", vpc_id=vpc_id, deadline=deadline)
        group.add(plan.rules(group.id), deadline)
        parts = NetworkParts(self._context, plan.name)
        gateway_id = parts.create_gateway(vpc_id, deadline)
        table_id = parts.create_route_table(vpc_id, gateway_id, deadline)
        ipv6_parts = ipaddress.IPv6Network(ipv6_cidr).subnets(new_prefix=SUBNET_PREFIX_IPV6)
        subnets = {
            zone: parts.create_subnet(vpc_id, zone, cidr, str(next(ipv6_parts)), table_id, deadline=deadline)
            for zone, cidr in plan.subnets.items()
        }
        for part_id in (group.id, gateway_id, table_id, *subnets.values()):
            # The parts are deleted with their VPC, which finds them.
            self._context.ledger.forget(part_id)
        return VPC(vpc_id, plan.name, plan.ipv4_cidr, ipv6_cidr, MappingProxyType(subnets), group.id, self._context)

    def _wait_for_ipv6(self, vpc_id: str, deadline: Deadline) -> str:
        return wait_until(
            lambda: self._ipv6_when_available(vpc_id, deadline),
            what=f"{vpc_id} to be available and to have an IPv6 network",
            deadline=deadline.at_most(AVAILABLE_TIMEOUT),
            interval=0.5,
            max_interval=3.0,
        )

    def _ipv6_when_available(self, vpc_id: str, deadline: Deadline) -> str | None:
        describe = partial(self._context.client.describe_vpcs, VpcIds=[vpc_id])
        try:
            record = responded(describe, what=f"describe {vpc_id}", deadline=deadline)["Vpcs"][0]
        except CloudError as error:
            if error.code not in TRANSIENT_CODES:
                raise
            return None
        return _ipv6_cidr(record) if record.get("State", "available") == "available" else None

    def _described(self, name: str, record: Mapping[str, Any], deadline: Deadline) -> VPC:
        vpc_id = record["VpcId"]
        in_vpc: Any = [{"Name": "vpc-id", "Values": [vpc_id]}]
        describe = partial(self._context.client.describe_subnets, Filters=in_vpc)
        records = responded(describe, what="describe subnets", deadline=deadline)["Subnets"]
        in_order = sorted(records, key=lambda subnet: (subnet["AvailabilityZone"], subnet["SubnetId"]), reverse=True)
        # Of several subnets in a zone, use the first one.
        subnets = {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in in_order}
        return VPC(
            id=vpc_id,
            name=name,
            ipv4_cidr=record["CidrBlock"],
            ipv6_cidr=_ipv6_cidr(record) or "",
            subnets=MappingProxyType(dict(sorted(subnets.items()))),
            security_group_id=self._security_group_of(vpc_id, name, deadline),
            _context=self._context,
        )

    def _security_group_of(self, vpc_id: str, name: str, deadline: Deadline) -> str:
        """Return the security group named like the VPC, or else the VPC's default group."""
        by_name = {group.name: group.id for group in self._groups().find({"vpc_id": vpc_id}, deadline)}
        group_id = by_name.get(name) or by_name.get("default")
        if group_id is None:
            raise NetworkNotFoundError(vpc_id, message=f"{vpc_id} ({name}) has no security group")
        return group_id

    def _groups(self) -> SecurityGroups:
        return SecurityGroups(self._context)


def _ipv6_cidr(record: Mapping[str, Any]) -> str | None:
    for association in record.get("Ipv6CidrBlockAssociationSet", ()):
        if association["Ipv6CidrBlockState"]["State"] == "associated":
            return str(association["Ipv6CidrBlock"])
    return None
