"""What makes machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from pycloudlib.local.machines.base import MachineOwner, MachineSpec
from pycloudlib.local.machines.machine import Machine
from pycloudlib.local.network.metadata import InstanceMetadata
from pycloudlib.local.network.topology import Topology


class MachineDriver(ABC):
    """Makes machines of one kind."""

    device_limit = 28
    """How many volumes and interfaces one machine can have, together; on Nitro as many as this."""
    optimize_seconds = 2.0
    """How long a modified volume is "optimizing". Nothing happens meanwhile: on EC2 it takes minutes to hours."""
    topology_listener: Callable[[Topology], None] | None = None
    """Called with the whole network of the records whenever it has changed; None where they do not affect machines."""

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
    def watch_guest(self, public_ip: str | None, wanted: Callable[[], bool], reported: Callable[[bool], None]) -> None:
        """Watch a machine that has started until its guest answers on the network.

        Args:
            public_ip: the loopback address that leads to its guest; None without one.
            wanted: tells whether anybody still wants to know.
            reported: called once from another thread, with whether the guest answered before patience ended; never
                when nobody wants to know any more, or nothing leads to the guest.
        """

    @abstractmethod
    def close(self) -> None:
        """End every machine, at once."""
