"""What a machine can be told to do, and how each command ends."""

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
    """How a command ended."""

    DONE = "done"
    FAILED = "failed"
    OVERTAKEN = "overtaken"


@dataclass(frozen=True)
class End:
    """The end of a command.

    Args:
        outcome: how it ended.
        detail: why it failed, in one line; "" if it did not.
    """

    outcome: Outcome
    detail: str = ""

    @property
    def error(self) -> MachineError | None:
        """The end as an exception; None if the command was done."""
        if self.outcome is Outcome.DONE:
            return None
        return MachineError(self.detail)


DONE = End(Outcome.DONE)
OVERTAKEN = End(Outcome.OVERTAKEN, "the machine was stopped or destroyed first")

Ended = Callable[[End], None]
"""Called once with the end of a command, from the machine's thread; must not wait for the machine."""


def _ignore(_: End) -> None:
    """Nobody waits for the end of the command."""


class Request:
    """A command and its requester.

    Args:
        command: the command.
        ended: called with its end; default: nobody is told.
    """

    def __init__(self, command: Command, ended: Ended = _ignore) -> None:
        self.command = command
        self._ended = ended
        self._is_over = False

    def end(self, end: End) -> None:
        """Report the end of the command.

        Raises:
            RuntimeError: it has ended before.
        """
        if self._is_over:
            raise RuntimeError(f"{self.command} ended twice")
        self._is_over = True
        try:
            self._ended(end)
        except Exception:
            # A fault of the requester: the machine goes on.
            logger.exception("the end of %s could not be reported", self.command)


@dataclass(frozen=True)
class Start:
    """Switch the machine on.

    Args:
        spec: what it is made of this time.
        devices: what it has this time.
    """

    spec: MachineSpec
    devices: Devices


@dataclass(frozen=True)
class Stop:
    """Let the guest shut down, and stay off.

    Args:
        force: cut the power instead.
    """

    force: bool = False


@dataclass(frozen=True)
class Reboot:
    """Let the guest shut down, then start it again; cut the power of one that does not react.

    Args:
        while_off: requests to serve between the shutdown and the start, or as soon as the machine is off for good.
    """

    while_off: tuple[Request, ...] = ()


@dataclass(frozen=True)
class Destroy:
    """Cut the power and delete the machine. It overtakes every command that needs the machine."""


@dataclass(frozen=True)
class Plug:
    """Plug in a device. Done when the guest can use it.

    Args:
        device: the volume or network interface.
    """

    device: Disk | NetworkAttachment


@dataclass(frozen=True)
class Unplug:
    """Unplug a device. Done when the guest has released it.

    Args:
        resource_id: the volume or network interface.
        force: disconnect it without waiting for the guest.
    """

    resource_id: str
    force: bool = False


@dataclass(frozen=True)
class ChangeInterface:
    """Change the addresses of an interface. The guest is not notified, but can query its metadata service.

    Args:
        attachment: the interface, with its new addresses.
    """

    attachment: NetworkAttachment


@dataclass(frozen=True)
class Freeze:
    """Redirect all further writes of a disk to a new overlay on its present file.

    No other QEMU process of the machine starts before `ended` has returned.

    Args:
        disk: one of the machine's disks.
        overlay: the qcow2 file to create; once this is done, `disk.file()` has to return it.
    """

    disk: Disk
    overlay: Path


@dataclass(frozen=True)
class Grow:
    """Make a disk larger.

    Args:
        disk: one of the machine's disks.
        size_gb: its new size in GiB.
    """

    disk: Disk
    size_gb: int


PowerCommand = Start | Stop | Reboot | Destroy
"""Served on arrival: each changes or joins what the machine is going through."""
DiskCommand = Freeze | Grow
"""Need a disk, but no machine: nothing overtakes them."""
DeviceCommand = Plug | Unplug | ChangeInterface
Command = PowerCommand | DiskCommand | DeviceCommand
