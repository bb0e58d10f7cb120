"""Request handlers for managed prefix lists."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response

_NETWORKS: dict[str, type[ipaddress.IPv4Network | ipaddress.IPv6Network]] = {
    "IPv4": ipaddress.IPv4Network,
    "IPv6": ipaddress.IPv6Network,
}
"""The CIDR blocks of each address family."""


class PrefixListResponse(EC2Response):
    """Handles actions on managed prefix lists."""

    def create_managed_prefix_list(self) -> ActionResult:
        """CreateManagedPrefixList."""
        family, entries = self._get_param("AddressFamily"), self._cidrs("Entries")
        if family not in _NETWORKS:
            raise EC2ClientError(
                "InvalidParameterValue", f"Value ({family}) for parameter addressFamily is invalid: use IPv4 or IPv6"
            )
        _check_entries(family, entries)
        _check_number(len(entries), self._get_param("MaxEntries"))
        return super().create_managed_prefix_list()

    def modify_managed_prefix_list(self) -> ActionResult:
        """ModifyManagedPrefixList; a change of entries must name the current version."""
        prefix_list = self._own_prefix_list()
        version = self._get_param("CurrentVersion")
        if version is None and (self._get_param("AddEntries") or self._get_param("RemoveEntries")):
            raise EC2ClientError("MissingParameter", "The request must contain the parameter CurrentVersion")
        if version is not None and version != prefix_list.version:
            raise EC2ClientError(
                "PrefixListVersionMismatch",
                f"The prefix list has the incorrect version number: {version}; it is at {prefix_list.version}",
            )
        current = {entry["Cidr"] for entry in prefix_list.entries.get(prefix_list.version) or ()}
        removed, added = self._cidrs("RemoveEntries"), self._cidrs("AddEntries")
        unknown = sorted(set(removed) - current)
        if unknown:
            raise EC2ClientError(
                "InvalidPrefixListModification", f"The prefix list does not have the entries {', '.join(unknown)}"
            )
        _check_entries(prefix_list.address_family, added)
        _check_number(len((current - set(removed)) | set(added)), prefix_list.max_entries)
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

    def _cidrs(self, member: str) -> list[str]:
        return [entry["Cidr"] for entry in self._get_param(member, [])]

    def _prefix_list(self) -> Any:
        prefix_list_id = self._get_param("PrefixListId")
        prefix_list = self.ec2_backend.managed_prefix_lists.get(prefix_list_id)
        if prefix_list is None:
            raise EC2ClientError(
                "InvalidPrefixListID.NotFound", f"The prefix list ID '{prefix_list_id}' does not exist"
            )
        return prefix_list

    def _own_prefix_list(self) -> Any:
        prefix_list = self._prefix_list()
        if prefix_list.owner_id != self.current_account:
            raise EC2ClientError("UnauthorizedOperation", "You are not authorized to perform this operation.")
        return prefix_list


def _check_entries(family: str, cidrs: Collection[str]) -> None:
    for cidr in cidrs:
        try:
            _NETWORKS[family](cidr)
        except ValueError:
            raise EC2ClientError(
                "InvalidParameterValue", f"Value ({cidr}) for parameter cidr is invalid: no {family} CIDR block"
            ) from None
    if len(set(cidrs)) < len(cidrs):
        raise EC2ClientError("InvalidParameterValue", "The same CIDR block must not appear multiple times")


def _check_number(entries: int, maximum: int) -> None:
    if entries > maximum:
        raise EC2ClientError(
            "PrefixListMaxEntriesExceeded", f"The prefix list has at most {maximum} entries, not {entries}"
        )
