"""Fast lookups of instances."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from pycloudlib.local.api.filters import Matches
from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import InvalidInstanceIdError, Reservation


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
        requested = set(instance_ids)
        unknown = sorted(requested - self.controllers.keys())
        if unknown:
            raise InvalidInstanceIdError(unknown)
        launches = self.reservations
        if requested:
            named = {self.controllers[instance_id].reservation_id for instance_id in requested}
            launches = {reservation_id: self.reservations[reservation_id] for reservation_id in named}
        matching = []
        for reservation in launches.values():
            if not launch_matches(reservation):
                continue
            instances = [
                instance
                for instance in reservation.instances
                if (not requested or instance.id in requested) and instance_matches(instance)
            ]
            if instances:
                part = copy.copy(reservation)
                part.instances = instances
                matching.append(part)
        return matching
