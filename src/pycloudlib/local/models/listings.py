"""Finding instances and tags, as fast as their number allows."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from moto.ec2.exceptions import InvalidInstanceIdError
from moto.ec2.models.instances import Instance, Reservation
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from pycloudlib.local.models.base import LocalRecords
from pycloudlib.local.models.instance_filters import Filters, matches, require_known


class ListingRecords(LocalRecords):
    """What is asked of the records of one account in one region without changing them."""

    def described_instances(self, instance_ids: Sequence[str], filters: Filters) -> list[Reservation]:
        """DescribeInstances: the launches of the instances that match, with those instances only.

        Raises:
            EC2ClientError: there is no instance of one of the ids.
        """
        require_known(filters)
        wanted = set(instance_ids)
        unknown = sorted(wanted - {one.id for launch in self.reservations.values() for one in launch.instances})
        if unknown:
            raise InvalidInstanceIdError(unknown)
        found = []
        for reservation in self.reservations.values():
            instances = [
                one
                for one in reservation.instances
                if (not wanted or one.id in wanted) and self._matches(one, reservation.id, filters)
            ]
            if instances:
                part = copy.copy(reservation)
                part.instances = instances
                found.append(part)
        return found

    def _matches(self, instance: Instance, reservation_id: str, filters: Filters) -> bool:
        return not filters or matches(instance, reservation_id, self.tags.get(instance.id, {}), filters)

    def describe_tags(self, filters: dict[str, list[str]] | None = None) -> list[dict[str, str]]:
        """DescribeTags; moto asks for one resource's whenever it describes one, and would look at all others' too."""
        ids = (filters or {}).get("resource-id", [])
        if set(filters or {}) != {"resource-id"} or len(ids) != 1 or set("*?") & set(ids[0]):
            found: list[dict[str, str]] = super().describe_tags(filters)
            return found
        kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(ids[0]), "")
        return [
            {"resource_id": ids[0], "key": key, "value": value, "resource_type": kind}
            for key, value in self.tags.get(ids[0], {}).items()
        ]
