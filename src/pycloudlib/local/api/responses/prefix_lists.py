"""The wire of managed prefix lists."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response


class PrefixListResponse(EC2Response):
    """Answers what is asked about managed prefix lists."""

    def modify_managed_prefix_list(self) -> ActionResult:
        """ModifyManagedPrefixList; a change of the entries names the version that it is based on."""
        prefix_list = self._own_prefix_list()
        version = self._get_param("CurrentVersion")
        if version is None and (self._get_param("AddEntries") or self._get_param("RemoveEntries")):
            raise EC2ClientError("MissingParameter", "The request must contain the parameter CurrentVersion")
        if version is not None and version != prefix_list.version:
            raise EC2ClientError(
                "PrefixListVersionMismatch",
                f"The prefix list has the incorrect version number: {version}; it is at {prefix_list.version}",
            )
        self.params.setdefault("PrefixListName", prefix_list.prefix_list_name)
        return super().modify_managed_prefix_list()

    def delete_managed_prefix_list(self) -> ActionResult:
        """DeleteManagedPrefixList."""
        self._own_prefix_list()
        return super().delete_managed_prefix_list()

    def get_managed_prefix_list_entries(self) -> ActionResult:
        """GetManagedPrefixListEntries."""
        self._prefix_list()
        return super().get_managed_prefix_list_entries()

    def _prefix_list(self) -> Any:
        prefix_list_id = self._get_param("PrefixListId")
        found = self.ec2_backend.managed_prefix_lists.get(prefix_list_id)
        if found is None:
            raise EC2ClientError(
                "InvalidPrefixListID.NotFound", f"The prefix list ID '{prefix_list_id}' does not exist"
            )
        return found

    def _own_prefix_list(self) -> Any:
        found = self._prefix_list()
        if found.owner_id != self.current_account:
            raise EC2ClientError("UnauthorizedOperation", "You are not authorized to perform this operation.")
        return found
