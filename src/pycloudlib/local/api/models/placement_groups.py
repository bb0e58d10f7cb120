"""Placement groups. The local EC2 only records them: it has a single host."""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import EC2ClientError


@dataclass(frozen=True)
class PlacementGroup:
    """A placement group.

    Args:
        group_id: the id of the group.
        name: the name of the group.
        strategy: "cluster" or "spread".
        tags: values by key.
    """

    group_id: str
    name: str
    strategy: str
    tags: dict[str, str]

    def described(self, arn_prefix: str) -> dict[str, Any]:
        """Return the group as DescribePlacementGroups does."""
        described: dict[str, Any] = {
            "GroupName": self.name,
            "GroupId": self.group_id,
            "GroupArn": f"{arn_prefix}:placement-group/{self.name}",
            "State": "available",
            "Strategy": self.strategy,
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
        }
        return {**described, "SpreadLevel": "rack"} if self.strategy == "spread" else described


class PlacementGroupRecords(LocalRecords):
    """The placement groups of one account in one region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self.placement_groups: dict[str, PlacementGroup] = {}
        super().__init__(region_name, account_id)

    def create_placement_group(self, name: str, strategy: str, tags: dict[str, str]) -> PlacementGroup:
        """Create a placement group (CreatePlacementGroup).

        Raises:
            EC2ClientError: the name is taken (InvalidPlacementGroup.Duplicate).
        """
        if name in self.placement_groups:
            raise EC2ClientError("InvalidPlacementGroup.Duplicate", f"The placement group '{name}' already exists.")
        group = PlacementGroup(f"pg-{token_hex(9)[:17]}", name, strategy, dict(tags))
        self.placement_groups[name] = group
        # CreateTags and DeleteTags change this dictionary.
        self.tags[group.group_id] = group.tags
        return group

    def placement_group(self, name: str) -> PlacementGroup:
        """Return a placement group by its name.

        Raises:
            EC2ClientError: the name is unknown (InvalidPlacementGroup.Unknown).
        """
        if name not in self.placement_groups:
            raise EC2ClientError("InvalidPlacementGroup.Unknown", f"The placement group '{name}' is unknown.")
        return self.placement_groups[name]

    def delete_placement_group(self, name: str) -> None:
        """Delete a placement group without instances (DeletePlacementGroup).

        Raises:
            EC2ClientError: the name is unknown, or an instance is in the group (InvalidPlacementGroup.InUse).
        """
        group = self.placement_group(name)
        placements: list[Any] = [
            controller.instance.placement
            for controller in self.controllers.values()
            if controller.instance.state != "terminated"
        ]
        if any(placement.group_name == group.name for placement in placements):
            raise EC2ClientError(
                "InvalidPlacementGroup.InUse", f"The placement group '{name}' is in use and may not be deleted."
            )
        del self.placement_groups[name]
