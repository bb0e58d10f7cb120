"""The PCI slots of a machine, and the hotplug of devices."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from pycloudlib.errors import MachineError
from pycloudlib.local.machines.hardware import HardwareOffError
from pycloudlib.local.machines.qemu_devices import ROOT_SLOT, QemuDevice
from pycloudlib.local.machines.qmp import QMP

logger = logging.getLogger(__name__)

SLOTS = 16
"""The number of PCI Express ports, each for one cold-plugged or hotplugged device."""
RNG_SLOT = 2
"""The slot of the virtio RNG, after the root disk and the primary interface."""


class PciSlots:
    """The devices of a machine and their slots. Without a QEMU process, changes apply to the next start."""

    def __init__(self) -> None:
        self._plugged: dict[str, QemuDevice] = {}
        self._slots: dict[str, int] = {}
        self._leaving: dict[str, QemuDevice] = {}
        self._disconnected: set[str] = set()  # a subset of _leaving

    def fill(self, root: QemuDevice, primary: QemuDevice, others: list[QemuDevice]) -> None:
        """Set the devices of a machine that is off; devices that it had keep their slots.

        Args:
            root: the root volume.
            primary: the primary interface.
            others: all other devices.
        """
        self._plugged = {device.resource_id: device for device in (root, primary, *others)}
        kept_slots = {name: slot for name, slot in self._slots.items() if name in self._plugged}
        self._slots = kept_slots | {root.resource_id: ROOT_SLOT, primary.resource_id: 1}

    @property
    def root(self) -> QemuDevice | None:
        """The root volume; None before `fill`."""
        return next((device for name, device in self._plugged.items() if self._slots.get(name) == ROOT_SLOT), None)

    def arguments(self) -> list[str]:
        """Return the command-line arguments of the devices."""
        return [argument for device in self._plugged.values() for argument in device.arguments(self._slot_of(device))]

    @contextlib.contextmanager
    def inherited_fds(self) -> Iterator[list[int]]:
        """Yield the file descriptors in `arguments()`, which QEMU inherits, and close them on exit."""
        fds = [fd for device in self._plugged.values() for fd in device.take_fds()]
        try:
            yield fds
        finally:
            for fd in fds:
                os.close(fd)

    def plug_all(self, qmp: QMP) -> None:
        """Plug all devices into a QEMU process that was started without them.

        Raises:
            MachineError: QEMU rejected a device.
            LocalEC2Error: a device's backend cannot be created.
        """
        for device in self._plugged.values():
            device.plug(qmp, self._slot_of(device))

    def plug(self, device: QemuDevice, qmp: QMP | None) -> None:
        """Plug in a device. No-op if it is plugged in.

        Raises:
            MachineError: QEMU rejected the device, the guest has not released it yet, or no slot is free.
            LocalEC2Error: the device's backend cannot be created.
        """
        if device.resource_id in self._plugged:
            return
        if device.resource_id in self._leaving:
            raise MachineError(f"the guest has not released {device.resource_id} since it was detached by force")
        slot = self._slot_of(device)
        if qmp is not None:
            try:
                device.plug(qmp, slot)
            except BaseException:
                del self._slots[device.resource_id]
                raise
        self._plugged[device.resource_id] = device

    def unplug(self, resource_id: str, qmp: QMP | None, *, force: bool = False) -> bool:
        """Unplug a device, or request that the guest release it.

        Args:
            resource_id: the volume or network interface.
            qmp: QEMU's monitor; None without a QEMU process.
            force: whether to disconnect the device at once, or to repeat the request for one that cannot be
                disconnected; default no. The device keeps its slot until the guest has released it.

        Returns:
            Whether the device is unplugged or disconnected; otherwise QEMU reports the guest's release later.

        Raises:
            MachineError: QEMU rejected the request.
        """
        device = self._plugged.get(resource_id)
        if device is not None and qmp is None:
            del self._slots[resource_id]
            del self._plugged[resource_id]
        elif device is not None and qmp is not None:
            _ask_to_release(device, qmp, force=force)
            self._leaving[resource_id] = self._plugged.pop(resource_id)
        elif resource_id in self._leaving and qmp is not None and force:
            _ask_to_release(self._leaving[resource_id], qmp, force=True)
        if force and qmp is not None and resource_id in self._leaving and self._leaving[resource_id].can_disconnect:
            self._disconnect(self._leaving[resource_id], qmp)
        return resource_id not in self._leaving or resource_id in self._disconnected

    def released(self, device_id: str, qmp: QMP) -> str | None:
        """Remove a device that the guest has released.

        Returns:
            The volume or interface; None if the device was not being unplugged.

        Raises:
            HardwareOffError: QEMU is gone.
        """
        device = next((leaving for leaving in self._leaving.values() if leaving.device_id == device_id), None)
        if device is None:
            return None
        try:
            self._disconnect(device, qmp)
        except HardwareOffError:
            raise
        except MachineError as error:
            # The guest has released the device anyway; QEMU keeps the backend until it ends.
            logger.warning("%s: %s", device.resource_id, error)
        self._free(device)
        return device.resource_id

    def went_off(self) -> None:
        """Free the slots of all devices being unplugged."""
        for device in list(self._leaving.values()):
            self._free(device)

    def device(self, resource_id: str) -> QemuDevice | None:
        """Return a device of the machine, including one being unplugged; None if unknown."""
        return self._plugged.get(resource_id) or self._leaving.get(resource_id)

    def _disconnect(self, device: QemuDevice, qmp: QMP) -> None:
        """Remove a device's backend. No-op if it is removed."""
        if device.resource_id not in self._disconnected:
            device.release(qmp)
            self._disconnected.add(device.resource_id)

    def _free(self, device: QemuDevice) -> None:
        self._disconnected.discard(device.resource_id)
        del self._leaving[device.resource_id]
        del self._slots[device.resource_id]

    def _slot_of(self, device: QemuDevice) -> int:
        taken = set(self._slots.values()) | {RNG_SLOT}
        free = [slot for slot in range(SLOTS) if slot not in taken]
        if device.resource_id not in self._slots:
            if not free:
                raise MachineError(f"no slot is free for {device.resource_id}: a machine has {SLOTS}")
            self._slots[device.resource_id] = free[0]
        return self._slots[device.resource_id]


def _ask_to_release(device: QemuDevice, qmp: QMP, *, force: bool) -> None:
    try:
        device.unplug(qmp)
    except HardwareOffError:
        raise
    except MachineError as error:
        if not force:
            raise
        # QEMU rejects a second request while the guest ignores the first: the guest keeps the device until power-off.
        logger.info("%s: %s", device.resource_id, error)
