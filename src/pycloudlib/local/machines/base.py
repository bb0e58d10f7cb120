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


@dataclass(frozen=True)
class BootSource:
    """What a machine boots from.

    Args:
        disk: the image; the machine writes to an overlay on it.
        format: "raw" or "qcow2".
        kernel: booted directly; None when the disk has a boot loader of its own.
        initrd: goes with the kernel.
        kernel_arguments: goes with the kernel.
    """

    disk: Path
    format: str
    kernel: Path | None = None
    initrd: Path | None = None
    kernel_arguments: str = ""


@dataclass(frozen=True)
class NetworkAttachment:
    """An interface of a machine and the addresses it answers to.

    Args:
        mac: its hardware address.
        private_ip: the address that the guest gets.
        subnet: the subnet of that address, such as "172.31.0.0/20".
        public_ip: the loopback address that leads to the guest's sshd; None for none.
    """

    mac: str
    private_ip: str
    subnet: str
    public_ip: str | None


@dataclass(frozen=True)
class MachineSpec:
    """What a machine is made of, for its whole life.

    Args:
        instance_id: the instance it stands behind.
        instance_type: what the instance was launched as; the guest can read it.
        boot: what it boots from.
        root_volume_id: the root volume; the guest sees it as the disk's serial number.
        root_size_gb: size of the root volume in GiB.
        memory_mib: memory in MiB.
        cpus: number of virtual CPUs.
    """

    instance_id: str
    instance_type: str
    boot: BootSource
    root_volume_id: str
    root_size_gb: int
    memory_mib: int
    cpus: int


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
    def start(self, attachment: NetworkAttachment) -> None:
        """Switch it on, with the addresses that it has this time."""

    @abstractmethod
    def stop(self, *, force: bool = False) -> None:
        """Press its power button, or with `force` pull the plug."""

    @abstractmethod
    def reboot(self) -> None:
        """Let the guest shut down, then reset it."""

    @abstractmethod
    def destroy(self) -> None:
        """Pull the plug and delete its disks; the owner is told as of any power-off."""

    @abstractmethod
    def console(self) -> bytes:
        """All that it has printed on its serial console."""


class MachineDriver(ABC):
    """Makes machines of one kind."""

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
