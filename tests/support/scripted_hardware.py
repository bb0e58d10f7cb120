"""Hardware that does what a test says, and a mailbox whose inputs are handled when the test says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pycloudlib.local.machines.base import Devices, Disk, MachineOwner, MachineSpec, PowerOffCause
from pycloudlib.local.machines.commands import Command, End, Freeze, Grow, Start
from pycloudlib.local.machines.hardware import GuestShutdown, Hardware, HardwareOffError, PowerOff, Ready, Released
from pycloudlib.local.machines.machine import Machine
from pycloudlib.local.machines.mailbox import Mailbox
from pycloudlib.local.network.attachment import Address, NetworkAttachment


class NamedDisk(Disk):
    def file(self) -> Path:
        return Path("/dev/null")

    def grow(self, size_gb: int) -> None: ...


def interface(name: str = "eni-0") -> NetworkAttachment:
    return NetworkAttachment(name, "02:00:00:00:00:01", (Address("172.31.0.4"),), "172.31.0.0/20")


SPEC = MachineSpec("i-1", "t3.micro", 512, 1)
START = Start(SPEC, Devices((NamedDisk("vol-root"),), (interface(),)))


class ManualMailbox(Mailbox):
    """Handles inputs in the caller's thread."""

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.later: list[Any] = []
        self.closed = False

    def open(self, handle: Callable[[Any], None]) -> None:
        self._handle = handle

    def put(self, item: Any) -> bool:
        if not self.closed:
            self.items.append(item)
        return not self.closed

    def put_after(self, seconds: float, item: Any) -> None:
        self.later.append(item)

    def close(self) -> list[Any]:
        self.closed = True
        late, self.items = list(self.items), deque()
        return late

    def run(self) -> None:
        """Handle all inputs."""
        while self.items:
            self._handle(self.items.popleft())

    def pass_time(self) -> None:
        """Let the time come for everything that was put for later."""
        later, self.later = self.later, []
        for item in later:
            self.put(item)
        self.run()


class ScriptedHardware(Hardware):
    """Notes what is done to it.

    Args:
        mailbox: takes its signals.
    """

    start_seconds = shutdown_seconds = finish_seconds = 1.0

    def __init__(self, mailbox: ManualMailbox) -> None:
        self.mailbox = mailbox
        self.done: list[str] = []
        self.faults: dict[str, Exception] = {}
        self.retries = False
        self.run = 0
        self.is_on = False
        self.is_gone = False  # and has not signaled PowerOff yet

    def take_done(self) -> list[str]:
        """Return what was done since the last time."""
        done, self.done = self.done, []
        return done

    def _note(self, what: str) -> None:
        self.done.append(what)
        fault = self.faults.get(what.split(maxsplit=1)[0])
        if fault is not None:
            raise fault
        if self.is_gone:
            raise HardwareOffError("the machine is gone")

    def switch_on(self, run: int, start: Start | None) -> None:
        self._note("on" if start else "on again")
        self.run = run
        self.is_on = True

    def complete(self) -> None:
        self._note("complete")

    def retry_from_beginning(self, reason: str) -> bool:
        retries, self.retries = self.retries, False  # a boot snapshot that failed is discarded
        return retries

    def press_power_button(self) -> None:
        self.done.append("press")

    def finish(self) -> None:
        self.done.append("finish")

    def cut_power(self, *, for_good: bool) -> None:
        self.done.append("cut for good" if for_good else "cut")

    def interrupter(self) -> Callable[[], None]:
        return lambda: None

    def went_off(self) -> None:
        self.is_on = self.is_gone = False

    def rest(self) -> None: ...

    def plug(self, device: Disk | NetworkAttachment) -> None:
        self._note(f"plug {device.volume_id if isinstance(device, Disk) else device.interface_id}")

    def unplug(self, resource_id: str, *, force: bool = False) -> bool:
        self._note(f"unplug {resource_id}" + (" by force" if force else ""))
        return force or not self.is_on

    def released(self, device_id: str) -> str | None:
        return device_id

    def change_interface(self, attachment: NetworkAttachment) -> None:
        self._note(f"change {attachment.interface_id}")

    def freeze(self, command: Freeze) -> None:
        self._note(f"freeze {command.disk.volume_id}" + ("" if self.is_on else " off"))

    def grow(self, command: Grow) -> None:
        self._note(f"grow {command.disk.volume_id}" + ("" if self.is_on else " off"))

    def delete(self) -> None:
        self.done.append("delete")

    def console(self) -> bytes:
        return b""

    def uefi_data(self) -> str:
        return ""

    # What a test lets happen.

    def signal_ready(self) -> None:
        self.mailbox.put(Ready(self.run))
        self.mailbox.run()

    def signal_guest_shutdown(self, *, reset: bool = False) -> None:
        self.mailbox.put(GuestShutdown(self.run, reset))
        self.mailbox.run()

    def signal_power_off(self, detail: str = "") -> None:
        self.mailbox.put(PowerOff(self.run, detail))
        self.mailbox.run()

    def signal_released(self, resource_id: str) -> None:
        self.mailbox.put(Released(self.run, resource_id))
        self.mailbox.run()


class Bench(MachineOwner):
    """A machine of scripted hardware, the ends of its commands, and what its owner was told."""

    def __init__(self) -> None:
        self.mailbox = ManualMailbox()
        self.hardware = ScriptedHardware(self.mailbox)
        self.told: list[str] = []
        self.ends: dict[str, End] = {}
        self.machine = Machine(SPEC, self, self.hardware, self.mailbox)

    def machine_running(self) -> None:
        self.told.append("running")

    def machine_off(self, cause: PowerOffCause, detail: str) -> None:
        self.told.append(f"off: {detail or cause.value}")

    def submit(self, name: str, command: Command) -> None:
        """Queue a command; its end is in `ends` then."""
        self.machine.submit(command, self.noting(name))
        self.mailbox.run()

    def noting(self, name: str) -> Callable[[End], None]:
        """Return what notes the one end of a command."""

        def note(end: End) -> None:
            assert name not in self.ends, f"{name} ended twice"
            self.ends[name] = end

        return note

    def outcomes(self) -> dict[str, str]:
        """The ends so far."""
        return {name: end.outcome.value for name, end in self.ends.items()}
