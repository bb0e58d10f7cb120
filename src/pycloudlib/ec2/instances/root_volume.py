"""Root volume replacement tasks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import responded, translated
from pycloudlib.ec2.api.records import Records
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.storage.volumes import VolumeDescription, Volumes
from pycloudlib.errors import InvalidArgumentError, ResourceNotFoundError

logger = logging.getLogger(__name__)

SUCCEEDED = "succeeded"
HOPELESS = ("failing", "failed", "failed-detached")

_NOT_FOUND = "InvalidReplaceRootVolumeTaskId.NotFound"


@dataclass(frozen=True)
class RootVolumeTask:
    """The description of a root volume replacement task at one moment.

    Args:
        id: the task id, such as "replacevol-0123456789abcdef0".
        state: "pending", "in-progress", "succeeded", "failing", "failed", or "failed-detached".
        state_reason: always empty; EC2 gives none for these tasks.
    """

    id: str
    state: str
    state_reason: str = ""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> RootVolumeTask:
        """Parse a task of a response."""
        return cls(record["ReplaceRootVolumeTaskId"], record.get("TaskState", ""))


class RootVolumeTasks:
    """The root volume replacement tasks of one region.

    Args:
        context: the context of the region.
        volumes: the volumes of the same region.
    """

    def __init__(self, context: RegionContext, volumes: Volumes) -> None:
        self._context = context
        self._volumes = volumes
        self._records = Records(self._fetch, not_found=_NOT_FOUND)

    def create(self, instance_id: str, source: Mapping[str, str], deadline: Deadline) -> str:
        """Start to replace an instance's root volume, and delete the old one afterward (CreateReplaceRootVolumeTask).

        Args:
            instance_id: the instance id.
            source: ImageId or SnapshotId; empty for the launch state.
            deadline: when to stop waiting for EC2.

        Returns:
            The task id.

        Raises:
            CloudError: EC2 rejected the request.
        """
        specifications = self._context.tags_for("replace-root-volume-task")
        # botocore adds a client token to each call, so retries are safe.
        request: Any = {"InstanceId": instance_id, "DeleteReplacedRootVolume": True, **source}
        response = responded(
            partial(self._context.client.create_replace_root_volume_task, TagSpecifications=specifications, **request),
            what=f"replace the root volume of {instance_id}",
            deadline=deadline,
        )
        task = RootVolumeTask.of(response["ReplaceRootVolumeTask"])
        self._records.created(task.id)
        logger.info("replacing the root volume of %s (%s)", instance_id, task.id)
        return task.id

    def wait_until_succeeded(self, task_id: str, deadline: Deadline) -> None:
        """Wait until a task has succeeded.

        Raises:
            IllegalStateError: the task failed.
            PycloudlibTimeoutError: the task did not succeed in time; the message has the last state.
        """
        self._records.wait_for(task_id, SUCCEEDED, hopeless=HOPELESS, deadline=deadline)

    def root_volume(self, instance_id: str, device_name: str, deadline: Deadline) -> VolumeDescription:
        """Return the root volume of an instance (DescribeVolumes).

        Args:
            instance_id: the instance id.
            device_name: the root device name.
            deadline: when to stop waiting for EC2.

        Raises:
            ResourceNotFoundError: the instance has no root volume.
        """
        filters = {"attachment.instance-id": instance_id, "attachment.device": device_name}
        volumes = self._volumes.find(filters, deadline)
        if not volumes:
            raise ResourceNotFoundError(message=f"{instance_id} has no root volume at {device_name}")
        return volumes[0]

    def tag(self, volume_id: str, tags: Mapping[str, str], deadline: Deadline) -> None:
        """Tag a replacement volume, which EC2 creates without tags (CreateTags)."""
        own_tags = {key: value for key, value in tags.items() if not key.startswith("aws:")}
        if not own_tags:
            return
        pairs: Any = [{"Key": key, "Value": value} for key, value in own_tags.items()]
        tag = partial(self._context.client.create_tags, Resources=[volume_id], Tags=pairs)
        responded(tag, what=f"tag {volume_id}", deadline=deadline)

    def _fetch(self, task_id: str) -> RootVolumeTask:
        with translated():
            response = self._context.client.describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=[task_id])
        tasks = response["ReplaceRootVolumeTasks"]
        if not tasks:
            raise ResourceNotFoundError(
                resource_id=task_id,
                message=f"no root volume replacement task {task_id!r}",
                code=_NOT_FOUND,
                operation="DescribeReplaceRootVolumeTasks",
            )
        return RootVolumeTask.of(tasks[0])


def checked_source(image_id: str | None, snapshot_id: str | None) -> dict[str, str]:
    """Return the parameters of CreateReplaceRootVolumeTask for the source of the new volume.

    Raises:
        InvalidArgumentError: both ids are given, or one is invalid.
    """
    if image_id is not None and snapshot_id is not None:
        raise InvalidArgumentError("replace_root_volume() takes image_id or snapshot_id, not both")
    for name, value in (("image_id", image_id), ("snapshot_id", snapshot_id)):
        if value is not None and (not isinstance(value, str) or not value):
            raise InvalidArgumentError(f"{name} is {value!r}; it must be an id, or None for the launch state")
    sources = {"ImageId": image_id, "SnapshotId": snapshot_id}
    return {name: value for name, value in sources.items() if value is not None}
