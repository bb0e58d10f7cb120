"""The interface between a machine and its hardware: operations and signals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from pycloudlib.errors import MachineError
from pycloudlib.local.machines.base import Disk
from pycloudlib.local.machines.commands import Freeze, Grow, Start
from pycloudlib.local.network.attachment import NetworkAttachment


class HardwareOffError(MachineError):
    """The hardware went off while it served a command, which can be retried."""


@dataclass(frozen=True)
class Signal:
    """A signal of the hardware.

    Args:
        run: the number of the switch-on that the signal belongs to.
    """

    run: int


class Ready(Signal):
    """The hardware is ready for `complete()`."""


@dataclass(frozen=True)
class GuestShutdown(Signal):
    """The guest has powered itself off, or reset itself.

    Args:
        reset: whether the guest reset itself; default no.
    """

    reset: bool = False


@dataclass(frozen=True)
class PowerOff(Signal):
    """The hardware is off.

    Args:
        detail: the last message of the hardware, in one line.
    """

    detail: str = ""


@dataclass(frozen=True)
class Released(Signal):
    """The guest has released a device.

    Args:
        device_id: the hardware's name of the device.
    """

    device_id: str


class Hardware(ABC):
    """The hardware of a machine. Only the machine's thread calls it, unless stated otherwise.

    Raises:
        HardwareOffError: the hardware went off meanwhile, which it also signals.
        LocalEC2Error: the operation failed.
    """

    start_seconds: float
    """The timeout in seconds from `switch_on()` to Ready."""
    shutdown_seconds: float
    """The timeout in seconds of a guest's shutdown."""
    finish_seconds: float
    """The timeout in seconds from `finish()` or `cut_power()` to PowerOff."""

    @abstractmethod
    def switch_on(self, run: int, start: Start | None) -> None:
        """Switch the hardware on, which then signals Ready or PowerOff.

        Args:
            run: the number of this run, for its signals.
            start: the specification and the devices; None for the previous ones, including devices plugged or unplugged
                since.
        """

    @abstractmethod
    def complete(self) -> None:
        """Complete the switch-on, and let the guest run."""

    @abstractmethod
    def retry_from_beginning(self, reason: str) -> bool:
        """Return whether a boot from the beginning may succeed after a failed switch-on; `reason` is logged."""

    @abstractmethod
    def press_power_button(self) -> None:
        """Request a shutdown of the guest, after which the hardware signals GuestShutdown."""

    @abstractmethod
    def finish(self) -> None:
        """End the hardware after the guest's shutdown; it then signals PowerOff."""

    @abstractmethod
    def cut_power(self, *, for_good: bool) -> None:
        """Switch the hardware off at once; it then signals PowerOff.

        Args:
            for_good: whether the machine is destroyed next.
        """

    @abstractmethod
    def interrupter(self) -> Callable[[], None]:
        """Return a function that cuts the power of the current run, if it still lasts. Any thread may call both."""

    @abstractmethod
    def went_off(self) -> None:
        """Record that the hardware is off: pending unplugs are complete."""

    @abstractmethod
    def rest(self) -> None:
        """Release resources that are needed only while on: the hardware stays off for now."""

    @abstractmethod
    def plug(self, device: Disk | NetworkAttachment) -> None:
        """Plug in a device."""

    @abstractmethod
    def unplug(self, resource_id: str, *, force: bool = False) -> bool:
        """Request that the guest release a device.

        Args:
            resource_id: the volume or network interface.
            force: whether to disconnect an interface at once, or to repeat the request for a disk; default no.

        Returns:
            Whether the device is already unplugged or disconnected; otherwise the hardware signals Released later.
        """

    @abstractmethod
    def released(self, device_id: str) -> str | None:
        """Remove the backend of a released device, and return its volume or interface; None if unknown."""

    @abstractmethod
    def change_interface(self, attachment: NetworkAttachment) -> None:
        """Change the addresses of an interface."""

    @abstractmethod
    def freeze(self, command: Freeze) -> None:
        """Redirect all further writes of a disk to a new overlay."""

    @abstractmethod
    def grow(self, command: Grow) -> None:
        """Grow a disk."""

    @abstractmethod
    def delete(self) -> None:
        """Delete everything but the console output."""

    @abstractmethod
    def console(self) -> bytes:
        """Return the complete output of the serial console. Any thread may call it."""

    @abstractmethod
    def uefi_data(self) -> str:
        """Return the current UEFI variables, as `UefiData`. Any thread may call it."""
