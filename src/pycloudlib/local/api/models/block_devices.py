"""Block device mappings of images and requests, and their merge."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pycloudlib.local.api.models.volume_types import DEFAULT_VOLUME_TYPE
from pycloudlib.local.api.moto_adapter import EC2ClientError

_DEVICE_NAME = re.compile(
    r"(/dev/)?(sd[a-z]([1-9]|1[0-5])?|hd[a-z]([1-9]|1[0-5])?|xvd([a-z]|[b-d][a-z])([1-9]|1[0-5])?)"
)


@dataclass(frozen=True)
class BlockDevice:
    """A volume that a launch creates, or that an image maps.

    Args:
        device_name: the device name, such as "/dev/sdf".
        size_gb: the size in GiB; None for the size of the snapshot.
        snapshot_id: the snapshot that the volume is created from; None for an empty volume.
        volume_type: the volume type; None for the default type.
        delete_on_termination: whether EC2 deletes the volume with the instance; None for the image's value, else True.
        encrypted: whether the volume is encrypted; default no.
        iops: I/O operations per second; None for the default of the volume type.
        throughput: MiB per second; None for the default of the volume type.
        kms_key_id: the KMS key that encrypts the volume; None for the account's default key.
    """

    device_name: str
    size_gb: int | None = None
    snapshot_id: str | None = None
    volume_type: str | None = None
    delete_on_termination: bool | None = None
    encrypted: bool = False
    iops: int | None = None
    throughput: int | None = None
    kms_key_id: str | None = None

    def described(self) -> dict[str, Any]:
        """Return the block device mapping as DescribeImages does."""
        return {
            "DeviceName": self.device_name,
            "Ebs": {
                "SnapshotId": self.snapshot_id,
                "VolumeSize": self.size_gb,
                "DeleteOnTermination": self.delete_on_termination is not False,
                "VolumeType": self.volume_type or DEFAULT_VOLUME_TYPE,
                "Encrypted": self.encrypted,
                "Iops": self.iops,
                "Throughput": self.throughput,
            },
        }


@dataclass(frozen=True)
class RequestedDevices:
    """The block device mappings of a request.

    Args:
        devices: the mappings with a volume.
        left_out: the device names that the request suppresses (NoDevice).
    """

    devices: tuple[BlockDevice, ...] = ()
    left_out: frozenset[str] = frozenset()


def parse(mappings: Iterable[Mapping[str, Any]]) -> RequestedDevices:
    """Parse the block device mappings of a request, ignoring instance store volumes (VirtualName).

    Raises:
        EC2ClientError: a device name is invalid, missing, or repeated.
    """
    devices: dict[str, BlockDevice] = {}
    left_out: set[str] = set()
    for mapping in mappings:
        name = str(mapping.get("DeviceName") or "")
        check_device_name(name)
        if name in devices or name in left_out:
            raise _invalid(f"The device '{name}' is used in more than one block-device mapping")
        if mapping.get("NoDevice") is not None:
            left_out.add(name)
        elif mapping.get("VirtualName") is None:
            devices[name] = _parse_one(name, mapping.get("Ebs") or {})
    return RequestedDevices(tuple(devices.values()), frozenset(left_out))


def merge(image_devices: Iterable[BlockDevice], requested: RequestedDevices) -> list[BlockDevice]:
    """Merge an image's devices with a request's, which add, change, or suppress devices."""
    merged = {device.device_name: device for device in image_devices if device.device_name not in requested.left_out}
    for device in requested.devices:
        base = merged.get(device.device_name)
        merged[device.device_name] = device if base is None else _changed(base, device)
    return list(merged.values())


def check_device_name(name: str) -> None:
    """Validate a device name.

    Raises:
        EC2ClientError: the name is invalid (InvalidParameterValue).
    """
    if not _DEVICE_NAME.fullmatch(name):
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ({name}) for parameter device is invalid. {name} is not a valid EBS device name.",
        )


def _parse_one(name: str, ebs: Mapping[str, Any]) -> BlockDevice:
    if not ebs:
        raise EC2ClientError("MissingParameter", "The request must contain the parameter ebs")
    return BlockDevice(
        device_name=name,
        size_gb=_number(ebs.get("VolumeSize")),
        snapshot_id=ebs.get("SnapshotId"),
        volume_type=ebs.get("VolumeType"),
        delete_on_termination=_flag(ebs.get("DeleteOnTermination")),
        encrypted=bool(_flag(ebs.get("Encrypted"))),
        iops=_number(ebs.get("Iops")),
        throughput=_number(ebs.get("Throughput")),
        kms_key_id=ebs.get("KmsKeyId"),
    )


def _changed(base: BlockDevice, requested: BlockDevice) -> BlockDevice:
    changes = {name: value for name, value in vars(requested).items() if value is not None and value is not False}
    if requested.delete_on_termination is not None:
        changes["delete_on_termination"] = requested.delete_on_termination
    if requested.volume_type is not None and requested.volume_type != base.volume_type:
        base = replace(base, iops=None, throughput=None)
    return replace(base, **changes)


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _flag(value: Any) -> bool | None:
    return None if value is None else str(value).lower() == "true"


def _invalid(reason: str) -> EC2ClientError:
    return EC2ClientError("InvalidBlockDeviceMapping", reason)
