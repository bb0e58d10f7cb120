"""What a machine behind an instance does, whatever it is made of."""

from __future__ import annotations

import enum
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.errors import MachineError
from pycloudlib.local.metadata import InstanceMetadata


class MachineState(enum.Enum):
    """Where a machine is in its life."""

    OFF = "off"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    GONE = "gone"


_MOVES = {
    MachineState.OFF: {MachineState.STARTING, MachineState.GONE},
    MachineState.STARTING: {MachineState.RUNNING, MachineState.ENDING, MachineState.OFF},
    MachineState.RUNNING: {MachineState.ENDING, MachineState.OFF},
    MachineState.ENDING: {MachineState.OFF},
    MachineState.GONE: set(),
}


class PowerOffCause(enum.Enum):
    """Why a machine went off."""

    REQUESTED = "requested"
    GUEST = "the guest powered itself off"
    DIED = "the machine died"


class MachineOwner(ABC):
    """Whoever is told what happens to a machine. Called from the machine's own thread, never while it holds a lock."""

    @abstractmethod
    def machine_running(self) -> None:
        """The machine has started."""

    @abstractmethod
    def machine_off(self, cause: PowerOffCause, detail: str) -> None:
        """The machine has gone off; `detail` says in one line why it died."""

    @abstractmethod
    def disk_attached(self, volume_id: str) -> None:
        """The guest can use a disk that attach_disk() was called for."""

    @abstractmethod
    def disk_detached(self, volume_id: str) -> None:
        """The guest has let go of a disk that detach_disk() was called for."""

    @abstractmethod
    def interface_attached(self, interface_id: str) -> None:
        """The guest can use an interface that attach_interface() was called for."""

    @abstractmethod
    def interface_detached(self, interface_id: str) -> None:
        """The guest has let go of an interface that detach_interface() was called for."""

    @abstractmethod
    def device_failed(self, resource_id: str, detail: str) -> None:
        """A volume or an interface could not be attached; `detail` says in one line why."""


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


@dataclass(frozen=True)
class Address:
    """An address of an interface.

    Args:
        private_ip: the address that the guest has.
        public_ip: the loopback address that leads to the guest's sshd; None for none.
    """

    private_ip: str
    public_ip: str | None = None


@dataclass(frozen=True)
class NetworkAttachment:
    """An interface of a machine and the addresses it answers to.

    Args:
        interface_id: the network interface.
        mac: its hardware address.
        addresses: its IPv4 addresses, the primary one first; the guest gets that one by DHCP.
        subnet: the subnet of those addresses, such as "172.31.0.0/20".
        ipv6_addresses: its IPv6 addresses; default none.
        ipv6_subnet: their subnet, such as "2600:1f13:0:1::/64"; None without IPv6.
    """

    interface_id: str
    mac: str
    addresses: tuple[Address, ...]
    subnet: str
    ipv6_addresses: tuple[str, ...] = ()
    ipv6_subnet: str | None = None

    @property
    def private_ip(self) -> str:
        """The primary address."""
        return self.addresses[0].private_ip


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
    """

    instance_id: str
    instance_type: str
    memory_mib: int
    cpus: int
    kernel: Kernel | None = None


class Machine(ABC):
    """One machine. None of its methods waits for the machine: its owner is told what came of them.

    Args:
        spec: what it is made of.
        owner: is told when it runs and when it is off.
    """

    def __init__(self, spec: MachineSpec, owner: MachineOwner) -> None:
        self.spec = spec
        self.owner = owner
        self._state = MachineState.OFF
        self._state_lock = threading.Lock()

    @property
    def state(self) -> MachineState:
        """Where it is in its life."""
        return self._state

    def _move(self, to: MachineState) -> None:
        """Go on to another state.

        Raises:
            MachineError: the machine's state does not lead there.
        """
        with self._state_lock:
            if to not in _MOVES[self._state]:
                raise MachineError(
                    f"machine of {self.spec.instance_id} is {self._state.value}: not {to.value} from there"
                )
            self._state = to

    @abstractmethod
    def start(self, devices: Devices) -> None:
        """Switch it on, with what it has this time."""

    @abstractmethod
    def stop(self, *, force: bool = False) -> None:
        """Press its power button, or with `force` pull the plug."""

    @abstractmethod
    def reboot(self, between: Callable[[], None] | None = None) -> None:
        """Let the guest shut down, then start it again; `between` is called while it is off."""

    @abstractmethod
    def destroy(self) -> None:
        """Pull the plug and delete its disks; the owner is told as of any power-off."""

    @abstractmethod
    def console(self) -> bytes:
        """All that it has printed on its serial console."""

    @abstractmethod
    def attach_disk(self, disk: Disk) -> None:
        """Give it another disk; the owner is told when the guest can use it."""

    @abstractmethod
    def detach_disk(self, volume_id: str) -> None:
        """Take a disk away; the owner is told when the guest has let go of it."""

    @abstractmethod
    def freeze_disk(self, disk: Disk, overlay: Path, done: Callable[[Exception | None], None]) -> None:
        """Let everything that is written from now on go to a new overlay on the disk's present file.

        Args:
            disk: one of its disks, whether it is on or off.
            overlay: the qcow2 file to make; from `done` on it is what `disk.file()` has to give.
            done: called once, from another thread: with None when the present file will not change any more, else with
                what went wrong. No other process of the machine starts before it has returned.
        """

    @abstractmethod
    def attach_interface(self, attachment: NetworkAttachment) -> None:
        """Give it another interface; the owner is told when the guest can use it."""

    @abstractmethod
    def detach_interface(self, interface_id: str) -> None:
        """Take an interface away; the owner is told when the guest has let go of it."""

    @abstractmethod
    def change_interface(self, attachment: NetworkAttachment) -> None:
        """Let one of its interfaces have other addresses; the guest is not told, but can ask its metadata service."""


class MachineDriver(ABC):
    """Makes machines of one kind."""

    device_limit = 28
    """How many volumes and interfaces one machine can have, together; on Nitro as many as this."""

    @abstractmethod
    def create(self, spec: MachineSpec, owner: MachineOwner, metadata: Callable[[], InstanceMetadata]) -> Machine:
        """Make a machine, switched off; `metadata` answers what its metadata service is asked, at any time."""

    @abstractmethod
    def allocate_public_ip(self) -> str:
        """Take a loopback address that no other instance has."""

    @abstractmethod
    def release_public_ip(self, address: str) -> None:
        """Give an address back."""

    @abstractmethod
    def close(self) -> None:
        """End every machine, at once."""
