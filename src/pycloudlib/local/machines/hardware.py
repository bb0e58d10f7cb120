"""What a machine is made of, as the machine sees it: what it can be told to do, and the signals that it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from pycloudlib.errors import MachineError
from pycloudlib.local.machines.base import Disk
from pycloudlib.local.machines.commands import Freeze, Grow, Start
from pycloudlib.local.network.attachment import NetworkAttachment


class HardwareOffError(MachineError):
    """The hardware went off while it served a command, which can be served again."""


@dataclass(frozen=True)
class Signal:
    """A signal of the hardware.

    Args:
        run: the number of the switch-on that it belongs to.
    """

    run: int


class Ready(Signal):
    """The hardware answers, and can be given what it lacks."""


@dataclass(frozen=True)
class GuestShutdown(Signal):
    """The guest has powered itself off, or reset itself.

    Args:
        reset: whether it wants to be started again.
    """

    reset: bool = False


@dataclass(frozen=True)
class PowerOff(Signal):
    """The hardware is off.

    Args:
        detail: what it said last, in one line.
    """

    detail: str = ""


@dataclass(frozen=True)
class Released(Signal):
    """The guest has released a device.

    Args:
        device_id: the hardware's name of it.
    """

    device_id: str


class Hardware(ABC):
    """What a machine is made of. Called by the machine's thread only, unless stated otherwise.

    Raises:
        HardwareOffError: it went off meanwhile, which it signals, too.
        LocalEC2Error: it cannot do that.
    """

    start_seconds: float
    """How long it may take from switch_on() to Ready."""
    shutdown_seconds: float
    """How long a guest may take to shut down."""
    finish_seconds: float
    """How long it may take from finish() or cut_power() to PowerOff."""

    @abstractmethod
    def switch_on(self, run: int, start: Start | None) -> None:
        """Switch it on; it signals Ready or PowerOff.

        Args:
            run: the number for its signals.
            start: what it is made of and has; None for what it had when it went off, and what was plugged or unplugged
                since.
        """

    @abstractmethod
    def complete(self) -> None:
        """Give it what it lacked when it was switched on, and let the guest run."""

    @abstractmethod
    def retry_from_beginning(self, reason: str) -> bool:
        """Tell whether another switch-on can succeed where this one failed; `reason` is logged."""

    @abstractmethod
    def press_power_button(self) -> None:
        """Ask the guest to shut down; it signals GuestShutdown."""

    @abstractmethod
    def finish(self) -> None:
        """End what the guest has left by shutting down; it signals PowerOff."""

    @abstractmethod
    def cut_power(self, *, for_good: bool) -> None:
        """Switch it off at once; it signals PowerOff.

        Args:
            for_good: whether it is destroyed next.
        """

    @abstractmethod
    def interrupter(self) -> Callable[[], None]:
        """Return a function that cuts the power of the present run, if it still lasts. Both for any thread."""

    @abstractmethod
    def went_off(self) -> None:
        """Take note that it is off: unplugged devices need no more waiting."""

    @abstractmethod
    def rest(self) -> None:
        """Release what it only needs while it is on: it stays off for now."""

    @abstractmethod
    def plug(self, device: Disk | NetworkAttachment) -> None:
        """Plug in a device."""

    @abstractmethod
    def unplug(self, resource_id: str, *, force: bool = False) -> bool:
        """Ask the guest to release a device.

        Args:
            resource_id: the volume or network interface.
            force: disconnect the device at once, whatever the guest does.

        Returns:
            Whether it is unplugged or disconnected already; otherwise it signals Released.
        """

    @abstractmethod
    def released(self, device_id: str) -> str | None:
        """Remove what is behind a device that the guest has released, and return whose it was; None if unknown."""

    @abstractmethod
    def change_interface(self, attachment: NetworkAttachment) -> None:
        """Change the addresses of an interface."""

    @abstractmethod
    def freeze(self, command: Freeze) -> None:
        """Redirect all further writes of a disk to a new overlay."""

    @abstractmethod
    def grow(self, command: Grow) -> None:
        """Make a disk larger."""

    @abstractmethod
    def delete(self) -> None:
        """Delete everything but its console."""

    @abstractmethod
    def console(self) -> bytes:
        """Return all that it has printed on its serial console. For any thread."""
