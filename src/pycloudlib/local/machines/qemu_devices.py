"""The devices of a QEMU machine, cold-plugged and hotplugged. Interfaces have their own module."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from pycloudlib.errors import MachineError
from pycloudlib.local import qemu_img
from pycloudlib.local.machines.base import Disk, DiskBus
from pycloudlib.local.machines.qmp import QMP

ROOT_SLOT = 0
BOOT_INDEX = "1"
"""The place of the root disk in the firmware's boot order; a kernel for direct boot has place 0."""


class QemuDevice(ABC):
    """A device in one of the machine's slots, and its backend.

    Args:
        resource_id: the volume or network interface.
    """

    can_disconnect = True
    """Whether the backend can be removed while the guest has the device."""

    def __init__(self, resource_id: str) -> None:
        self.resource_id = resource_id

    @property
    def device_id(self) -> str:
        """QEMU's id of the device."""
        return f"dev-{self.resource_id}"

    @abstractmethod
    def arguments(self, slot: int) -> list[str]:
        """Return the command-line arguments of the cold-plugged device."""

    def take_fds(self) -> list[int]:
        """Return the file descriptors that the arguments name. The caller passes them to QEMU and closes them."""
        return []

    @abstractmethod
    def plug(self, qmp: QMP, slot: int) -> None:
        """Hotplug the device.

        Raises:
            MachineError: QEMU rejected the device.
            LocalEC2Error: the backend cannot be created.
        """

    def unplug(self, qmp: QMP) -> None:
        """Request that the guest release the device; QEMU reports the release with DEVICE_DELETED.

        Raises:
            MachineError: QEMU rejected the request.
        """
        qmp.execute("device_del", id=self.device_id)

    @abstractmethod
    def release(self, qmp: QMP) -> None:
        """Remove the backend after the guest has released the device.

        Raises:
            MachineError: QEMU rejected the removal.
        """


class QemuDisk(QemuDevice):
    """A volume as a disk whose serial number is the volume id.

    Args:
        disk: the volume.
        bus: the bus of the disk.
    """

    can_disconnect = False  # QEMU keeps the block node of a device in use

    def __init__(self, disk: Disk, bus: DiskBus) -> None:
        super().__init__(disk.volume_id)
        self.disk = disk
        self._bus = bus
        self._top = disk.volume_id
        self._overlays = 0

    def arguments(self, slot: int) -> list[str]:
        """Return the command-line arguments of the cold-plugged device."""
        self._top = self.disk.volume_id
        device = self._device(slot)
        if slot == ROOT_SLOT:
            device["bootindex"] = BOOT_INDEX
        return ["-blockdev", json.dumps(self._node()), "-device", option(device)]

    def plug(self, qmp: QMP, slot: int) -> None:
        """Hotplug the device."""
        self._top = self.disk.volume_id
        qmp.execute("blockdev-add", **self._node())
        try:
            qmp.execute("device_add", **self._device(slot))
        except BaseException:
            self.release(qmp)
            raise

    def release(self, qmp: QMP) -> None:
        """Remove the disk's block node; QEMU removes the overlays on it."""
        qmp.execute("blockdev-del", **{"node-name": self.disk.volume_id})

    def freeze(self, qmp: QMP, overlay: str) -> None:
        """Redirect all further writes to a new overlay.

        Raises:
            MachineError: QEMU rejected the command, for example for lack of disk space.
        """
        self._overlays += 1
        top = f"{self.disk.volume_id}-{self._overlays}"
        qmp.execute(
            "blockdev-snapshot-sync",
            **{
                "node-name": self._top,
                "snapshot-file": overlay,
                "snapshot-node-name": top,
                "format": "qcow2",
            },
        )
        self._top = top

    def grow(self, qmp: QMP, size_gb: int) -> None:
        """Grow the disk while the guest runs, which sees the new size at once.

        Raises:
            MachineError: QEMU rejected the command, or cannot resize a disk on this bus.
        """
        if self._bus is DiskBus.NVME:
            raise MachineError(
                f"{self.resource_id} cannot grow while its machine is on: QEMU's NVMe disks keep their size"
            )
        qmp.execute("block_resize", **{"node-name": self._top, "size": size_gb * qemu_img.GIB})

    def _node(self) -> dict[str, Any]:
        # Machines are disposable: their unflushed writes need not survive a crash of the host.
        options = {"cache": {"no-flush": True}, "discard": "unmap"}
        file = {"driver": "file", "filename": str(self.disk.file()), **options}
        return {"driver": "qcow2", "node-name": self.disk.volume_id, "file": file, **options}

    def _device(self, slot: int) -> dict[str, str]:
        return {
            "driver": self._bus.value,
            "id": self.device_id,
            "drive": self.disk.volume_id,
            "serial": self.disk.volume_id.replace("-", ""),
            "bus": f"port{slot}",
        }


def option(device: Mapping[str, str]) -> str:
    """Format the properties of a device as the value of QEMU's `-device` option."""
    driver = device["driver"]
    return ",".join([driver, *(f"{name}={value}" for name, value in device.items() if name != "driver")])
