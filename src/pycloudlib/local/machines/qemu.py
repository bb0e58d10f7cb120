"""The hardware of a real machine: an unprivileged QEMU process."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable
from functools import partial

from pycloudlib.local import qemu_img
from pycloudlib.local.images.boot_loader import starts_same_kernel
from pycloudlib.local.machines.base import Devices, Disk, MachineSpec
from pycloudlib.local.machines.boot_snapshot import BootSnapshot, resume
from pycloudlib.local.machines.commands import Freeze, Grow, Start
from pycloudlib.local.machines.firmware import Firmware, current_uefi_data, uefi_arguments
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
"""The bytes of disk space required for a start: a booting guest writes about as much."""
START_SECONDS = 300.0
"""The seconds until QEMU's monitor must respond, on a busy host."""
FINISH_SECONDS = 30.0
"""The seconds that a QEMU process may take to end."""
KEPT_CONSOLE_BYTES = 64 * 1024
"""The bytes of console output to keep after the machine's deletion, as on EC2."""
CONSOLE_FILE = "console.log"


class QemuHardware(Hardware):
    """A QEMU process, its directory, and its metadata service.

    A reset starts a new process: under TCG, a kernel takes half a minute to overwrite the translated code of the
    previous one.

    Args:
        spec: the initial specification of the machine.
        metadata: returns the current metadata.
        host: starts QEMU processes.
        network: connects the interfaces.
        post: receives the signals.
        is_needed: returns whether a start is still needed; called from any thread.
    """

    def __init__(
        self,
        spec: MachineSpec,
        metadata: Callable[[], InstanceMetadata],
        host: QemuHost,
        network: QemuNetwork,
        *,
        post: Callable[[Signal], object],
        is_needed: Callable[[], bool],
    ) -> None:
        self.start_seconds = START_SECONDS
        self.finish_seconds = FINISH_SECONDS
        self.shutdown_seconds = host.options.shutdown_seconds
        self._spec = network.adapt(spec)
        self._metadata = metadata
        self._host = host
        self._network = network
        self._post = post
        self._is_needed = is_needed
        self._directory = host.options.directory / spec.instance_id
        self._slots = PciSlots()
        self._process: QemuProcess | None = None
        self._snapshot: BootSnapshot | None = None
        self._by_loader = False
        self._fault = ""
        self._while_on = contextlib.ExitStack()
        self._last_console = b""

    def switch_on(self, run: int, start: Start | None) -> None:
        """Start a QEMU process, with its devices, or from a boot snapshot and without devices."""
        if start is not None:
            self._spec = self._network.adapt(start.spec)
            self._prepare(start.devices)
        self._fault = ""
        self._by_loader = self._is_boot_changed()
        snapshot = None if self._by_loader else self._host.boot_snapshot(self._spec, self._is_needed)
        self._snapshot = snapshot
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
        """Resume a boot snapshot as this machine, with its devices. No-op without a boot snapshot."""
        process, snapshot = self._process, self._snapshot
        if process is None or snapshot is None:
            return
        assert process.host is not None  # noqa: S101  (it was started with one)
        try:
            resume(self._spec.instance_id, process.qmp, process.host, partial(self._slots.plug_all, process.qmp))
        except Exception as error:
            self._fault = str(error)
            raise
        self._snapshot = None

    def retry_from_beginning(self, reason: str) -> bool:
        """Discard the boot snapshot that failed; return whether there was one."""
        if self._snapshot is None:
            return False
        logger.warning("%s boots from the beginning: %s", self._spec.instance_id, self._fault or reason)
        self._host.discard(self._snapshot)
        self._snapshot = None
        return True

    def press_power_button(self) -> None:
        """Request a shutdown of the guest by ACPI."""
        if self._process is not None:
            self._process.qmp.send("system_powerdown")

    def finish(self) -> None:
        """Quit the QEMU process that stays paused after the guest's shutdown."""
        if self._process is not None:
            self._process.qmp.send("quit")

    def cut_power(self, *, for_good: bool) -> None:
        """Kill QEMU."""
        if self._process is not None:
            self._process.kill()

    def interrupter(self) -> Callable[[], None]:
        """Return a function that kills the current QEMU process, which unblocks threads waiting for it."""
        process = self._process
        return process.kill if process is not None else lambda: None

    def fail(self, cause: str) -> None:
        """Kill the current QEMU process, and report the cause as the reason. Any thread may call it."""
        process = self._process
        if process is not None:
            process.kill(cause)

    def went_off(self) -> None:
        """Record that QEMU has ended."""
        self._process = None
        self._slots.went_off()

    def rest(self) -> None:
        """End the metadata service."""
        self._while_on.close()

    def plug(self, device: Disk | NetworkAttachment) -> None:
        """Plug in a device."""
        self._slots.plug(self._device(device), self._qmp)

    def unplug(self, resource_id: str, *, force: bool = False) -> bool:
        """Request that the guest release a device."""
        return self._slots.unplug(resource_id, self._qmp, force=force)

    def released(self, device_id: str) -> str | None:
        """Remove the backend of a released device."""
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
        """Grow a disk.

        Raises:
            MachineError: QEMU uses the disk, and rejected the resize.
        """
        device, qmp = self._slots.device(command.disk.volume_id), self._qmp
        if qmp is not None and isinstance(device, QemuDisk):
            device.grow(qmp, command.size_gb)
        else:
            command.disk.grow(command.size_gb)

    def delete(self) -> None:
        """Delete the machine's directory, keeping the end of the console output."""
        self._last_console = self.console()[-KEPT_CONSOLE_BYTES:]
        shutil.rmtree(self._directory, ignore_errors=True)

    def console(self) -> bytes:
        """Return the complete output of the serial console."""
        try:
            return (self._directory / CONSOLE_FILE).read_bytes()
        except FileNotFoundError:
            return self._last_console

    def uefi_data(self) -> str:
        """Return the UEFI variables in the machine's directory, or the initial ones before its first start."""
        return current_uefi_data(self._directory, self._spec.uefi_data)

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
        spec = self._spec
        accelerator = self._host.options.accelerator.for_platform(spec.platform)
        firmware = []
        if spec.firmware is Firmware.UEFI:
            firmware = uefi_arguments(self._directory, spec.platform, spec.uefi_data)
        return command_line(
            spec,
            [*firmware, *arguments],
            accelerator=accelerator,
            qmp_fd=qmp_fd,
            host_fd=host_fd,
            by_loader=self._by_loader,
        )

    def _is_boot_changed(self) -> bool:
        """Return whether the root disk's boot loader may start another kernel than that of the specification."""
        kernel, root = self._spec.kernel, self._slots.root
        if kernel is None or kernel.same_as is None or not isinstance(root, QemuDisk):
            return False
        return self._spec.firmware is Firmware.UEFI or not starts_same_kernel(root.disk.file(), kernel.same_as)
