"""Simulated machines: real commands, states that pass by the clock, and no guest.

Their addresses are loopback addresses all the same, so that one real sshd that listens on all of them can stand for
every guest.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pycloudlib.local.machines.base import Disk, MachineOwner, MachineSpec
from pycloudlib.local.machines.commands import Freeze, Grow, Start
from pycloudlib.local.machines.driver import MachineDriver
from pycloudlib.local.machines.hardware import GuestShutdown, Hardware, PowerOff, Ready
from pycloudlib.local.machines.machine import Machine
from pycloudlib.local.machines.mailbox import LoopMailbox, Mailbox
from pycloudlib.local.network.attachment import NetworkAttachment
from pycloudlib.local.network.metadata import InstanceMetadata
from pycloudlib.local.network.user_mode import LoopbackAddresses

NEVER_OVERDUE = 60.0
"""Seconds by which simulated machines are never late."""


@dataclass(frozen=True)
class SimulatedTimes:
    """How long a simulated cloud takes for things, in seconds; default: no time at all."""

    boot: float = 0.0
    stop: float = 0.0
    terminate: float = 0.0
    image: float = 0.0
    answer: float = 0.0


class SimulatedDriver(MachineDriver):
    """Creates simulated machines. A single thread serves all of them.

    Args:
        times: how long things take.
    """

    def __init__(self, times: SimulatedTimes) -> None:
        self.times = times
        self.optimize_seconds = times.image
        self._addresses = LoopbackAddresses(None)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated-time", daemon=True)
        self._thread.start()

    def create(
        self,
        spec: MachineSpec,
        owner: MachineOwner,
        metadata: Callable[[], InstanceMetadata],  # no guest asks
    ) -> Machine:
        """Make a machine, switched off."""
        mailbox = LoopMailbox(self._loop)
        return Machine(spec, owner, SimulatedHardware(spec, self.times, mailbox), mailbox)

    def allocate_public_ip(self) -> str:
        """Take a loopback address that no other instance has."""
        return self._addresses.allocate()

    def release_public_ip(self, address: str) -> None:
        """Give an address back."""
        self._addresses.release(address)

    def watch_guest(self, public_ip: str | None, wanted: Callable[[], bool], reported: Callable[[bool], None]) -> None:
        """Report that the guest answers when its time has passed."""
        self.after(self.times.answer, lambda: reported(True))

    def close(self) -> None:
        """End every machine, at once."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something when some time has passed."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, action)


class SimulatedHardware(Hardware):
    """Hardware that has nothing but signals.

    Args:
        spec: what the machine would be made of.
        times: how long things take.
        mailbox: takes the signals.
    """

    def __init__(self, spec: MachineSpec, times: SimulatedTimes, mailbox: Mailbox) -> None:
        self.start_seconds = times.boot + NEVER_OVERDUE
        self.shutdown_seconds = times.stop + NEVER_OVERDUE
        self.finish_seconds = times.terminate + NEVER_OVERDUE
        self._spec = spec
        self._times = times
        self._mailbox = mailbox
        self._run = 0
        self._address = ""
        self._printed = b""

    def switch_on(self, run: int, start: Start | None) -> None:
        """Be ready after a while."""
        self._run = run
        if start is not None:
            self._spec = start.spec
            self._address = start.devices.interfaces[0].private_ip
        self._mailbox.put_after(self._times.boot, Ready(run))

    def complete(self) -> None:
        """Print what a machine would, in short."""
        spec = self._spec
        self._printed += (
            f"simulated machine {spec.instance_id} at {self._address}: "
            f"{spec.instance_type}, {spec.memory_mib} MiB, {spec.cpus} CPUs\r\n"
        ).encode()

    def retry_from_beginning(self, reason: str) -> bool:
        """Never: it does not fail."""
        return False

    def press_power_button(self) -> None:
        """Shut down after a while."""
        self._mailbox.put_after(self._times.stop, GuestShutdown(self._run))

    def finish(self) -> None:
        """Be off at once."""
        self._mailbox.put(PowerOff(self._run))

    def cut_power(self, *, for_good: bool) -> None:
        """Be off at once, or after the time of a termination."""
        self._mailbox.put_after(self._times.terminate if for_good else 0.0, PowerOff(self._run))

    def interrupter(self) -> Callable[[], None]:
        """Return a no-op: nothing takes long."""
        return lambda: None

    def went_off(self) -> None:
        """No-op."""

    def rest(self) -> None:
        """No-op."""

    def plug(self, device: Disk | NetworkAttachment) -> None:
        """No-op."""

    def unplug(self, resource_id: str, *, force: bool = False) -> bool:
        """Have no guest that would have to release it."""
        return True

    def released(self, device_id: str) -> str | None:
        """Have no such device."""
        return None

    def change_interface(self, attachment: NetworkAttachment) -> None:
        """No-op."""

    def freeze(self, command: Freeze) -> None:
        """No-op: there is no file."""

    def grow(self, command: Grow) -> None:
        """No-op: there is no file."""

    def delete(self) -> None:
        """No-op."""

    def console(self) -> bytes:
        """Return what a machine would have printed, in short."""
        return self._printed
