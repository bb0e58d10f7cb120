"""Request handlers for root volume replacement tasks."""

from __future__ import annotations

from pycloudlib.local.api.models.root_volumes import RootVolumeSource
from pycloudlib.local.api.moto_adapter import ActionResult, EC2Response

_TYPE = "replace-root-volume-task"


class RootVolumeResponse(EC2Response):
    """Handles actions on root volume replacement tasks."""

    def create_replace_root_volume_task(self) -> ActionResult:
        """CreateReplaceRootVolumeTask."""
        source = RootVolumeSource(
            image_id=self._get_param("ImageId"),
            snapshot_id=self._get_param("SnapshotId"),
            volume_id=self._get_param("VolumeId"),
        )
        task = self.ec2_backend.replace_root_volume(
            self._get_param("InstanceId"),
            source,
            delete_replaced=bool(self._get_param("DeleteReplacedRootVolume", False)),
            tags=self._parse_tag_specification().get(_TYPE, {}),
        )
        return ActionResult({"ReplaceRootVolumeTask": task.described()})

    def describe_replace_root_volume_tasks(self) -> ActionResult:
        """DescribeReplaceRootVolumeTasks."""
        tasks = self.ec2_backend.described_root_volume_tasks(self._get_param("ReplaceRootVolumeTaskIds", []))
        return ActionResult({"ReplaceRootVolumeTasks": [task.described() for task in tasks]})
