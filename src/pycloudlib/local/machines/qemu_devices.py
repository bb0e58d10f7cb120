"""The devices of a QEMU machine: on its command line, and plugged while it runs. Interfaces have their own module."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from pycloudlib.errors import MachineError
from pycloudlib.local import qemu_img
from pycloudlib.local.machines.base import Disk, DiskBus
from pycloudlib.local.machines.qmp import QMP


class QemuDevice(ABC):
    """A device in one of the machine's slots, and what is behind it.

    Args:
        resource_id: the volume or network interface.
    """

    def __init__(self, resource_id: str) -> None:
        self.resource_id = resource_id

    @property
    def device_id(self) -> str:
        """What QEMU calls it."""
        return f"dev-{self.resource_id}"

    @abstractmethod
    def arguments(self, slot: int) -> list[str]:
        """The command-line arguments with which a machine has it from the start."""

    def take_fds(self) -> list[int]:
        """Return the file descriptors that the arguments name, to be passed on to QEMU and closed by the caller."""
        return []

    @abstractmethod
    def plug(self, qmp: QMP, slot: int) -> None:
        """Give it to a machine that runs.

        Raises:
            MachineError: QEMU refused.
            LocalEC2Error: what is behind it cannot be made.
        """

    def unplug(self, qmp: QMP) -> None:
        """Ask the guest to let go of it; QEMU tells with DEVICE_DELETED when it has.

        Raises:
            MachineError: QEMU refused.
        """
        qmp.execute("device_del", id=self.device_id)

    @abstractmethod
    def release(self, qmp: QMP) -> None:
        """Take away what was behind it, when the guest has let go of it.

        Raises:
            MachineError: QEMU refused.
        """


class QemuDisk(QemuDevice):
    """A volume as a disk whose serial number is the volume id.

    Args:
        disk: the volume.
        bus: how it is connected.
    """

    def __init__(self, disk: Disk, bus: DiskBus) -> None:
        super().__init__(disk.volume_id)
        self.disk = disk
        self._bus = bus
        self._top = disk.volume_id
        self._overlays = 0

    def arguments(self, slot: int) -> list[str]:
        """The command-line arguments with which a machine has it from the start."""
        self._top = self.disk.volume_id
        return ["-blockdev", json.dumps(self._node()), "-device", option(self._device(slot))]

    def plug(self, qmp: QMP, slot: int) -> None:
        """Give it to a machine that runs."""
        self._top = self.disk.volume_id
        qmp.execute("blockdev-add", **self._node())
        try:
            qmp.execute("device_add", **self._device(slot))
        except BaseException:
            self.release(qmp)
            raise

    def release(self, qmp: QMP) -> None:
        """Take its file away; the overlays on it go by themselves."""
        qmp.execute("blockdev-del", **{"node-name": self.disk.volume_id})

    def freeze(self, qmp: QMP, overlay: str) -> None:
        """Let everything that is written from now on go to a new overlay.

        Raises:
            MachineError: QEMU refused, for want of room or otherwise.
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
        """Make it larger while the guest runs, which sees its new size at once.

        Raises:
            MachineError: QEMU refused, or cannot resize a disk of this kind.
        """
        if self._bus is DiskBus.NVME:
            raise MachineError(
                f"{self.resource_id} cannot grow while its machine is on: QEMU's NVMe disks keep their size"
            )
        qmp.execute("block_resize", **{"node-name": self._top, "size": size_gb * qemu_img.GIB})

    def _node(self) -> dict[str, Any]:
        # Machines are thrown away: what the host has not written yet need not survive the host.
        lasting = {"cache": {"no-flush": True}, "discard": "unmap"}
        file = {"driver": "file", "filename": str(self.disk.file()), **lasting}
        return {"driver": "qcow2", "node-name": self.disk.volume_id, "file": file, **lasting}

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
