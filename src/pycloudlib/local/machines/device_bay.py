"""The slots of a machine: what it is to have, what its QEMU has, and bringing the one to the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from pycloudlib.errors import MachineError, PycloudlibError
from pycloudlib.local.machines.qemu_devices import QemuDevice
from pycloudlib.local.machines.qmp import QMP

logger = logging.getLogger(__name__)

SLOTS = 16
"""PCI Express ports: one for each device that is there from the start or is plugged later."""
RNG_SLOT = 2
"""The slot after the root disk and the primary interface."""


class DeviceOwner(Protocol):
    """Whoever is told what became of a device. Called from the bay's own thread."""

    def device_attached(self, device: QemuDevice) -> None:
        """The guest can use it."""

    def device_detached(self, device: QemuDevice) -> None:
        """The guest has let go of it."""

    def device_failed(self, resource_id: str, detail: str) -> None:
        """It could not be attached; `detail` says in one line why."""


Task = Callable[[QMP | None], None]


class DeviceBay:
    """Where the devices of a machine are plugged in.

    What it is asked for is done in order, by a thread of its own, and only while QEMU either answers or does not run:
    not while it starts. So nobody who asks has to wait, and a device that is asked for too early is plugged when the
    machine has started.

    Args:
        owner: is told what became of each device.
        name: of the machine, for its thread.
    """

    def __init__(self, owner: DeviceOwner, name: str) -> None:
        self._owner = owner
        self._name = name
        self._wanted: dict[str, QemuDevice] = {}
        self._slots: dict[str, int] = {}
        self._leaving: dict[str, QemuDevice] = {}
        self._qmp: QMP | None = None
        self._settled = threading.Event()
        self._settled.set()
        # Held by whoever changes what QEMU has: the bay's thread, or the machine's when it starts a QEMU.
        self._changing = threading.RLock()
        self._worker: ThreadPoolExecutor | None = None

    def hold(self) -> None:
        """Do nothing until ready() or ended(): the machine is about to start."""
        self._settled.clear()

    def fill(self, root: QemuDevice, primary: QemuDevice, others: list[QemuDevice]) -> None:
        """Say what the machine is to have when it starts; who had a slot before keeps it.

        Args:
            root: the root volume.
            primary: the primary interface.
            others: everything else.
        """
        with self._changing:
            self._wanted = {device.resource_id: device for device in (root, primary, *others)}
            kept = {name: slot for name, slot in self._slots.items() if name in self._wanted}
            self._slots = kept | {root.resource_id: 0, primary.resource_id: 1}

    def arguments(self) -> list[str]:
        """The command line of the devices of a QEMU that starts now; until ready() or ended() nothing is changed."""
        with self._changing:
            self.hold()
            devices = list(self._wanted.values())
            return [argument for device in devices for argument in device.arguments(self._slot_of(device))]

    def plug_all(self, qmp: QMP) -> None:
        """Give a QEMU that was started without them all devices that it is to have; until ready() nothing is changed.

        Raises:
            MachineError: QEMU refused.
            LocalEC2Error: what is behind a device cannot be made.
        """
        with self._changing:
            for device in self._wanted.values():
                device.plug(qmp, self._slot_of(device))

    def ready(self, qmp: QMP) -> None:
        """QEMU answers: what was asked for meanwhile is done now."""
        self._qmp = qmp
        self._settled.set()

    def ended(self) -> None:
        """QEMU has ended: what the guest was asked to let go of is free."""
        with self._changing:
            self._qmp = None
            leaving, self._leaving = self._leaving, {}
            for device in leaving.values():
                self._slots.pop(device.resource_id, None)
        self._settled.set()
        for device in leaving.values():
            self._submit(partial(self._tell_detached, device))

    def attach(self, device: QemuDevice) -> None:
        """Plug a device in."""
        self._submit(lambda qmp: self._attach(device, qmp))

    def detach(self, resource_id: str) -> None:
        """Ask the guest to let go of a device."""
        self._submit(lambda qmp: self._detach(resource_id, qmp))

    def deleted(self, device_id: str) -> None:
        """QEMU says that the guest has let go of a device."""
        self._submit(lambda qmp: self._deleted(device_id, qmp))

    def plugged(self, resource_id: str) -> QemuDevice | None:
        """A device that QEMU has, or will have; to be asked in a task."""
        return self._wanted.get(resource_id) or self._leaving.get(resource_id)

    def do(self, task: Task) -> None:
        """Do something in turn: with the QEMU that answers, or with None when none runs."""
        self._submit(task)

    def catch_up(self) -> None:
        """Wait until everything that was asked for so far has been done; not for the bay's own thread."""
        if self._worker is not None:
            self._worker.submit(lambda: None).result()

    def close(self) -> None:
        """Do nothing any more."""
        if self._worker is not None:
            # What was asked for is done all the same: whoever waits for a snapshot is to be told.
            self._worker.shutdown(wait=False)
        self._settled.set()

    def _submit(self, task: Task) -> None:
        if self._worker is None:
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"devices-{self._name}")
        self._worker.submit(self._run, task)

    def _run(self, task: Task) -> None:
        while True:
            self._settled.wait()
            with self._changing:
                if not self._settled.is_set():
                    continue  # a QEMU was started in between
                try:
                    task(self._qmp)
                except PycloudlibError as error:
                    logger.warning("%s: %s", self._name, error)
                except Exception:
                    # A fault of this program: it is logged whole, and the tasks behind this one have their turn.
                    logger.exception("%s: a device could not be changed", self._name)
            return

    def _attach(self, device: QemuDevice, qmp: QMP | None) -> None:
        if device.resource_id in self._wanted:  # the machine was started with it in between
            self._owner.device_attached(self._wanted[device.resource_id])
            return
        try:
            slot = self._slot_of(device)
            if qmp is not None:
                device.plug(qmp, slot)
        except (PycloudlibError, OSError) as error:
            self._slots.pop(device.resource_id, None)
            self._owner.device_failed(device.resource_id, str(error))
            return
        self._wanted[device.resource_id] = device
        self._owner.device_attached(device)

    def _detach(self, resource_id: str, qmp: QMP | None) -> None:
        device = self._wanted.pop(resource_id, None)
        if device is None:
            return
        if qmp is None:
            self._slots.pop(resource_id, None)
            self._owner.device_detached(device)
            return
        self._leaving[resource_id] = device
        device.unplug(qmp)

    def _deleted(self, device_id: str, qmp: QMP | None) -> None:
        device = next((one for one in self._leaving.values() if one.device_id == device_id), None)
        if device is None or qmp is None:
            return
        del self._leaving[device.resource_id]
        self._slots.pop(device.resource_id, None)
        device.release(qmp)
        self._owner.device_detached(device)

    def _tell_detached(self, device: QemuDevice, _: QMP | None) -> None:
        self._owner.device_detached(device)

    def _slot_of(self, device: QemuDevice) -> int:
        taken = set(self._slots.values()) | {RNG_SLOT}
        free = [slot for slot in range(SLOTS) if slot not in taken]
        if device.resource_id not in self._slots:
            if not free:
                raise MachineError(f"no slot is free for {device.resource_id}: a machine has {SLOTS}")
            self._slots[device.resource_id] = free[0]
        return self._slots[device.resource_id]
