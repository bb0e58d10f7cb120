"""Volumes: made, attached to machines, and gone with them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidInstanceIdError,
    InvalidVolumeAttachmentError,
    InvalidVolumeDetachmentError,
    MissingParameterError,
    VolumeInUseError,
)
from moto.ec2.models.block_device import BlockDeviceType
from moto.ec2.models.elastic_block_store import GP3_DEFAULT_IOPS, Volume, VolumeAttachment
from moto.ec2.models.instances import Instance
from moto.ec2.utils import generic_filter, random_volume_id

from pycloudlib.errors import PycloudlibError
from pycloudlib.local.machines.base import Kernel, Machine
from pycloudlib.local.models.base import LocalRecords
from pycloudlib.local.models.block_devices import (
    DEFAULT_VOLUME_TYPE,
    BlockDevice,
    check_device_name,
    check_volume,
)

logger = logging.getLogger(__name__)


class LocalAttachment(VolumeAttachment):
    """A volume's being attached, or on its way to or from there."""

    @property
    def delete_on_termination(self) -> bool:
        """Whether the volume goes with the instance."""
        mapped = self.instance.block_device_mapping.get(self.device)
        return bool(mapped and mapped.delete_on_termination)


class LocalVolume(Volume):
    """A volume whose contents are in the server's store."""

    kernel: Kernel | None = None
    """What a machine boots with that has it as its root volume; None when it has a boot loader."""

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        """What a filter of DescribeVolumes compares."""
        if filter_name == "attachment.delete-on-termination":
            return self.attachment.delete_on_termination if isinstance(self.attachment, LocalAttachment) else None
        return super().get_filter_value(filter_name, method_name)


class VolumeRecords(LocalRecords):
    """The volumes of one account in one region."""

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
        """CreateVolume: empty, or with what a snapshot has."""
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
        )
        size_gb, kernel = self.check_block_device(device)
        volume = LocalVolume(  # type: ignore[abstract]  # as moto's own is
            self,
            volume_id=random_volume_id(),
            size=size_gb,
            zone=zone,
            snapshot_id=snapshot_id or None,
            encrypted=encrypted,
            kms_key_id=kms_key_id,
            volume_type=volume_type or DEFAULT_VOLUME_TYPE,
            iops=device.iops or (GP3_DEFAULT_IOPS if volume_type == "gp3" else None),
            throughput=device.throughput,
        )
        volume.kernel = kernel
        with _refused():
            self.cloud.volumes.create(volume.id, size_gb, snapshot_id or None)
        self.volumes[volume.id] = volume
        return volume

    def check_block_device(self, device: BlockDevice) -> tuple[int, Kernel | None]:
        """Refuse a volume that cannot be made.

        Returns:
            Its size in GiB, and what a machine boots with from it.

        Raises:
            EC2ClientError: its type, its size or its snapshot will not do.
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
        check_volume(device.volume_type or DEFAULT_VOLUME_TYPE, size_gb, device.iops)
        return size_gb, kernel

    def get_volume(self, volume_id: str) -> Volume:
        """Find a volume.

        Raises:
            EC2ClientError: there is none of that id.
        """
        if not str(volume_id).startswith("vol-"):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ({volume_id}) for parameter volumeId is invalid. Expected: 'vol-...'.",
            )
        return super().get_volume(volume_id)

    def describe_volumes(self, volume_ids: list[str] | None = None, filters: Any = None) -> list[Volume]:
        """DescribeVolumes."""
        volumes = [self.get_volume(one) for one in volume_ids] if volume_ids else list(self.volumes.values())
        found: list[Volume] = generic_filter(filters, volumes) if filters else volumes
        return found

    def delete_volume(self, volume_id: str) -> Volume:
        """DeleteVolume: one that no instance has."""
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
        """ModifyVolume: another type, or a greater size while no instance has it."""
        volume = self.get_volume(volume_id)
        size = None if target_size is None else int(target_size)
        iops = None if target_iops is None else int(target_iops)
        volume_type = target_volume_type or volume.volume_type
        check_volume(
            volume_type, size or volume.size, iops or (volume.iops if volume_type == volume.volume_type else None)
        )
        if size is not None and size < volume.size:
            raise EC2ClientError("InvalidParameterValue", "New size cannot be smaller than existing size")
        if size is not None and size > volume.size:
            if volume.attachment:
                raise EC2ClientError(
                    "UnsupportedOperation", "The local EC2 cannot make a volume larger while an instance has it"
                )
            with _refused():
                self.cloud.volumes.grow(volume.id, size)
        return super().modify_volume(volume_id, size, target_volume_type, iops, target_throughput, None)

    def attach_volume(
        self,
        volume_id: str,
        instance_id: str,
        device_path: str,
        delete_on_termination: bool = False,
    ) -> LocalAttachment:
        """AttachVolume: to an instance that runs, or is stopped."""
        volume = self.get_volume(volume_id)
        life = self.lives.get(instance_id)
        if life is None:
            raise InvalidInstanceIdError(instance_id)
        instance = life.instance
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
        life.machine.attach_disk(self.cloud.volumes.disk(volume_id))
        return attachment

    def check_room_for_device(self, instance: Instance) -> None:
        """Refuse a volume or an interface for which the instance's machine has no slot.

        Raises:
            EC2ClientError: AttachmentLimitExceeded.
        """
        limit = self.cloud.driver.device_limit
        if len(instance.block_device_mapping) + len(instance.nics) >= limit:
            raise EC2ClientError(
                "AttachmentLimitExceeded",
                f"Instance {instance.id} has as many volumes and interfaces as it can have: {limit}",
            )

    def detach_volume(
        self, volume_id: str, instance_id: str | None = None, device_path: str | None = None
    ) -> VolumeAttachment:
        """DetachVolume: when the guest has let go of it; Force does not hurry the guest."""
        volume = self.get_volume(volume_id)
        attachment = volume.attachment
        if attachment is None:
            raise EC2ClientError("IncorrectState", f"Volume '{volume_id}' is in the 'available' state.")
        instance = attachment.instance
        if instance_id and instance_id != instance.id:
            if instance_id not in self.lives:
                raise InvalidInstanceIdError(instance_id)
            raise InvalidVolumeAttachmentError(volume_id, instance_id)
        if device_path and device_path != attachment.device:
            raise InvalidVolumeDetachmentError(volume_id, instance.id, device_path)
        if attachment.status == "detaching":
            raise EC2ClientError("IncorrectState", f"Volume '{volume_id}' is in the 'detaching' state.")
        if attachment.device == instance.root_device_name and instance.state != "stopped":
            raise EC2ClientError(
                "OperationNotPermitted",
                f"Unable to detach root volume '{attachment.device}' from instance '{instance.id}'",
            )
        if instance.state == "stopped":
            self._detach(volume)
        else:
            self._set_attachment(volume, "detaching")
        self.lives[instance.id].machine.detach_disk(volume_id)
        return attachment

    def machine_of(self, volume: Volume) -> Machine | None:
        """The machine that has a volume; None when none has."""
        return self.lives[volume.attachment.instance.id].machine if volume.attachment else None

    def attach_at_launch(self, instance: Instance, devices: list[BlockDevice], tags: dict[str, str]) -> None:
        """Give an instance that is launched its volumes."""
        for device in devices:
            volume = self.create_volume(
                device.size_gb,
                str(instance.availability_zone),
                device.snapshot_id,
                device.encrypted,
                None,
                device.volume_type,
                device.iops,
                device.throughput,
            )
            volume.add_tags(tags)
            kept = device.delete_on_termination is False
            self._attach(volume, instance, device.device_name, "attached", delete_on_termination=not kept)

    def root_kernel(self, instance: Instance) -> Kernel | None:
        """What an instance boots with; None when its root volume has a boot loader."""
        volume: Any = self.get_volume(instance.block_device_mapping[instance.root_device_name].volume_id)
        kernel: Kernel | None = volume.kernel
        return kernel

    def release_volumes(self, instance: Instance) -> None:
        """Take its volumes from an instance that is terminated: what is to go with it goes."""
        for device in list(instance.block_device_mapping.values()):
            volume = self.volumes.get(device.volume_id)
            if volume is None:  # everything was forgotten in between
                self.cloud.volumes.delete(device.volume_id)
                continue
            volume.attachment = None
            if device.delete_on_termination:
                self._forget(volume)
        instance.block_device_mapping.clear()

    def disk_attached(self, instance: Instance, volume_id: str) -> None:
        """The guest can use a volume."""
        volume = self._on_its_way(instance, volume_id, "attaching")
        if volume is not None:
            self._set_attachment(volume, "attached")

    def disk_detached(self, instance: Instance, volume_id: str) -> None:
        """The guest has let go of a volume."""
        volume = self._on_its_way(instance, volume_id, "detaching")
        if volume is not None:
            self._detach(volume)

    def disk_failed(self, instance: Instance, volume_id: str, detail: str) -> None:
        """A volume could not be attached: it is available again."""
        volume = self.volumes.get(volume_id)
        if volume is not None and volume.attachment and volume.attachment.instance is instance:
            logger.warning("%s could not be attached to %s: %s", volume_id, instance.id, detail)
            self._detach(volume)

    def _on_its_way(self, instance: Instance, volume_id: str, status: str) -> Volume | None:
        volume = self.volumes.get(volume_id)
        if volume is None or volume.attachment is None:
            return None
        there = volume.attachment.instance is instance and volume.attachment.status == status
        return volume if there else None

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


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Say in EC2's way what the store cannot do."""
    try:
        yield
    except PycloudlibError as error:
        raise EC2ClientError("InternalError", str(error)) from error
