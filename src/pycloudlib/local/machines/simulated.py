"""Simulated machines: real commands, timed state changes, and no guest.

They have loopback addresses like real machines, so that one real sshd listening on all of them can serve as every
guest.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pycloudlib.local.machines.base import Disk, MachineOwner, MachineSpec
from pycloudlib.local.machines.commands import Freeze, Grow, Start
from pycloudlib.local.machines.driver import MachineDriver
from pycloudlib.local.machines.firmware import initial_uefi_data
from pycloudlib.local.machines.hardware import GuestShutdown, Hardware, PowerOff, Ready
from pycloudlib.local.machines.machine import Machine
from pycloudlib.local.machines.mailbox import LoopMailbox, Mailbox
from pycloudlib.local.machines.platforms import Platform
from pycloudlib.local.network.attachment import NetworkAttachment
from pycloudlib.local.network.metadata import InstanceMetadata
from pycloudlib.local.network.public_addresses import PublicAddresses

NEVER_OVERDUE = 60.0
"""The seconds added to each timeout, so that simulated machines never time out."""


@dataclass(frozen=True)
class SimulatedTimes:
    """The durations of a simulated cloud's operations in seconds; default 0."""

    boot: float = 0.0
    stop: float = 0.0
    terminate: float = 0.0
    image: float = 0.0
    answer: float = 0.0


class SimulatedDriver(MachineDriver):
    """Creates simulated machines. A single thread serves all of them.

    Args:
        times: the durations of operations.
        public_cidr: the CIDR block of public addresses; default "": loopback addresses.
    """

    def __init__(self, times: SimulatedTimes, public_cidr: str = "") -> None:
        self.times = times
        self.optimize_seconds = times.image
        self._addresses = PublicAddresses(None, public_cidr)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated-time", daemon=True)
        self._thread.start()

    def require_platform(self, platform: Platform) -> None:
        """No-op: simulated machines need nothing."""

    def require_secure_boot(self, platform: Platform) -> None:
        """No-op: simulated machines need nothing."""

    def create(
        self,
        spec: MachineSpec,
        owner: MachineOwner,
        metadata: Callable[[], InstanceMetadata],  # unused: there is no guest
    ) -> Machine:
        """Create a machine, switched off."""
        mailbox = LoopMailbox(self._loop)
        return Machine(spec, owner, SimulatedHardware(spec, self.times, mailbox), mailbox)

    def allocate_public_ip(self) -> str:
        """Allocate an unused address of the host."""
        return self._addresses.allocate()

    def release_public_ip(self, address: str) -> None:
        """Release an address of `allocate_public_ip`."""
        self._addresses.release(address)

    def watch_guest(
        self, public_ip: str | None, is_needed: Callable[[], bool], on_result: Callable[[bool], None]
    ) -> None:
        """Report the guest as reachable after its duration."""
        self.after(self.times.answer, lambda: on_result(True))

    def close(self) -> None:
        """Stop the thread of all machines."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run an action after a number of seconds."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, action)


class SimulatedHardware(Hardware):
    """Hardware that only sends signals.

    Args:
        spec: the specification of the machine.
        times: the durations of operations.
        mailbox: receives the signals.
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
        """Signal Ready after the duration of a boot."""
        self._run = run
        if start is not None:
            self._spec = start.spec
            self._address = start.devices.interfaces[0].private_ip
        self._mailbox.put_after(self._times.boot, Ready(run))

    def complete(self) -> None:
        """Print a line on the console."""
        spec = self._spec
        self._printed += (
            f"simulated machine {spec.instance_id} at {self._address}: "
            f"{spec.instance_type}, {spec.memory_mib} MiB, {spec.cpus} CPUs\r\n"
        ).encode()

    def retry_from_beginning(self, reason: str) -> bool:
        """Return False: simulated hardware does not fail."""
        return False

    def press_power_button(self) -> None:
        """Signal GuestShutdown after the duration of a stop."""
        self._mailbox.put_after(self._times.stop, GuestShutdown(self._run))

    def finish(self) -> None:
        """Signal PowerOff at once."""
        self._mailbox.put(PowerOff(self._run))

    def cut_power(self, *, for_good: bool) -> None:
        """Signal PowerOff at once, or after the duration of a termination if `for_good`."""
        self._mailbox.put_after(self._times.terminate if for_good else 0.0, PowerOff(self._run))

    def interrupter(self) -> Callable[[], None]:
        """Return a no-op: no operation blocks."""
        return lambda: None

    def went_off(self) -> None:
        """No-op."""

    def rest(self) -> None:
        """No-op."""

    def plug(self, device: Disk | NetworkAttachment) -> None:
        """No-op."""

    def unplug(self, resource_id: str, *, force: bool = False) -> bool:
        """Return True: there is no guest that has to release the device."""
        return True

    def released(self, device_id: str) -> str | None:
        """Return None: no device is ever released by a guest."""
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
        """Return the printed lines."""
        return self._printed

    def uefi_data(self) -> str:
        """Return the initial variables: there is no guest to change them."""
        return initial_uefi_data(self._spec.uefi_data)
