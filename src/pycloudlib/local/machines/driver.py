"""The interface of machine drivers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from pycloudlib.local.machines.base import MachineOwner, MachineSpec
from pycloudlib.local.machines.machine import Machine
from pycloudlib.local.machines.platforms import Platform
from pycloudlib.local.network.faults import NetworkFaults
from pycloudlib.local.network.metadata import InstanceMetadata
from pycloudlib.local.network.namespaces.capture import Tap
from pycloudlib.local.network.namespaces.entrance import Entrance
from pycloudlib.local.network.topology import Topology


class MachineDriver(ABC):
    """Creates machines of one kind."""

    device_limit = 28
    """The maximum number of volumes and interfaces of a machine together; the default is Nitro's limit."""
    optimize_seconds = 2.0
    """The seconds that a modified volume stays "optimizing", which on EC2 takes minutes to hours."""
    topology_listener: Callable[[Topology], None] | None = None
    """Called with the complete network after each change of the records; None if they do not affect machines."""
    open_vpc: Callable[[str, int], Entrance] | None = None
    """Returns the entrance to a VPC, given its id and the port of the EC2 API; None without VPC networks."""
    find_tap: Callable[[str], Tap] | None = None
    """Returns the tap of a running machine's interface, given its id; None without VPC networks."""
    faults: NetworkFaults | None = None
    """The network faults; None without VPC networks."""
    host_address: str | None = None
    """The address that the host has for machines whose security groups take effect; None if they do not."""

    @abstractmethod
    def require_platform(self, platform: Platform) -> None:
        """Require the programs and the firmware for machines of a platform.

        Raises:
            MissingPrerequisiteError: a program or the firmware is not installed.
        """

    @abstractmethod
    def require_secure_boot(self, platform: Platform) -> None:
        """Require the firmware with Secure Boot for machines of a platform.

        Raises:
            MissingPrerequisiteError: it is not installed, or the platform has none.
        """

    @abstractmethod
    def create(self, spec: MachineSpec, owner: MachineOwner, metadata: Callable[[], InstanceMetadata]) -> Machine:
        """Create a machine, switched off; `metadata` returns its current metadata, at any time."""

    @abstractmethod
    def allocate_public_ip(self) -> str:
        """Allocate an unused address of the host.

        Raises:
            LocalEC2Error: no address is free.
        """

    @abstractmethod
    def release_public_ip(self, address: str) -> None:
        """Release an address of `allocate_public_ip`."""

    @abstractmethod
    def watch_guest(
        self, public_ip: str | None, is_needed: Callable[[], bool], on_result: Callable[[bool], None]
    ) -> None:
        """Watch a started machine until its guest is reachable on the network.

        Args:
            public_ip: the public address of the guest; None without one.
            is_needed: returns whether the result is still needed.
            on_result: called once from another thread, with whether the guest became reachable in time. Never called
                without an address, or once the result is not needed.
        """

    def forwards_ssh(self, public_ip: str) -> bool:
        """Return whether a public address leads to the guest's sshd now; security groups may forbid it."""
        return True

    @abstractmethod
    def close(self) -> None:
        """Destroy all machines immediately."""
