"""The specification of machines, their devices, and the observer of their state."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.local.machines.firmware import Firmware
from pycloudlib.local.machines.platforms import X86_64, Platform
from pycloudlib.local.network.attachment import NetworkAttachment


class PowerOffCause(enum.Enum):
    """The cause of a machine's power-off."""

    REQUESTED = "requested"
    GUEST = "the guest powered itself off"
    DIED = "the machine died"


class DiskBus(enum.Enum):
    """The bus of a machine's disks: the name of QEMU's device."""

    NVME = "nvme"
    """The bus on Nitro. QEMU cannot resize it while the guest runs."""
    VIRTIO = "virtio-blk-pci"
    """The substitute for Xen's block devices."""


class MachineOwner(ABC):
    """The observer of a machine's state. The machine's own thread calls it."""

    @abstractmethod
    def machine_running(self) -> None:
        """Handle the start of the machine."""

    @abstractmethod
    def machine_off(self, cause: PowerOffCause, detail: str) -> None:
        """Handle the power-off of a machine that was not destroyed; `detail` says in one line why it died."""


class Disk(ABC):
    """A volume, as a machine uses it.

    Args:
        volume_id: the volume, whose id is the disk's serial number in the guest.
    """

    def __init__(self, volume_id: str) -> None:
        self.volume_id = volume_id

    @abstractmethod
    def file(self) -> Path:
        """Return the writable qcow2 file; create it on first use.

        Raises:
            LocalEC2Error: the file cannot be created.
        """

    @abstractmethod
    def grow(self, size_gb: int) -> None:
        """Grow the disk while no QEMU process uses it.

        Raises:
            LocalEC2Error: the disk cannot be grown.
        """


@dataclass(frozen=True)
class Devices:
    """The devices of a machine while it is on.

    Args:
        disks: the volumes, the root volume first.
        interfaces: the network interfaces, the primary one first.
    """

    disks: tuple[Disk, ...]
    interfaces: tuple[NetworkAttachment, ...]


@dataclass(frozen=True)
class Kernel:
    """A kernel for direct boot, for disks without a boot loader, or whose boot loader starts the same kernel.

    Args:
        path: the kernel's file.
        initrd: the initrd; None without one.
        arguments: the kernel command line.
        warm_initrd: the initramfs for boot snapshots; None if unsupported.
        user_mode_arguments: kernel arguments to add on QEMU's user networking; default none.
        same_as: the built disk whose boot loader starts this kernel, with these arguments; None for disks without a
            boot loader (default).
    """

    path: Path
    initrd: Path | None = None
    arguments: str = ""
    warm_initrd: Path | None = None
    user_mode_arguments: str = ""
    same_as: Path | None = None


@dataclass(frozen=True)
class MachineSpec:
    """The specification of a machine.

    Args:
        instance_id: the instance that the machine backs.
        instance_type: the instance type; the guest can read it.
        memory_mib: the memory in MiB.
        cpus: the number of virtual CPUs.
        kernel: the kernel for direct boot; None if the root disk has a boot loader.
        disk_bus: the bus of the disks; default NVMe.
        kernel_arguments: arguments to add to the kernel command line; default none.
        firmware: the firmware; default a BIOS.
        platform: the platform; default x86_64.
        uefi_data: the initial UEFI variables, as `UefiData`; None for those of the firmware (default).
    """

    instance_id: str
    instance_type: str
    memory_mib: int
    cpus: int
    kernel: Kernel | None = None
    disk_bus: DiskBus = DiskBus.NVME
    kernel_arguments: str = ""
    firmware: Firmware = Firmware.BIOS
    platform: Platform = X86_64
    uefi_data: str | None = None
