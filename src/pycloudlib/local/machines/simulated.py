"""Simulated machines: their states pass by the clock, and there is no guest in them.

Their addresses are loopback addresses all the same, so that one real sshd that listens on all of them can stand for
every guest.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.local.machines.base import (
    Devices,
    Disk,
    Machine,
    MachineDriver,
    MachineOwner,
    MachineSpec,
    MachineState,
    NetworkAttachment,
    PowerOffCause,
)
from pycloudlib.local.metadata import InstanceMetadata
from pycloudlib.local.network import LoopbackAddresses


@dataclass(frozen=True)
class SimulatedTimes:
    """How long a simulated cloud takes for things, in seconds; default: no time at all."""

    boot: float = 0.0
    stop: float = 0.0
    terminate: float = 0.0
    image: float = 0.0


class SimulatedDriver(MachineDriver):
    """Makes simulated machines. One thread lets the time of all of them pass.

    Args:
        times: how long things take.
    """

    def __init__(self, times: SimulatedTimes) -> None:
        self.times = times
        self._addresses = LoopbackAddresses(None)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated-time", daemon=True)
        self._thread.start()

    def create(
        self,
        spec: MachineSpec,
        owner: MachineOwner,
        metadata: Callable[[], InstanceMetadata],  # no guest asks
    ) -> SimulatedMachine:
        """Make a machine, switched off."""
        return SimulatedMachine(spec, owner, self)

    def allocate_public_ip(self) -> str:
        """Take a loopback address that no other instance has."""
        return self._addresses.allocate()

    def release_public_ip(self, address: str) -> None:
        """Give an address back."""
        self._addresses.release(address)

    def close(self) -> None:
        """End every machine, at once."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something when some time has passed."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, action)


class SimulatedMachine(Machine):
    """A machine that has nothing but states.

    Args:
        spec: what it would be made of.
        owner: is told when it runs and when it is off.
        driver: what made it.
    """

    def __init__(self, spec: MachineSpec, owner: MachineOwner, driver: SimulatedDriver) -> None:
        super().__init__(spec, owner)
        self._driver = driver
        self._printed = b""
        self._run = 0

    def start(self, devices: Devices) -> None:
        """Switch it on."""
        self._move(MachineState.STARTING)
        self._run += 1
        run = self._run
        self._driver.after(self._driver.times.boot, lambda: self._booted(run, devices.interfaces[0].private_ip))

    def stop(self, *, force: bool = False) -> None:
        """Switch it off."""
        self._end_after(0.0 if force else self._driver.times.stop)

    def reboot(self, between: Callable[[], None] | None = None) -> None:
        """Nothing in it would notice."""
        if between is not None:
            self._driver.after(0.0, between)

    def destroy(self) -> None:
        """Switch it off for good."""
        if self.state is not MachineState.OFF:
            self._end_after(self._driver.times.terminate)
            return
        self._move(MachineState.GONE)
        self.owner.machine_off(PowerOffCause.REQUESTED, "")

    def console(self) -> bytes:
        """What a machine would have printed, in short."""
        return self._printed

    def attach_disk(self, disk: Disk) -> None:
        """Say that it has another disk."""
        self._driver.after(0.0, lambda: self.owner.disk_attached(disk.volume_id))

    def detach_disk(self, volume_id: str) -> None:
        """Say that it has a disk no more."""
        self._driver.after(0.0, lambda: self.owner.disk_detached(volume_id))

    def freeze_disk(self, disk: Disk, overlay: Path, done: Callable[[Exception | None], None]) -> None:
        """Say that a disk's present file, which there is not, will not change any more."""
        self._driver.after(0.0, lambda: done(None))

    def attach_interface(self, attachment: NetworkAttachment) -> None:
        """Say that it has another interface."""
        self._driver.after(0.0, lambda: self.owner.interface_attached(attachment.interface_id))

    def detach_interface(self, interface_id: str) -> None:
        """Say that it has an interface no more."""
        self._driver.after(0.0, lambda: self.owner.interface_detached(interface_id))

    def change_interface(self, attachment: NetworkAttachment) -> None:
        """Nobody would notice."""

    def _booted(self, run: int, address: str) -> None:
        if run != self._run or self.state is not MachineState.STARTING:
            return
        self._move(MachineState.RUNNING)
        self._printed += f"simulated machine {self.spec.instance_id} at {address}\r\n".encode()
        self.owner.machine_running()

    def _end_after(self, seconds: float) -> None:
        if self.state is not MachineState.ENDING:
            self._move(MachineState.ENDING)
        run = self._run
        self._driver.after(seconds, lambda: self._ended(run))

    def _ended(self, run: int) -> None:
        if run != self._run or self.state is not MachineState.ENDING:
            return
        self._move(MachineState.OFF)
        self.owner.machine_off(PowerOffCause.REQUESTED, "")
