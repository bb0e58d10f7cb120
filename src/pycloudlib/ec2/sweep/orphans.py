"""Resources that earlier runs left, found only by this library's tags."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from types import MappingProxyType
from typing import Any

from pycloudlib.ec2.api.consistency import call_until_consistent
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.errors import CloudError, InvalidArgumentError
from pycloudlib.tags import CREATED, EXPIRES, NAME, OWNER, RUN

logger = logging.getLogger(__name__)

INSTANCE = "instance"
IMAGE = "image"
SNAPSHOT = "snapshot"
VOLUME = "volume"
INTERFACE = "network interface"
ADDRESS = "elastic address"
SECURITY_GROUP = "security group"
GATEWAY = "internet gateway"
SUBNET = "subnet"
ROUTE_TABLE = "route table"
VPC = "VPC"
KEY_PAIR = "key pair"

ANY_OWNER = "any"

PAGE_SIZE = 100
"""A page size that every call accepts."""

FIND_PATIENCE = 30.0
"""Seconds for which a lookup is repeated while EC2 throttles it."""

UNKNOWN_ACTION_CODES = frozenset({"InvalidAction", "Unsupported", "UnsupportedOperation"})
"""The codes of a server that does not implement such resources."""

_LIVING = ("pending", "running", "stopping", "stopped", "shutting-down")
_GONE_STATES = frozenset({"terminated", "deleted", "deregistered"})


@dataclass(frozen=True)
class Orphan:
    """A resource with this library's tags.

    Args:
        kind: the kind in messages, such as "network interface".
        id: the id, or the name of a key pair.
        region: the region.
        name: the tag "Name"; default empty.
        run: the run that created it.
        owner: the owner of that run: "user@host".
        created: the creation time; None if the tag has no valid time.
        expires: the expiration time; default none.
        state: EC2's state; empty for kinds without one.
        instance_id: the attached instance; empty without one.
        vpc_id: the VPC that contains it or is attached to it; empty without one.
    """

    kind: str
    id: str
    region: str
    name: str = ""
    run: str = ""
    owner: str = ""
    created: datetime | None = None
    expires: datetime | None = None
    state: str = ""
    instance_id: str = ""
    vpc_id: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


@dataclass(frozen=True)
class Selection:
    """The criteria for orphaned resources, all of which must match.

    Args:
        own_run: the run of this process, which is excluded unless `run` selects it.
        older_than: the minimum age in seconds; default any.
        run: the run, or a prefix of it; default any.
        owner: the owner; default any.
        expired: whether to select only expired resources; default no.
    """

    own_run: str
    older_than: float | None = None
    run: str | None = None
    owner: str | None = None
    expired: bool = False

    def matches(self, orphan: Orphan, now: datetime) -> bool:
        """Return whether a resource matches.

        Args:
            orphan: the resource.
            now: the current time, timezone-aware.
        """
        return (
            self._matches_run(orphan)
            and self.owner in (None, orphan.owner)
            and self._is_old_enough(orphan, now)
            and (not self.expired or (orphan.expires is not None and orphan.expires <= now))
        )

    def _matches_run(self, orphan: Orphan) -> bool:
        if self.run is None:
            return orphan.run != self.own_run
        return orphan.run.startswith(self.run)

    def _is_old_enough(self, orphan: Orphan, now: datetime) -> bool:
        if self.older_than is None:
            return True
        # A resource of unknown age may be new.
        return orphan.created is not None and (now - orphan.created).total_seconds() >= self.older_than


def checked_selection(
    own_tags: Mapping[str, str],
    *,
    older_than: float | None,
    run: str | None,
    owner: str | None,
    expired: bool,
) -> Selection:
    """Return the selection for validated arguments.

    Args:
        own_tags: the tags of this process's own resources.
        older_than: the minimum age in seconds; None for any.
        run: the run, or a prefix of it; None for any.
        owner: "user@host", or "any"; None for the owner of this process.
        expired: whether to select only expired resources.

    Raises:
        InvalidArgumentError: an argument is invalid; the message says what is allowed.
    """
    if older_than is not None and not _is_duration(older_than):
        raise InvalidArgumentError(f"older_than is {older_than!r}; it must be a number of seconds, 0 or more")
    for name, text in (("run", run), ("owner", owner)):
        if text is not None and (not isinstance(text, str) or not text):
            raise InvalidArgumentError(f"{name} is {text!r}; it must be a non-empty string")
    if not isinstance(expired, bool):
        raise InvalidArgumentError(f"expired is {expired!r}; it must be True or False")
    selected_owner = None if owner == ANY_OWNER else owner or own_tags[OWNER]
    return Selection(own_tags[RUN], older_than, run, selected_owner, expired)


@dataclass(frozen=True)
class Kind:
    """A kind of resource, and how to find it.

    Args:
        name: the kind in messages.
        operation: the boto3 method.
        result: the key of the resources in its response.
        id_key: the key of the id in a resource.
        parameters: further parameters of the call; default none.
        filters: further filters besides the tag; default none.
        state_key: the key of the state in a resource; default "State".
    """

    name: str
    operation: str
    result: str
    id_key: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    filters: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    state_key: str = "State"

    def find(self, context: RegionContext) -> list[Orphan]:
        """Return the resources with this library's tags in one region (Describe...).

        Args:
            context: the context of the region.

        Raises:
            CloudError: EC2 rejected the request.
        """
        try:
            records = call_until_consistent(
                partial(self._records, context),
                what=f"find every {self.name} in {context.region}",
                codes=(),
                patience=FIND_PATIENCE,
            )
        except CloudError as error:
            if error.code not in UNKNOWN_ACTION_CODES:
                raise
            logger.debug("no %s in %s: %s", self.name, context.region, error)
            return []
        orphans = [self._orphan(record, context.region) for record in records]
        # Filter again, because a server without this filter returns all resources.
        return [orphan for orphan in orphans if orphan.run and orphan.state not in _GONE_STATES]

    def _records(self, context: RegionContext) -> list[Mapping[str, Any]]:
        filters = {"tag-key": [RUN], **self.filters}
        parameters = {"Filters": [{"Name": name, "Values": list(values)} for name, values in filters.items()]}
        with translated():
            return list(_listed(context.client, self, {**parameters, **self.parameters}))

    def _orphan(self, record: Mapping[str, Any], region: str) -> Orphan:
        tags = {tag["Key"]: tag["Value"] for tag in record.get("Tags") or record.get("TagSet") or ()}
        state = record.get(self.state_key) or ""
        return Orphan(
            kind=self.name,
            id=record[self.id_key],
            region=region,
            name=tags.get(NAME, ""),
            run=tags.get(RUN, ""),
            owner=tags.get(OWNER, ""),
            created=_time(tags.get(CREATED)),
            expires=_time(tags.get(EXPIRES)),
            state=state["Name"] if isinstance(state, Mapping) else state,
            instance_id=_attached_to(record, "InstanceId"),
            vpc_id=record.get("VpcId") or _attached_to(record, "VpcId"),
        )


_OWN = MappingProxyType({"OwnerIds": ["self"]})

KINDS = (
    Kind(
        INSTANCE,
        "describe_instances",
        "Reservations",
        "InstanceId",
        filters=MappingProxyType({"instance-state-name": _LIVING}),
    ),
    Kind(IMAGE, "describe_images", "Images", "ImageId", parameters=MappingProxyType({"Owners": ["self"]})),
    Kind(SNAPSHOT, "describe_snapshots", "Snapshots", "SnapshotId", parameters=_OWN),
    Kind(VOLUME, "describe_volumes", "Volumes", "VolumeId"),
    Kind(INTERFACE, "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", state_key="Status"),
    Kind(ADDRESS, "describe_addresses", "Addresses", "AllocationId"),
    Kind(SECURITY_GROUP, "describe_security_groups", "SecurityGroups", "GroupId"),
    Kind(GATEWAY, "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    Kind(SUBNET, "describe_subnets", "Subnets", "SubnetId"),
    Kind(ROUTE_TABLE, "describe_route_tables", "RouteTables", "RouteTableId"),
    Kind(VPC, "describe_vpcs", "Vpcs", "VpcId"),
    Kind(KEY_PAIR, "describe_key_pairs", "KeyPairs", "KeyName"),
)
"""Every kind of resource that this library creates."""

KINDS_BY_NAME = MappingProxyType({kind.name: kind for kind in KINDS})


def _listed(client: Any, kind: Kind, parameters: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    call: Callable[..., Any] = getattr(client, kind.operation)
    pages: Any = [call(**parameters)] if not client.can_paginate(kind.operation) else None
    if pages is None:
        paginator = client.get_paginator(kind.operation)
        pages = paginator.paginate(**parameters, PaginationConfig={"PageSize": PAGE_SIZE})
    for page in pages:
        for item in page.get(kind.result, ()):
            # DescribeInstances groups instances in reservations.
            yield from item.get("Instances", (item,))


def _attached_to(record: Mapping[str, Any], key: str) -> str:
    """Return the resource's attachment: an address has it directly, other kinds in one or several attachments."""
    attachments = [record.get("Attachment") or {}, *(record.get("Attachments") or ())]
    direct = record.get(key, "") if "AllocationId" in record else ""
    return direct or next((attachment[key] for attachment in attachments if attachment.get(key)), "")


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _is_duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
