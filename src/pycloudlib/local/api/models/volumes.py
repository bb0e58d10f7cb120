"""Volumes: creation, modification, attachment, and deletion."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

from pycloudlib.errors import PycloudlibError
from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.models.block_devices import BlockDevice, check_device_name
from pycloudlib.local.api.models.encryption import check_key, key_arn
from pycloudlib.local.api.models.instance_controller import InstanceController
from pycloudlib.local.api.models.instance_types import disk_bus
from pycloudlib.local.api.models.volume import LocalAttachment, LocalModification, LocalVolume
from pycloudlib.local.api.models.volume_types import DEFAULT_VOLUME_TYPE, VOLUME_TYPES, Performance, performance_of
from pycloudlib.local.api.moto_adapter import (
    BlockDeviceType,
    EC2ClientError,
    Instance,
    InvalidInstanceIdError,
    InvalidVolumeAttachmentError,
    InvalidVolumeDetachmentError,
    MissingParameterError,
    Volume,
    VolumeAttachment,
    VolumeInUseError,
    random_volume_id,
    utcnow,
)
from pycloudlib.local.machines.base import DiskBus, Kernel
from pycloudlib.local.machines.commands import End, Grow, Outcome, Plug, Unplug
from pycloudlib.local.machines.machine import Machine

logger = logging.getLogger(__name__)


class VolumeRecords(LocalRecords):
    """The volumes of one account in one region."""

    # moto creates the snapshots of its own AMIs before it sets this attribute.
    ebs_encryption_by_default = False

    def create_volume(
        self,
        size: int | None,
        zone_name: str,
        snapshot_id: str | None = None,
        encrypted: bool = False,
        kms_key_id: str | None = None,
        volume_type: str | None = None,
        iops: int | None = None,
        throughput: int | None = None,
        multi_attach_enabled: bool | None = None,
    ) -> LocalVolume:
        """Create a volume, empty or from a snapshot (CreateVolume)."""
        if multi_attach_enabled:
            raise EC2ClientError("UnsupportedOperation", "The local EC2 does not have volumes for several instances")
        zone = self.get_zone_by_name(zone_name)
        if zone is None:
            raise EC2ClientError("InvalidZone.NotFound", f"The zone '{zone_name}' does not exist.")
        device = BlockDevice(
            device_name="",
            size_gb=None if size is None else int(size),
            snapshot_id=snapshot_id or None,
            volume_type=volume_type,
            encrypted=encrypted,
            iops=None if iops is None else int(iops),
            throughput=None if throughput is None else int(throughput),
            kms_key_id=kms_key_id or None,
        )
        size_gb, kernel, performance = self.check_block_device(device)
        source: Any = self.get_snapshot(snapshot_id) if snapshot_id else None
        encrypted = bool(encrypted or (source and source.encrypted) or self.ebs_encryption_by_default)
        key = kms_key_id or (source.kms_key_id if source else None)
        volume = LocalVolume(  # type: ignore[abstract]  # as moto's own is
            self,
            volume_id=random_volume_id(),
            size=size_gb,
            zone=zone,
            snapshot_id=snapshot_id or "",
            encrypted=encrypted,
            kms_key_id=key_arn(key, self.region_name, self.account_id) if encrypted else None,
            volume_type=performance.volume_type,
            iops=performance.iops,
            throughput=performance.throughput,
            multi_attach_enabled=False,
        )
        volume.kernel = kernel
        with _refused():
            self.cloud.volumes.create(volume.id, size_gb, snapshot_id or None)
        self.volumes[volume.id] = volume
        return volume

    def check_block_device(self, device: BlockDevice) -> tuple[int, Kernel | None, Performance]:
        """Validate the parameters of a new volume.

        Returns:
            The size in GiB, the kernel of the snapshot (None if it has a boot loader), and the performance.

        Raises:
            EC2ClientError: the type, the size, or the snapshot is invalid.
        """
        size_gb, kernel = device.size_gb, None
        if device.snapshot_id:
            snapshot: Any = self.get_snapshot(device.snapshot_id)
            snapshot.check_completed()
            kernel = snapshot.kernel
            size_gb = snapshot.volume_size if size_gb is None else size_gb
            if size_gb < snapshot.volume_size:
                raise EC2ClientError(
                    "InvalidBlockDeviceMapping" if device.device_name else "InvalidParameterValue",
                    f"Volume of size {size_gb}GB is smaller than snapshot '{snapshot.id}', "
                    f"expect size >= {snapshot.volume_size}GB",
                )
        if size_gb is None:
            raise MissingParameterError("size/snapshot")
        check_key(device.kms_key_id, encrypted=device.encrypted or self.ebs_encryption_by_default)
        volume_type = device.volume_type or DEFAULT_VOLUME_TYPE
        return size_gb, kernel, performance_of(volume_type, size_gb, device.iops, device.throughput)

    def get_volume(self, volume_id: str) -> Volume:
        """Return a volume.

        Raises:
            EC2ClientError: the id is unknown or malformed.
        """
        if not str(volume_id).startswith("vol-"):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ({volume_id}) for parameter volumeId is invalid. Expected: 'vol-...'.",
            )
        return super().get_volume(volume_id)

    def describe_volumes(self, volume_ids: list[str] | None = None, filters: Any = None) -> list[Volume]:
        """Return volumes; no ids for all (DescribeVolumes). The dispatcher applies the filters."""
        return [self.get_volume(volume_id) for volume_id in volume_ids] if volume_ids else list(self.volumes.values())

    def delete_volume(self, volume_id: str) -> Volume:
        """Delete a detached volume (DeleteVolume).

        Raises:
            EC2ClientError: the id is unknown, or the volume is attached (VolumeInUse).
        """
        volume = self.get_volume(volume_id)
        if volume.attachment:
            raise VolumeInUseError(volume_id, volume.attachment.instance.id)
        self._forget(volume)
        return volume

    def modify_volume(
        self,
        volume_id: str,
        target_size: int | None = None,
        target_volume_type: str | None = None,
        target_iops: int | None = None,
        target_throughput: int | None = None,
        target_multi_attach_enabled: bool | None = None,
    ) -> Volume:
        """Change a volume's type, or grow it (ModifyVolume)."""
        volume: Any = self.get_volume(volume_id)
        if (target_size, target_volume_type, target_iops, target_throughput) == (None, None, None, None):
            raise EC2ClientError(
                "InvalidParameterValue", "Must specify at least one of size, volumeType, iops, throughput"
            )
        size = volume.size if target_size is None else int(target_size)
        performance = _modified(volume, size, target_volume_type, target_iops, target_throughput)
        if size < volume.size:
            raise EC2ClientError("InvalidParameterValue", "New size cannot be smaller than existing size")
        if volume.is_being_modified:
            raise EC2ClientError("IncorrectModificationState", f"Volume {volume_id} is being modified")
        grows = size > volume.size
        if grows:
            _check_growth(volume)
        modification = LocalModification(volume, size, performance, self.cloud.driver.optimize_seconds)
        volume.volume_type = performance.volume_type
        volume.iops, volume.throughput = performance.iops, performance.throughput
        volume.modifications.append(modification)
        if grows:
            self._grow(volume, modification)
        else:
            modification.finish(None)
        modified: Volume = volume
        return modified

    def describe_volumes_modifications(self, volume_ids: list[str] | None = None, filters: Any = None) -> list[Any]:
        """Return each volume's latest modification (DescribeVolumesModifications).

        The dispatcher applies the filters.
        """
        return [volume.modifications[-1] for volume in self.describe_volumes(volume_ids) if volume.modifications]

    def _grow(self, volume: LocalVolume, modification: LocalModification) -> None:
        size_gb = int(modification.target_size or volume.size)
        machine = self.machine_of(volume)
        if machine is not None:
            disk = self.cloud.volumes.disk(volume.id)
            machine.submit(Grow(disk, size_gb), lambda end: self._volume_grown(volume, modification, end.error))
            return
        try:
            self.cloud.volumes.grow(volume.id, size_gb)
        except PycloudlibError as error:
            self._volume_grown(volume, modification, error)
        else:
            self._volume_grown(volume, modification, None)

    def _volume_grown(self, volume: LocalVolume, modification: LocalModification, error: Exception | None) -> None:
        with self.cloud.lock:
            if error is None:
                volume.size = int(modification.target_size or volume.size)
            else:
                logger.warning("%s could not grow: %s", volume.id, error)
            modification.finish(error)

    def attach_volume(
        self,
        volume_id: str,
        instance_id: str,
        device_path: str,
        delete_on_termination: bool = False,
    ) -> LocalAttachment:
        """Attach a volume to a running or stopped instance (AttachVolume)."""
        volume = self.get_volume(volume_id)
        controller = self.controller_of(instance_id)
        instance = controller.instance
        if volume.attachment:
            raise EC2ClientError("VolumeInUse", f"{volume_id} is already attached to an instance")
        check_device_name(device_path or "")
        if instance.state not in ("running", "stopped"):
            raise EC2ClientError("IncorrectState", f"Instance '{instance_id}' is not 'running'.")
        if volume.availability_zone != instance.availability_zone:
            raise EC2ClientError(
                "InvalidVolume.ZoneMismatch",
                f"The volume '{volume_id}' is not in the same availability zone as instance '{instance_id}'",
            )
        if device_path in instance.block_device_mapping:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Invalid value '{device_path}' for unixDevice. Attachment point {device_path} is already in use",
            )
        self.check_room_for_device(instance)
        on = instance.state == "running"
        attachment = self._attach(
            volume,
            instance,
            device_path,
            "attaching" if on else "attached",
            delete_on_termination=delete_on_termination,
        )
        controller.machine.submit(
            Plug(self.cloud.volumes.disk(volume_id)), partial(self._volume_plugged, instance, volume_id)
        )
        return attachment

    def check_room_for_device(self, instance: Instance) -> None:
        """Require a free slot for another volume or interface in the instance's machine.

        Raises:
            EC2ClientError: no slot is free (AttachmentLimitExceeded).
        """
        limit = self.cloud.driver.device_limit
        if len(instance.block_device_mapping) + len(instance.nics) >= limit:
            raise EC2ClientError(
                "AttachmentLimitExceeded",
                f"Instance {instance.id} has as many volumes and interfaces as it can have: {limit}",
            )

    def detach_volume(
        self, volume_id: str, instance_id: str | None = None, device_path: str | None = None, *, force: bool = False
    ) -> VolumeAttachment:
        """Detach a volume once the guest has released it; with `force`, ask the guest again (DetachVolume)."""
        volume = self.get_volume(volume_id)
        attachment = volume.attachment
        if attachment is None:
            raise EC2ClientError("IncorrectState", f"Volume '{volume_id}' is in the 'available' state.")
        instance = attachment.instance
        if instance_id and instance_id != instance.id:
            self.controller_of(instance_id)
            raise InvalidVolumeAttachmentError(volume_id, instance_id)
        if device_path and device_path != attachment.device:
            raise InvalidVolumeDetachmentError(volume_id, instance.id, device_path)
        if attachment.status == "detaching" and not force:
            raise EC2ClientError("IncorrectState", f"Volume '{volume_id}' is in the 'detaching' state.")
        if attachment.device == instance.root_device_name and instance.state != "stopped":
            raise EC2ClientError(
                "OperationNotPermitted",
                f"Unable to detach root volume '{attachment.device}' from instance '{instance.id}'",
            )
        self._set_attachment(volume, "detaching")
        self.controllers[instance.id].machine.submit(
            Unplug(volume_id, force=force), partial(self._volume_unplugged, instance, volume_id)
        )
        return attachment

    def controller_of(self, instance_id: str) -> InstanceController:
        """Return the controller of an instance.

        Raises:
            EC2ClientError: the instance id is unknown (InvalidInstanceID.NotFound).
        """
        if instance_id not in self.controllers:
            raise InvalidInstanceIdError(instance_id)
        return self.controllers[instance_id]

    def machine_of(self, volume: Volume) -> Machine | None:
        """Return the machine that a volume is attached to; None if it is detached."""
        return self.controllers[volume.attachment.instance.id].machine if volume.attachment else None

    def attach_at_launch(self, instance: Instance, devices: list[BlockDevice], tags: dict[str, str]) -> None:
        """Create the volumes of an instance at launch, and attach them."""
        for device in devices:
            volume = self.create_volume(
                device.size_gb,
                str(instance.availability_zone),
                device.snapshot_id,
                device.encrypted,
                device.kms_key_id,
                device.volume_type,
                device.iops,
                device.throughput,
            )
            volume.add_tags(tags)
            kept = device.delete_on_termination is False
            self._attach(volume, instance, device.device_name, "attached", delete_on_termination=not kept)

    def root_kernel(self, instance: Instance) -> Kernel | None:
        """Return the kernel that an instance boots; None if its root volume has a boot loader."""
        volume: Any = self.get_volume(instance.block_device_mapping[instance.root_device_name].volume_id)
        kernel: Kernel | None = volume.kernel
        return kernel

    def release_volumes(self, instance: Instance) -> None:
        """Detach the volumes of a terminated instance, and delete those with DeleteOnTermination."""
        for device in list(instance.block_device_mapping.values()):
            volume = self.volumes.get(device.volume_id)
            if volume is None:  # the records were reset meanwhile
                self.cloud.volumes.delete(device.volume_id)
                continue
            volume.attachment = None
            if device.delete_on_termination:
                self._forget(volume)
        instance.block_device_mapping.clear()

    def _volume_plugged(self, instance: Instance, volume_id: str, end: End) -> None:
        """Set the attachment to attached, or detach the volume if it could not be attached."""
        with self.cloud.lock:
            volume = self._in_transition(instance, volume_id, {"attaching", "attached"})
            if volume is None or end.outcome is Outcome.OVERTAKEN:
                return  # released with the instance
            if end.outcome is Outcome.DONE:
                self._set_attachment(volume, "attached")
            else:
                logger.warning("%s could not be attached to %s: %s", volume_id, instance.id, end.detail)
                self._detach(volume)

    def _volume_unplugged(self, instance: Instance, volume_id: str, end: End) -> None:
        """Detach the volume, or set it back to attached if the guest did not release it."""
        with self.cloud.lock:
            volume = self._in_transition(instance, volume_id, {"detaching"})
            if volume is None or end.outcome is Outcome.OVERTAKEN:
                return  # released with the instance
            if end.outcome is Outcome.DONE:
                self._detach(volume)
            else:
                logger.warning("%s could not be detached from %s: %s", volume_id, instance.id, end.detail)
                self._set_attachment(volume, "attached")

    def _in_transition(self, instance: Instance, volume_id: str, status: set[str]) -> Volume | None:
        volume = self.volumes.get(volume_id)
        if volume is None or volume.attachment is None:
            return None
        matches = volume.attachment.instance is instance and volume.attachment.status in status
        return volume if matches else None

    def _attach(
        self, volume: Volume, instance: Instance, device_name: str, status: str, *, delete_on_termination: bool
    ) -> LocalAttachment:
        attachment = LocalAttachment(volume, instance, device_name, status)  # type: ignore[abstract]  # as moto's
        volume.attachment = attachment
        instance.block_device_mapping[device_name] = BlockDeviceType(
            volume_id=volume.id,
            status=status,
            size=volume.size,
            attach_time=utcnow(),
            delete_on_termination=delete_on_termination,
        )
        return attachment

    def _set_attachment(self, volume: Volume, status: str) -> None:
        attachment = volume.attachment
        if attachment is not None:
            attachment.status = status
            attachment.instance.block_device_mapping[attachment.device].status = status

    def _detach(self, volume: Volume) -> None:
        attachment, volume.attachment = volume.attachment, None
        if attachment is not None:
            attachment.status = "detached"
            attachment.instance.block_device_mapping.pop(attachment.device, None)

    def _forget(self, volume: Volume) -> None:
        self.volumes.pop(volume.id, None)
        self.cloud.volumes.delete(volume.id)


def _check_growth(volume: Volume) -> None:
    """Reject the growth of a running machine's NVMe disk, which QEMU cannot resize.

    Raises:
        EC2ClientError: the volume is such a disk (UnsupportedOperation).
    """
    instance = volume.attachment.instance if volume.attachment else None
    if instance is None or instance.state == "stopped" or disk_bus(instance.instance_type) is not DiskBus.NVME:
        return
    raise EC2ClientError(
        "UnsupportedOperation",
        f"The local EC2 cannot grow {volume.id} while {instance.id} runs, because {instance.instance_type} is a Nitro "
        "type and QEMU's NVMe disks keep their size: stop the instance or detach the volume first, or launch a Xen "
        "type such as t2.small, whose volumes grow while attached",
    )


def _modified(
    volume: Volume, size_gb: int, volume_type: str | None, iops: int | None, throughput: int | None
) -> Performance:
    """Return a volume's performance after a modification; missing values stay unless the type changes."""
    new_type = volume_type or volume.volume_type
    if new_type == volume.volume_type and VOLUME_TYPES[new_type].iops is not None:
        iops = volume.iops if iops is None else iops
        throughput = volume.throughput if throughput is None else throughput
    return performance_of(new_type, size_gb, iops, throughput)


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Translate errors of the volume store to EC2's InternalError."""
    try:
        yield
    except PycloudlibError as error:
        raise EC2ClientError("InternalError", str(error)) from error
