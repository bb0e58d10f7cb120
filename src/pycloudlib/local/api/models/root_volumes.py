"""Root volume replacement of running instances."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from pycloudlib.local.api.models.block_devices import BlockDevice
from pycloudlib.local.api.models.image import LocalAmi
from pycloudlib.local.api.models.images import ImageRecords
from pycloudlib.local.api.models.instance_controller import InstanceController
from pycloudlib.local.api.models.volume import LocalAttachment, LocalVolume
from pycloudlib.local.api.moto_adapter import EC2ClientError, Instance, TaggedEC2Resource
from pycloudlib.local.machines.base import Kernel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RootVolumeSource:
    """The source of a replacement root volume: at most one of these; none for the launch state.

    Args:
        image_id: the id of an AMI.
        snapshot_id: the id of a snapshot of the root volume.
        volume_id: the id of a volume.
    """

    image_id: str | None = None
    snapshot_id: str | None = None
    volume_id: str | None = None


class RootVolumeTask(TaggedEC2Resource):
    """A root volume replacement task.

    Args:
        backend: the records that own the task.
        instance: the instance whose root volume is replaced.
        volume: the replacement volume.
        source: the source that the request named.
        delete_replaced: whether EC2 deletes the replaced volume.
    """

    def __init__(
        self, backend: Any, instance: Instance, volume: LocalVolume, source: RootVolumeSource, *, delete_replaced: bool
    ) -> None:
        self.id = f"replacevol-{secrets.token_hex(9)[:17]}"
        self.ec2_backend = backend
        self.instance = instance
        self.volume = volume
        self.source = source
        self.delete_replaced = delete_replaced
        self.state = "pending"
        self.swapped = False
        self.started = datetime.now(timezone.utc)
        self.completed: datetime | None = None

    def swap(self) -> Kernel | None:
        """Attach the replacement volume as the root volume while the machine is off.

        Returns:
            The kernel that the machine boots from now on.
        """
        self.state, self.swapped = "in-progress", True
        self.ec2_backend.swap_root_volume(self)
        return self.volume.kernel

    def end(self, *, succeeded: bool) -> None:
        """Record the outcome. No-op after the first call."""
        if self.completed is not None:
            return
        if not self.swapped:
            self.volume.attachment = None
            if not self.source.volume_id:
                self.ec2_backend.discard_volume(self.volume)
        self.state = "succeeded" if succeeded else "failed"
        self.completed = datetime.now(timezone.utc)

    def described(self) -> dict[str, Any]:
        """Return the task as DescribeReplaceRootVolumeTasks does."""
        return {
            "ReplaceRootVolumeTaskId": self.id,
            "InstanceId": self.instance.id,
            "TaskState": self.state,
            "StartTime": _timestamp(self.started),
            "CompleteTime": _timestamp(self.completed) if self.completed else None,
            "ImageId": self.source.image_id,
            "SnapshotId": self.volume.snapshot_id,
            "DeleteReplacedRootVolume": self.delete_replaced,
            "Tags": self.get_tags(),
        }


class RootVolumeRecords(ImageRecords):
    """The root volume replacement tasks of one account in one region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self.root_volume_tasks: dict[str, RootVolumeTask] = {}
        self._lineages: dict[str, set[str]] = {}
        super().__init__(region_name, account_id)

    def replace_root_volume(
        self, instance_id: str, source: RootVolumeSource, *, delete_replaced: bool, tags: dict[str, str]
    ) -> RootVolumeTask:
        """Boot a running instance from another root volume (CreateReplaceRootVolumeTask).

        Raises:
            EC2ClientError: the instance is not running, or the source is invalid.
        """
        controller = self.controllers[self.get_instance(instance_id).id]
        controller.check("given another root volume", {"running"})
        if sum(identifier is not None for identifier in (source.image_id, source.snapshot_id, source.volume_id)) > 1:
            raise EC2ClientError("InvalidParameterCombination", "Specify only one of imageId, snapshotId, and volumeId")
        root = self._root_volume(controller)
        volume = self._existing_volume(source.volume_id, root) if source.volume_id else self._new_volume(root, source)
        task = RootVolumeTask(self, controller.instance, volume, source, delete_replaced=delete_replaced)
        # Reserve the volume: other requests must not attach or delete it meanwhile.
        volume.attachment = LocalAttachment(  # type: ignore[abstract]  # as moto's
            volume, controller.instance, controller.instance.root_device_name, "attaching"
        )
        self.root_volume_tasks[task.id] = task
        task.add_tags(tags)
        controller.replace_root(task)
        return task

    def described_root_volume_tasks(self, task_ids: list[str]) -> list[RootVolumeTask]:
        """Return root volume replacement tasks (DescribeReplaceRootVolumeTasks).

        Args:
            task_ids: the task ids; empty for all.

        Raises:
            EC2ClientError: a task id is unknown.
        """
        for task_id in task_ids:
            if task_id not in self.root_volume_tasks:
                raise EC2ClientError(
                    "InvalidReplaceRootVolumeTaskId.NotFound",
                    f"The replaceRootVolumeTask ID '{task_id}' does not exist",
                )
        return [self.root_volume_tasks[task_id] for task_id in task_ids or self.root_volume_tasks]

    def swap_root_volume(self, task: RootVolumeTask) -> None:
        """Detach an instance's root volume, and attach the task's volume in its place."""
        instance, name = task.instance, task.instance.root_device_name
        mapped = instance.block_device_mapping[name]
        replaced = self.get_volume(mapped.volume_id)
        self._lineage(instance.id).add(replaced.id)
        self._detach(replaced)
        self._attach(task.volume, instance, name, "attached", delete_on_termination=bool(mapped.delete_on_termination))
        if task.source.image_id:
            instance.image_id = task.source.image_id
        if task.delete_replaced:
            self.discard_volume(replaced)
        logger.info("%s has the root volume %s instead of %s", instance.id, task.volume.id, replaced.id)

    def discard_volume(self, volume: Any) -> None:
        """Delete a detached volume."""
        self._forget(volume)

    def _root_volume(self, controller: InstanceController) -> LocalVolume:
        instance = controller.instance
        volume = self.get_volume(instance.block_device_mapping[instance.root_device_name].volume_id)
        assert isinstance(volume, LocalVolume)  # noqa: S101  (no others are made)
        return volume

    def _new_volume(self, root: LocalVolume, source: RootVolumeSource) -> LocalVolume:
        """Create a volume like the current root volume, with the contents of the source."""
        snapshot_id = self._snapshot_of(root, source)
        snapshot: Any = self.get_snapshot(snapshot_id)
        iops = root.iops if root.volume_type in ("io1", "io2", "gp3") else None
        return self.create_volume(
            max(root.size, snapshot.volume_size),
            str(root.availability_zone),
            snapshot_id,
            root.encrypted,
            root.kms_key_id,
            root.volume_type,
            iops,
            root.throughput,
        )

    def _snapshot_of(self, root: LocalVolume, source: RootVolumeSource) -> str:
        if source.image_id:
            return self._snapshot_of_image(root, source.image_id)
        if source.snapshot_id:
            self._check_lineage(root, source.snapshot_id)
            return source.snapshot_id
        if not root.snapshot_id:
            raise EC2ClientError("InvalidParameterValue", f"The root volume {root.id} was not created from a snapshot")
        return str(root.snapshot_id)

    def _snapshot_of_image(self, root: LocalVolume, image_id: str) -> str:
        ami = self.launchable_image(image_id)
        instance = _instance_of(root)
        if str(ami.architecture) != str(instance.architecture):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"The architecture '{ami.architecture}' of the image {image_id} does not match that of the instance "
                f"'{instance.architecture}'",
            )
        return _root_device(ami).snapshot_id or ""

    def _check_lineage(self, root: LocalVolume, snapshot_id: str) -> None:
        snapshot: Any = self.get_snapshot(snapshot_id)
        instance = _instance_of(root)
        related = {root.id, *self._lineage(instance.id)}
        if snapshot.volume_id not in related and snapshot_id != root.snapshot_id:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"The snapshot '{snapshot_id}' is not of the same lineage as the root volume of '{instance.id}'",
            )

    def _existing_volume(self, volume_id: str, root: LocalVolume) -> LocalVolume:
        volume = self.get_volume(volume_id)
        assert isinstance(volume, LocalVolume)  # noqa: S101  (no others are made)
        if volume.attachment:
            raise EC2ClientError("VolumeInUse", f"{volume_id} is already attached to an instance")
        if volume.availability_zone != root.availability_zone:
            raise EC2ClientError(
                "InvalidVolume.ZoneMismatch",
                f"The volume '{volume_id}' is not in the same availability zone as the instance",
            )
        if root.encrypted and not volume.encrypted:
            raise EC2ClientError("InvalidParameterValue", f"The volume '{volume_id}' is not encrypted")
        return volume

    def _lineage(self, instance_id: str) -> set[str]:
        """Return the ids of an instance's former root volumes."""
        return self._lineages.setdefault(instance_id, set())


def _instance_of(root: LocalVolume) -> Instance:
    attachment: Any = root.attachment
    instance: Instance = attachment.instance
    return instance


def _root_device(ami: LocalAmi) -> BlockDevice:
    return next(device for device in ami.devices if device.device_name == ami.root_device_name)


def _timestamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
