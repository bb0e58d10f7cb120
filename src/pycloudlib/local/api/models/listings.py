"""Fast lookups of instances and tags."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from pycloudlib.local.api.filters import Matches
from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import (
    EC2_PREFIX_TO_RESOURCE,
    InvalidInstanceIdError,
    Reservation,
    get_prefix,
)

_RESOURCE_TYPES = {
    "dedicated_host": "dedicated-host",
    "flow-logs": "vpc-flow-log",
    "managed-prefix-list": "prefix-list",
    "nat-gateway": "natgateway",
    "reserved-instance": "reserved-instances",
    "spot-instance-request": "spot-instances-request",
    "vpc-elastic-ip": "elastic-ip",
}
"""EC2's resource types by moto's names."""


class ListingRecords(LocalRecords):
    """Read-only queries on the records of one account in one region."""

    def described_instances(
        self, instance_ids: Sequence[str], launch_matches: Matches, instance_matches: Matches
    ) -> list[Reservation]:
        """Return the reservations of the matching instances, with those instances only (DescribeInstances).

        Args:
            instance_ids: the instance ids; empty for all.
            launch_matches: returns whether a reservation matches.
            instance_matches: returns whether an instance matches.

        Raises:
            EC2ClientError: an instance id is unknown.
        """
        wanted = set(instance_ids)
        unknown = sorted(wanted - self.controllers.keys())
        if unknown:
            raise InvalidInstanceIdError(unknown)
        launches = self.reservations
        if wanted:
            named = {self.controllers[one].reservation_id for one in wanted}
            launches = {one: self.reservations[one] for one in named}
        found = []
        for reservation in launches.values():
            if not launch_matches(reservation):
                continue
            instances = [
                one for one in reservation.instances if (not wanted or one.id in wanted) and instance_matches(one)
            ]
            if instances:
                part = copy.copy(reservation)
                part.instances = instances
                found.append(part)
        return found

    def describe_tags(self, filters: dict[str, list[str]] | None = None) -> list[dict[str, str]]:
        """Return tags (DescribeTags).

        moto queries one resource's tags for each description, and its own lookup scans the tags of all resources.
        """
        ids = (filters or {}).get("resource-id", [])
        if set(filters or {}) != {"resource-id"} or len(ids) != 1 or set("*?") & set(ids[0]):
            found: list[dict[str, str]] = super().describe_tags(filters)
            return [{**tag, "resource_type": _resource_type(tag["resource_id"])} for tag in found]
        kind = _resource_type(ids[0])
        return [
            {"resource_id": ids[0], "key": key, "value": value, "resource_type": kind}
            for key, value in self.tags.get(ids[0], {}).items()
        ]


def _resource_type(resource_id: str) -> str:
    known = EC2_PREFIX_TO_RESOURCE.get(get_prefix(resource_id), "")
    return _RESOURCE_TYPES.get(known, known)
