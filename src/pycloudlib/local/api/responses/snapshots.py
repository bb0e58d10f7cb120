"""Request handlers for snapshots, with progress and owners, which moto's handlers ignore."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response, EmptyResult


class SnapshotResponse(EC2Response):
    """Handles actions on snapshots."""

    def create_snapshot(self) -> ActionResult:
        """CreateSnapshot."""
        snapshot = self.ec2_backend.create_snapshot(self._get_param("VolumeId"), self._get_param("Description", ""))
        snapshot.add_tags(self._parse_tag_specification().get("snapshot", {}))
        return ActionResult(
            {
                "SnapshotId": snapshot.id,
                "VolumeId": snapshot.volume_id,
                "State": "pending",
                "StartTime": snapshot.start_time,
                "Progress": "",
                "OwnerId": snapshot.owner_id,
                "Description": snapshot.description,
                "VolumeSize": snapshot.volume_size,
                "Encrypted": snapshot.encrypted,
                "KmsKeyId": snapshot.kms_key_id,
                "Tags": snapshot.tag_set,
            }
        )

    def modify_snapshot_attribute(self) -> ActionResult:
        """ModifySnapshotAttribute, of the attribute createVolumePermission."""
        snapshot_id = self._get_param("SnapshotId")
        change = self._get_param("CreateVolumePermission") or {}
        added, removed = change.get("Add") or [], change.get("Remove") or []
        named = _permissions(self._get_param("UserIds", []), self._get_param("GroupNames", []))
        if self._get_param("OperationType") == "remove":
            removed = [*removed, *named]
        else:
            added = [*added, *named]
        if not added and not removed:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter createVolumePermission")
        self.ec2_backend.add_create_volume_permission(snapshot_id, **_by_kind(added))
        self.ec2_backend.remove_create_volume_permission(snapshot_id, **_by_kind(removed))
        return EmptyResult()

    def copy_snapshot(self) -> ActionResult:
        """CopySnapshot, into the region of the endpoint."""
        destination = self._get_param("DestinationRegion")
        if destination and destination != self.region:
            raise EC2ClientError(
                "InvalidParameterValue", f"Value ({destination}) for parameter destinationRegion is invalid"
            )
        return super().copy_snapshot()

    def describe_snapshots(self) -> ActionResult:
        """DescribeSnapshots."""
        snapshots = self.ec2_backend.described_snapshots(
            self._get_param("SnapshotIds", []), self._get_param("OwnerIds", [])
        )
        return ActionResult({"Snapshots": snapshots})


def _permissions(user_ids: Iterable[str], groups: Iterable[str]) -> list[dict[str, str]]:
    return [*({"UserId": grantee} for grantee in user_ids), *({"Group": grantee} for grantee in groups)]


def _by_kind(permissions: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    listed = list(permissions)
    return {
        "user_ids": [permission["UserId"] for permission in listed if permission.get("UserId")],
        "groups": [permission["Group"] for permission in listed if permission.get("Group")],
    }
