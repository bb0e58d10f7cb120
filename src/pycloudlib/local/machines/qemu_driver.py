"""What makes real machines, and sees to it that none outlives this process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.local import network
from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import MachineDriver, MachineOwner, MachineSpec
from pycloudlib.local.machines.device_bay import SLOTS
from pycloudlib.local.machines.qemu import QemuMachine
from pycloudlib.local.machines.saved_boot import SavedBoot, SavedBoots, Wanted
from pycloudlib.local.metadata import InstanceMetadata

# A parent that was gone before the kernel was told to watch it would never end the machine: so the child looks.
_ONLY_WITH_PARENT = 'test "$PPID" = "$0" && exec "$@"'


@dataclass(frozen=True)
class QemuOptions:
    """What all machines of a server have in common.

    Args:
        directory: where the machines keep their disks, each in a directory of its own.
        accelerator: what runs the guest's instructions.
        ssh_port: port on every public address that leads to sshd.
        shutdown_seconds: how long a guest may take to shut down before the plug is pulled; EC2 gives it minutes.
        saved_boots: where boots are saved for others to go on from; None to boot always from the beginning.
    """

    directory: Path
    accelerator: Accelerator
    ssh_port: int
    shutdown_seconds: float
    saved_boots: Path | None = None


class QemuDriver(MachineDriver):
    """Makes QEMU machines, and sees to it that none outlives this process.

    Args:
        options: what they have in common.
    """

    device_limit = SLOTS - 1  # one slot has the random numbers

    def __init__(self, options: QemuOptions) -> None:
        self.options = options
        self._addresses = network.LoopbackAddresses(options.ssh_port)
        self._machines: list[QemuMachine] = []
        # The kernel ends a machine with the thread that started it: this one lives as long as the process.
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
        self._saved_boots = SavedBoots(options.saved_boots, self.spawn) if options.saved_boots else None

    def create(self, spec: MachineSpec, owner: MachineOwner, metadata: Callable[[], InstanceMetadata]) -> QemuMachine:
        """Make a machine, switched off."""
        machine = QemuMachine(spec, owner, metadata, self)
        self._machines.append(machine)
        return machine

    def allocate_public_ip(self) -> str:
        """Take a loopback address that no other instance has."""
        return self._addresses.allocate()

    def release_public_ip(self, address: str) -> None:
        """Give an address back."""
        self._addresses.release(address)

    def close(self) -> None:
        """End every machine, at once."""
        if self._saved_boots is not None:
            self._saved_boots.close()
        machines = list(self._machines)
        for machine in machines:
            machine.destroy()
        for machine in machines:
            machine.join()
        self._spawner.shutdown()

    def forget(self, machine: QemuMachine) -> None:
        """Take note that a machine is gone for good."""
        if machine in self._machines:
            self._machines.remove(machine)

    def saved_boot(self, spec: MachineSpec, wanted: Wanted) -> SavedBoot | None:
        """Find where a machine can go on from instead of booting from the beginning; it may be made first."""
        return self._saved_boots.get(spec, self.options.accelerator, wanted) if self._saved_boots else None

    def discard(self, boot: SavedBoot) -> None:
        """Take note that no machine can go on from there."""
        if self._saved_boots is not None:
            self._saved_boots.discard(boot)

    def spawn(self, command: Sequence[str], directory: Path, keep_fds: Sequence[int]) -> subprocess.Popen[bytes]:
        """Start a process that ends with this one, however this one ends."""
        tied = ["setpriv", "--pdeathsig", "KILL", "--", "/bin/sh", "-c", _ONLY_WITH_PARENT, str(os.getpid()), *command]
        return self._spawner.submit(
            subprocess.Popen,
            tied,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=tuple(keep_fds),
            start_new_session=True,
        ).result()
