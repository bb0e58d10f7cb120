"""Pagination of IAM's listings, only some of which moto paginates."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, IAMException, IamResponse

DEFAULT_ITEMS = 100
_ALL = 2**31
_MARKER = re.compile(r"[1-9][0-9]{0,8}")


class RoleListingResponse(IamResponse):
    """Handles IAM's actions; its listings come in pages of MaxItems."""

    def list_attached_role_policies(self) -> ActionResult:
        """ListAttachedRolePolicies."""
        return self._page("AttachedPolicies", super().list_attached_role_policies)

    def list_instance_profiles(self) -> ActionResult:
        """ListInstanceProfiles."""
        return self._page("InstanceProfiles", super().list_instance_profiles)

    def list_instance_profiles_for_role(self) -> ActionResult:
        """ListInstanceProfilesForRole."""
        return self._page("InstanceProfiles", super().list_instance_profiles_for_role)

    def list_policies(self) -> ActionResult:
        """ListPolicies."""
        return self._page("Policies", super().list_policies)

    def list_policy_tags(self) -> ActionResult:
        """ListPolicyTags."""
        return self._page("Tags", super().list_policy_tags)

    def list_policy_versions(self) -> ActionResult:
        """ListPolicyVersions."""
        return self._page("Versions", super().list_policy_versions)

    def list_role_policies(self) -> ActionResult:
        """ListRolePolicies."""
        return self._page("PolicyNames", super().list_role_policies)

    def list_role_tags(self) -> ActionResult:
        """ListRoleTags."""
        return self._page("Tags", super().list_role_tags)

    def list_roles(self) -> ActionResult:
        """ListRoles."""
        return self._page("Roles", super().list_roles)

    def list_entities_for_policy(self) -> ActionResult:
        """ListEntitiesForPolicy; only roles can have a policy."""
        return self._page("PolicyRoles", super().list_entities_for_policy)

    def _page(self, member: str, listing: Callable[[], ActionResult]) -> ActionResult:
        """Return the requested page of a listing.

        Args:
            member: the member of the response that holds the records.
            listing: returns all records.

        Raises:
            IAMException: the marker is invalid (ValidationError).
        """
        marker, max_items = self._get_param("Marker"), self._get_param("MaxItems", DEFAULT_ITEMS)
        parameters, self.params = self.params, {**self.params, "Marker": None, "MaxItems": _ALL}
        result: Any = listing().result
        self.params = parameters
        records = list(result[member])
        start = int(marker) if marker and _MARKER.fullmatch(str(marker)) else 0
        if marker and not 0 < start < len(records):
            raise IAMException("ValidationError", "Invalid Marker.")
        end = start + int(max_items)
        is_truncated = end < len(records)
        page = {member: records[start:end], "IsTruncated": is_truncated}
        return ActionResult({**result, **page, "Marker": str(end) if is_truncated else None})
