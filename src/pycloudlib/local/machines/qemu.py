"""The hardware of a real machine: a QEMU process without any privileges."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable
from functools import partial

from pycloudlib.local import qemu_img
from pycloudlib.local.machines.base import Devices, Disk, MachineSpec
from pycloudlib.local.machines.boot_snapshot import BootSnapshot, go_on
from pycloudlib.local.machines.commands import Freeze, Grow, Start
from pycloudlib.local.machines.hardware import Hardware, Signal
from pycloudlib.local.machines.pci_slots import PciSlots
from pycloudlib.local.machines.qemu_command import command_line
from pycloudlib.local.machines.qemu_devices import QemuDevice, QemuDisk
from pycloudlib.local.machines.qemu_host import QemuHost
from pycloudlib.local.machines.qemu_interfaces import QemuInterface, QemuNetwork
from pycloudlib.local.machines.qemu_process import QemuProcess
from pycloudlib.local.machines.qmp import QMP
from pycloudlib.local.network.attachment import NetworkAttachment
from pycloudlib.local.network.metadata import InstanceMetadata

logger = logging.getLogger(__name__)

ROOM_TO_START = 128 * qemu_img.MIB
"""A guest that boots writes about as much to its disk."""
START_SECONDS = 300.0
"""How long a QEMU may take until its monitor answers; on a busy host."""
FINISH_SECONDS = 30.0
"""How long a QEMU may take to end."""
KEPT_CONSOLE_BYTES = 64 * 1024
"""What is kept of a console when its machine is gone; EC2 keeps as much."""
CONSOLE_FILE = "console.log"


class QemuHardware(Hardware):
    """A QEMU process, its directory and its metadata service.

    A reset is a new process: under emulation a kernel takes half a minute to overwrite the code of the one before it,
    which QEMU has translated.

    Args:
        spec: what the machine is made of at first.
        metadata: answers requests to its metadata service.
        host: starts its QEMU processes.
        network: connects its interfaces.
        post: takes its signals.
        wanted: tells whether it is still to be started; for any thread.
    """

    def __init__(
        self,
        spec: MachineSpec,
        metadata: Callable[[], InstanceMetadata],
        host: QemuHost,
        network: QemuNetwork,
        *,
        post: Callable[[Signal], object],
        wanted: Callable[[], bool],
    ) -> None:
        self.start_seconds = START_SECONDS
        self.finish_seconds = FINISH_SECONDS
        self.shutdown_seconds = host.options.shutdown_seconds
        self._spec = spec
        self._metadata = metadata
        self._host = host
        self._network = network
        self._post = post
        self._wanted = wanted
        self._directory = host.options.directory / spec.instance_id
        self._slots = PciSlots()
        self._process: QemuProcess | None = None
        self._snapshot: BootSnapshot | None = None
        self._fault = ""
        self._while_on = contextlib.ExitStack()
        self._last_console = b""

    def switch_on(self, run: int, start: Start | None) -> None:
        """Start a QEMU: with its devices, or from where a boot was saved and without any."""
        if start is not None:
            self._spec = start.spec
            self._prepare(start.devices)
        self._fault = ""
        self._snapshot = snapshot = self._host.boot_snapshot(self._spec, self._wanted)
        if snapshot is not None:
            with (self._directory / CONSOLE_FILE).open("ab") as console:
                console.write(snapshot.console)
        arguments = self._slots.arguments() if snapshot is None else snapshot.arguments
        process = QemuProcess(self._spec.instance_id, run, self._post, self._directory)
        with self._slots.inherited_fds() as fds:
            process.start(
                self._host.spawn,
                partial(self._command, arguments),
                with_host_port=snapshot is not None,
                keep_fds=fds,
            )
        self._process = process

    def complete(self) -> None:
        """Resume a saved boot as this machine, with its devices."""
        process, snapshot = self._process, self._snapshot
        if process is None or snapshot is None:
            return
        assert process.host is not None  # noqa: S101  (it was started with one)
        try:
            go_on(self._spec.instance_id, process.qmp, process.host, partial(self._slots.plug_all, process.qmp))
        except Exception as error:
            self._fault = str(error)
            raise
        self._snapshot = None

    def retry_from_beginning(self, reason: str) -> bool:
        """Discard the saved boot that failed, if there was one."""
        if self._snapshot is None:
            return False
        logger.warning("%s boots from the beginning: %s", self._spec.instance_id, self._fault or reason)
        self._host.discard(self._snapshot)
        self._snapshot = None
        return True

    def press_power_button(self) -> None:
        """Ask the guest to shut down."""
        if self._process is not None:
            self._process.qmp.send("system_powerdown")

    def finish(self) -> None:
        """End the QEMU that waits since its guest has shut down, so that the reason can be told."""
        if self._process is not None:
            self._process.qmp.send("quit")

    def cut_power(self, *, for_good: bool) -> None:
        """Kill QEMU."""
        if self._process is not None:
            self._process.kill()

    def interrupter(self) -> Callable[[], None]:
        """Return a function that kills the present QEMU: whatever waits for its answer goes on."""
        process = self._process
        return process.kill if process is not None else lambda: None

    def fail(self, cause: str) -> None:
        """Kill the present QEMU, if there is one: the machine dies of this cause. For any thread."""
        process = self._process
        if process is not None:
            process.kill(cause)

    def went_off(self) -> None:
        """Take note that QEMU has ended."""
        self._process = None
        self._slots.went_off()

    def rest(self) -> None:
        """End the metadata service."""
        self._while_on.close()

    def plug(self, device: Disk | NetworkAttachment) -> None:
        """Plug in a device."""
        self._slots.plug(self._device(device), self._qmp)

    def unplug(self, resource_id: str, *, force: bool = False) -> bool:
        """Ask the guest to release a device."""
        return self._slots.unplug(resource_id, self._qmp, force=force)

    def released(self, device_id: str) -> str | None:
        """Remove what is behind a device that the guest has released."""
        qmp = self._qmp
        return self._slots.released(device_id, qmp) if qmp is not None else None

    def change_interface(self, attachment: NetworkAttachment) -> None:
        """Change the addresses of an interface."""
        device = self._slots.device(attachment.interface_id)
        if isinstance(device, QemuInterface):
            device.change(attachment, self._qmp)

    def freeze(self, command: Freeze) -> None:
        """Redirect all further writes of a disk to a new overlay."""
        device, qmp = self._slots.device(command.disk.volume_id), self._qmp
        if qmp is not None and isinstance(device, QemuDisk):
            device.freeze(qmp, str(command.overlay.absolute()))
        else:
            qemu_img.create_overlay(command.disk.file(), command.overlay, base_format="qcow2")

    def grow(self, command: Grow) -> None:
        """Make a disk larger.

        Raises:
            MachineError: QEMU uses it, and refused.
        """
        device, qmp = self._slots.device(command.disk.volume_id), self._qmp
        if qmp is not None and isinstance(device, QemuDisk):
            device.grow(qmp, command.size_gb)
        else:
            command.disk.grow(command.size_gb)

    def delete(self) -> None:
        """Delete its directory."""
        self._last_console = self.console()[-KEPT_CONSOLE_BYTES:]
        shutil.rmtree(self._directory, ignore_errors=True)

    def console(self) -> bytes:
        """Return all that it has printed on its serial console."""
        try:
            return (self._directory / CONSOLE_FILE).read_bytes()
        except FileNotFoundError:
            return self._last_console

    @property
    def _qmp(self) -> QMP | None:
        return self._process.qmp if self._process is not None else None

    def _prepare(self, devices: Devices) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        qemu_img.ensure_space(self._directory, ROOM_TO_START)
        root, *disks = [self._device(disk) for disk in devices.disks]
        primary, *interfaces = [self._device(attachment) for attachment in devices.interfaces]
        self._slots.fill(root, primary, [*disks, *interfaces])
        metadata = self._network.serve_metadata(self._spec.instance_id, self._directory, self._metadata)
        self._while_on.enter_context(metadata)

    def _device(self, device: Disk | NetworkAttachment) -> QemuDevice:
        if isinstance(device, Disk):
            return QemuDisk(device, self._spec.disk_bus)
        return self._network.interface(device)

    def _command(self, arguments: list[str], qmp_fd: int, host_fd: int | None) -> list[str]:
        accelerator = self._host.options.accelerator
        return command_line(self._spec, arguments, accelerator=accelerator, qmp_fd=qmp_fd, host_fd=host_fd)
