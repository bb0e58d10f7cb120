"""The commands of a machine, and their outcomes."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.errors import MachineError
from pycloudlib.local.machines.base import Devices, Disk, MachineSpec
from pycloudlib.local.network.attachment import NetworkAttachment

logger = logging.getLogger(__name__)


class Outcome(enum.Enum):
    """The outcome of a command."""

    DONE = "done"
    FAILED = "failed"
    OVERTAKEN = "overtaken"


@dataclass(frozen=True)
class End:
    """The end of a command.

    Args:
        outcome: the outcome.
        detail: the reason for a failure, in one line; "" without one.
    """

    outcome: Outcome
    detail: str = ""

    @property
    def error(self) -> MachineError | None:
        """The end as an exception; None if the command succeeded."""
        if self.outcome is Outcome.DONE:
            return None
        return MachineError(self.detail)


DONE = End(Outcome.DONE)
OVERTAKEN = End(Outcome.OVERTAKEN, "the machine was stopped or destroyed first")

Ended = Callable[[End], None]
"""Called once with the end of a command, by the machine's thread; must not wait for the machine."""


def _ignore(_: End) -> None:
    """Discard the end of a command."""


class Request:
    """A command and its callback.

    Args:
        command: the command.
        ended: called with the end of the command; default none.
    """

    def __init__(self, command: Command, ended: Ended = _ignore) -> None:
        self.command = command
        self._ended = ended
        self._is_over = False

    def end(self, end: End) -> None:
        """Report the end of the command.

        Raises:
            RuntimeError: the command has already ended.
        """
        if self._is_over:
            raise RuntimeError(f"{self.command} ended twice")
        self._is_over = True
        try:
            self._ended(end)
        except Exception:
            # A bug in the callback must not stop the machine.
            logger.exception("the end of %s could not be reported", self.command)


@dataclass(frozen=True)
class Start:
    """Switch the machine on.

    Args:
        spec: the specification for this start.
        devices: the devices for this start.
    """

    spec: MachineSpec
    devices: Devices


@dataclass(frozen=True)
class Stop:
    """Shut down the guest, and leave the machine off.

    Args:
        force: whether to cut the power instead; default no.
    """

    force: bool = False


@dataclass(frozen=True)
class Reboot:
    """Shut down the guest, then start the machine again; cut the power if the guest does not react.

    Args:
        while_off: requests to serve between shutdown and start, or once the machine is off for good; default none.
    """

    while_off: tuple[Request, ...] = ()


@dataclass(frozen=True)
class Destroy:
    """Cut the power and delete the machine. Overtakes every command that needs the machine."""


@dataclass(frozen=True)
class Plug:
    """Plug in a device. Ends once the guest can use it.

    Args:
        device: the volume or network interface.
    """

    device: Disk | NetworkAttachment


@dataclass(frozen=True)
class Unplug:
    """Unplug a device. Ends once the guest has released it.

    Args:
        resource_id: the volume or network interface.
        force: whether to disconnect an interface without waiting for the guest, or to ask the guest again for a disk;
            default no.
    """

    resource_id: str
    force: bool = False


@dataclass(frozen=True)
class ChangeInterface:
    """Change the addresses of an interface. The guest learns of it only by querying its metadata service.

    Args:
        attachment: the interface, with its new addresses.
    """

    attachment: NetworkAttachment


@dataclass(frozen=True)
class Freeze:
    """Redirect all further writes of a disk to a new overlay on its current file.

    No other QEMU process of the machine starts before `ended` has returned.

    Args:
        disk: one of the machine's disks.
        overlay: the qcow2 file to create; afterwards `disk.file()` must return it.
    """

    disk: Disk
    overlay: Path


@dataclass(frozen=True)
class Grow:
    """Grow a disk.

    Args:
        disk: one of the machine's disks.
        size_gb: the new size in GiB.
    """

    disk: Disk
    size_gb: int


PowerCommand = Start | Stop | Reboot | Destroy
"""Commands served on arrival: each changes or joins the transition in progress."""
DiskCommand = Freeze | Grow
"""Commands that need a disk, but no machine: nothing overtakes them."""
DeviceCommand = Plug | Unplug | ChangeInterface
Command = PowerCommand | DiskCommand | DeviceCommand
