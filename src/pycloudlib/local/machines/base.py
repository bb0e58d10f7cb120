"""What a machine behind an instance is made of, and who is notified of its state."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.local.network.attachment import NetworkAttachment


class PowerOffCause(enum.Enum):
    """Why a machine went off."""

    REQUESTED = "requested"
    GUEST = "the guest powered itself off"
    DIED = "the machine died"


class DiskBus(enum.Enum):
    """How the disks of a machine are connected: the name of QEMU's device."""

    NVME = "nvme"
    """As on Nitro. QEMU cannot resize it while the guest runs."""
    VIRTIO = "virtio-blk-pci"
    """In place of Xen's block devices."""


class MachineOwner(ABC):
    """Whoever is notified of a machine's state. Called from the machine's own thread."""

    @abstractmethod
    def machine_running(self) -> None:
        """The machine has started."""

    @abstractmethod
    def machine_off(self, cause: PowerOffCause, detail: str) -> None:
        """The machine has gone off, and was not destroyed; `detail` says in one line why it died."""


class Disk(ABC):
    """A volume, as a machine uses it.

    Args:
        volume_id: the volume; the guest sees it as the disk's serial number.
    """

    def __init__(self, volume_id: str) -> None:
        self.volume_id = volume_id

    @abstractmethod
    def file(self) -> Path:
        """The qcow2 file that is written to now; made when it is first asked for.

        Raises:
            LocalEC2Error: it cannot be made.
        """

    @abstractmethod
    def grow(self, size_gb: int) -> None:
        """Make it larger, while no QEMU uses it.

        Raises:
            LocalEC2Error: it cannot be.
        """


@dataclass(frozen=True)
class Devices:
    """What a machine has while it is on.

    Args:
        disks: its volumes, the root volume first.
        interfaces: its network interfaces, the primary one first.
    """

    disks: tuple[Disk, ...]
    interfaces: tuple[NetworkAttachment, ...]


@dataclass(frozen=True)
class Kernel:
    """A kernel that is booted directly, for disks without a boot loader.

    Args:
        path: the kernel.
        initrd: what it is started with; None for none.
        arguments: its command line.
        warm_initrd: the initramfs in which a machine can be saved, for others to go on from there; None for none.
    """

    path: Path
    initrd: Path | None = None
    arguments: str = ""
    warm_initrd: Path | None = None


@dataclass(frozen=True)
class MachineSpec:
    """What a machine is made of, for its whole life.

    Args:
        instance_id: the instance it stands behind.
        instance_type: what the instance was launched as; the guest can read it.
        memory_mib: memory in MiB.
        cpus: number of virtual CPUs.
        kernel: booted directly; None when the root disk has a boot loader.
        disk_bus: how its disks are connected.
    """

    instance_id: str
    instance_type: str
    memory_mib: int
    cpus: int
    kernel: Kernel | None = None
    disk_bus: DiskBus = DiskBus.NVME
