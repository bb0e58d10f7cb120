"""The driver of real machines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pycloudlib.local.machines.base import MachineOwner, MachineSpec
from pycloudlib.local.machines.commands import Destroy, Request, Stop
from pycloudlib.local.machines.driver import MachineDriver
from pycloudlib.local.machines.firmware import require_platform, require_secure_boot
from pycloudlib.local.machines.machine import Machine, MachineState
from pycloudlib.local.machines.mailbox import ThreadMailbox
from pycloudlib.local.machines.pci_slots import SLOTS
from pycloudlib.local.machines.platforms import Platform
from pycloudlib.local.machines.qemu import QemuHardware
from pycloudlib.local.machines.qemu_host import QemuHost
from pycloudlib.local.machines.qemu_interfaces import QemuNetwork
from pycloudlib.local.network.metadata import InstanceMetadata
from pycloudlib.local.network.public_addresses import PublicAddresses
from pycloudlib.local.network.reachability import wait_until_reachable


class QemuDriver(MachineDriver):
    """Creates QEMU machines, none of which outlives this process.

    Args:
        host: starts the QEMU processes.
        network: connects the machines; closed with the driver.
    """

    device_limit = SLOTS - 1  # one slot holds the virtio RNG

    def __init__(self, host: QemuHost, network: QemuNetwork) -> None:
        self._host = host
        self._network = network
        network.on_lost = self._network_lost
        self.topology_listener = network.topology_listener
        self.open_vpc = network.open_vpc
        self.find_tap = network.find_tap
        self.faults = network.faults
        self.host_address = network.host_address
        self._addresses = PublicAddresses(host.options.ssh_port, host.options.public_cidr)
        self._machines: dict[Machine, tuple[QemuHardware, ThreadMailbox]] = {}
        self._lock = threading.Lock()

    def require_platform(self, platform: Platform) -> None:
        """Require QEMU for a platform, and the UEFI of one without a BIOS."""
        require_platform(platform)

    def require_secure_boot(self, platform: Platform) -> None:
        """Require the UEFI with Secure Boot of a platform."""
        require_secure_boot(platform)

    def create(self, spec: MachineSpec, owner: MachineOwner, metadata: Callable[[], InstanceMetadata]) -> Machine:
        """Create a machine, switched off."""
        mailbox = ThreadMailbox(f"machine-{spec.instance_id}")

        def is_needed() -> bool:
            return not mailbox.any_waiting(_ends_machine)

        hardware = QemuHardware(spec, metadata, self._host, self._network, post=mailbox.put, is_needed=is_needed)
        machine = Machine(spec, owner, hardware, mailbox)
        with self._lock:
            self._machines = {
                existing: parts for existing, parts in self._machines.items() if existing.state is not MachineState.GONE
            }
            self._machines[machine] = hardware, mailbox
        return machine

    def allocate_public_ip(self) -> str:
        """Allocate an unused address of the host."""
        return self._addresses.allocate()

    def release_public_ip(self, address: str) -> None:
        """Release an address of `allocate_public_ip`."""
        self._addresses.release(address)

    def watch_guest(
        self, public_ip: str | None, is_needed: Callable[[], bool], on_result: Callable[[bool], None]
    ) -> None:
        """Connect to the guest's sshd in a thread until it answers. No-op without an address."""
        if public_ip is None:
            return

        def watch() -> None:
            reachable = wait_until_reachable(public_ip, self._host.options.ssh_port, is_needed=is_needed)
            if reachable is not None:
                on_result(reachable)

        threading.Thread(target=watch, name=f"reachability-{public_ip}", daemon=True).start()

    def forwards_ssh(self, public_ip: str) -> bool:
        """Return whether a public address leads to the guest's sshd now."""
        return self._network.forwards_ssh(public_ip)

    def close(self) -> None:
        """Destroy all machines immediately, and wait for their threads."""
        self._host.stop_snapshots()
        with self._lock:
            machines = self._machines
        for machine in machines:
            machine.submit(Destroy())
        for _, mailbox in machines.values():
            mailbox.join()
        self._network.close()
        self._host.close()

    def _network_lost(self, reason: str) -> None:
        with self._lock:
            machines = list(self._machines.values())
        for hardware, _ in machines:
            hardware.fail(reason)


def _ends_machine(item: Any) -> bool:
    return isinstance(item, Request) and isinstance(item.command, (Stop, Destroy))
