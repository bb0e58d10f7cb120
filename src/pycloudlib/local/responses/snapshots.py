"""The wire of snapshots: moto's would say that they are complete at once, and whose they are does not matter."""

from __future__ import annotations

from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response


class SnapshotResponse(EC2Response):
    """Answers what is asked about snapshots."""

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
                "Tags": snapshot.tag_set,
            }
        )

    def describe_snapshots(self) -> ActionResult:
        """DescribeSnapshots."""
        snapshots = self.ec2_backend.describe_snapshots(
            snapshot_ids=self._get_param("SnapshotIds", []),
            filters=self._filters_from_querystring(),
            owner_ids=self._get_param("OwnerIds", []),
        )
        return ActionResult({"Snapshots": snapshots})
