"""Request handlers for placement groups."""

from __future__ import annotations

import re
from typing import Any

from pycloudlib.local.api.models.placement_groups import PlacementGroup
from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response

_STRATEGIES = ("cluster", "spread")
_GROUP_ID = re.compile(r"pg-[0-9a-f]{17}")


class PlacementGroupResponse(EC2Response):
    """Handles actions on placement groups."""

    def create_placement_group(self) -> ActionResult:
        """CreatePlacementGroup, without partitions and spread levels, which would have no effect on a single host."""
        strategy = self._get_param("Strategy", "cluster")
        if strategy not in _STRATEGIES:
            raise EC2ClientError(
                "UnsupportedOperation", f"The local EC2 has no placement groups of strategy {strategy}"
            )
        name = self._get_param("GroupName")
        if not name:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter groupName")
        tags = self._parse_tag_specification("placement-group").get("placement-group", {})
        group = self.ec2_backend.create_placement_group(name, strategy, tags)
        return ActionResult({"PlacementGroup": self._placement_group(group)})

    def describe_placement_groups(self) -> ActionResult:
        """DescribePlacementGroups."""
        names, ids = self._get_param("GroupNames", []), self._get_param("GroupIds", [])
        malformed = [group_id for group_id in ids if not _GROUP_ID.fullmatch(group_id)]
        if malformed:
            raise EC2ClientError(
                "InvalidPlacementGroupId.Malformed", f"The placement group ID '{malformed[0]}' is malformed"
            )
        unknown = set(ids) - {group.group_id for group in self.ec2_backend.placement_groups.values()}
        if unknown:
            raise EC2ClientError(
                "InvalidPlacementGroup.Unknown", f"The placement group ID '{min(unknown)}' is unknown."
            )
        groups = [self.ec2_backend.placement_group(name) for name in names] or [
            group for group in self.ec2_backend.placement_groups.values() if not ids or group.group_id in ids
        ]
        described = [self._placement_group(group) for group in groups]
        return ActionResult({"PlacementGroups": described})

    def delete_placement_group(self) -> ActionResult:
        """DeletePlacementGroup."""
        self.ec2_backend.delete_placement_group(self._get_param("GroupName"))
        return ActionResult({})

    def _placement_group(self, group: PlacementGroup) -> dict[str, Any]:
        return group.described(f"arn:{self.partition}:ec2:{self.region}:{self.current_account}")
