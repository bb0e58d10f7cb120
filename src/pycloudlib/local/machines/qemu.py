"""A real machine: a QEMU process without any privileges."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycloudlib.errors import PycloudlibError
from pycloudlib.local import disks
from pycloudlib.local.machines.base import (
    Devices,
    Disk,
    Machine,
    MachineOwner,
    MachineSpec,
    MachineState,
    NetworkAttachment,
    PowerOffCause,
)
from pycloudlib.local.machines.device_bay import DeviceBay, DeviceOwner
from pycloudlib.local.machines.qemu_command import command_line
from pycloudlib.local.machines.qemu_devices import Forwarding, QemuDevice, QemuDisk, QemuInterface
from pycloudlib.local.machines.qmp import QMP, READY
from pycloudlib.local.machines.saved_boot import SavedBoot, go_on
from pycloudlib.local.metadata import InstanceMetadata, MetadataServer

if TYPE_CHECKING:
    from pycloudlib.local.machines.qemu_driver import QemuDriver

logger = logging.getLogger(__name__)

ROOM_TO_START = 128 * disks.MIB
"""A guest that boots writes about as much to its disk."""
QUIT_SECONDS = 10.0
"""How long a QEMU that has hung up may take to end."""
KEPT_CONSOLE_BYTES = 64 * 1024
"""What is kept of a console when its machine is gone; EC2 keeps as much."""
CONSOLE_FILE = "console.log"
METADATA_SOCKET = "metadata.sock"
"""In the machine's directory."""


class QemuMachine(Machine, DeviceOwner):
    """A QEMU process, its directory and its metadata service. One thread follows it from start to end.

    Args:
        spec: what it is made of.
        owner: is told when it runs and when it is off.
        metadata: answers what its metadata service is asked.
        driver: what made it.
    """

    def __init__(
        self,
        spec: MachineSpec,
        owner: MachineOwner,
        metadata: Callable[[], InstanceMetadata],
        driver: QemuDriver,
    ) -> None:
        super().__init__(spec, owner)
        self._metadata = metadata
        self._driver = driver
        self._directory = driver.options.directory / spec.instance_id
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: QMP | None = None
        self._plug_puller: threading.Timer | None = None
        self._end_requested = False
        self._destroy_requested = False
        self._rebooting = False
        self._reset_wanted = False
        self._guest_powered_off = False
        self._out_of_room = False
        self._last_words = ""
        self._last_console = b""
        self._bay = DeviceBay(self, spec.instance_id)
        self._between: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None

    def start(self, devices: Devices) -> None:
        """Switch it on, with what it has this time."""
        self._move(MachineState.STARTING)
        self._bay.hold()
        self._end_requested = False
        self._rebooting = False
        self._guest_powered_off = False
        self._last_words = ""
        self._thread = threading.Thread(
            target=self._live, args=(devices,), name=f"machine-{self.spec.instance_id}", daemon=True
        )
        self._thread.start()

    def stop(self, *, force: bool = False) -> None:
        """Press its power button, or with `force` pull the plug."""
        self._end_requested = True
        if force:
            self._pull_plug()
            return
        self._press_power_button(afterwards=self._pull_plug)

    def reboot(self, between: Callable[[], None] | None = None) -> None:
        """Let the guest shut down, then start it again; one that does not react is reset all the same."""
        self._between = between
        self._rebooting = True
        self._press_power_button(afterwards=self._reset)

    def destroy(self) -> None:
        """Pull the plug and delete its disks."""
        with self._lock:
            self._destroy_requested = True
            self._end_requested = True
            off = self.state is MachineState.OFF
        if not off:
            self._pull_plug()
            return
        self._delete()
        self.owner.machine_off(PowerOffCause.REQUESTED, "")

    def console(self) -> bytes:
        """All that it has printed on its serial console."""
        try:
            return (self._directory / CONSOLE_FILE).read_bytes()
        except FileNotFoundError:
            return self._last_console

    def attach_disk(self, disk: Disk) -> None:
        """Give it another disk."""
        self._bay.attach(QemuDisk(disk))

    def detach_disk(self, volume_id: str) -> None:
        """Take a disk away."""
        self._bay.detach(volume_id)

    def freeze_disk(self, disk: Disk, overlay: Path, done: Callable[[Exception | None], None]) -> None:
        """Let everything that is written from now on go to a new overlay on the disk's present file."""

        def task(qmp: QMP | None) -> None:
            device = self._bay.plugged(disk.volume_id)
            try:
                if qmp is not None and isinstance(device, QemuDisk):
                    device.freeze(qmp, str(overlay.absolute()))
                else:
                    disks.create_overlay(disk.file(), overlay, base_format="qcow2")
            except (PycloudlibError, OSError) as error:
                done(error)
                return
            done(None)

        self._bay.do(task)

    def attach_interface(self, attachment: NetworkAttachment) -> None:
        """Give it another interface."""
        self._bay.attach(self._interface(attachment))

    def detach_interface(self, interface_id: str) -> None:
        """Take an interface away."""
        self._bay.detach(interface_id)

    def change_interface(self, attachment: NetworkAttachment) -> None:
        """Let one of its interfaces have other addresses."""

        def task(qmp: QMP | None) -> None:
            device = self._bay.plugged(attachment.interface_id)
            if isinstance(device, QemuInterface):
                device.change(attachment, qmp)

        self._bay.do(task)

    def device_attached(self, device: QemuDevice) -> None:
        """The guest can use it."""
        if isinstance(device, QemuDisk):
            self.owner.disk_attached(device.resource_id)
        else:
            self.owner.interface_attached(device.resource_id)

    def device_detached(self, device: QemuDevice) -> None:
        """The guest has let go of it."""
        if isinstance(device, QemuDisk):
            self.owner.disk_detached(device.resource_id)
        else:
            self.owner.interface_detached(device.resource_id)

    def device_failed(self, resource_id: str, detail: str) -> None:
        """It could not be attached."""
        self.owner.device_failed(resource_id, detail)

    def _interface(self, attachment: NetworkAttachment) -> QemuInterface:
        return QemuInterface(attachment, Forwarding(self._driver.options.ssh_port, METADATA_SOCKET))

    def join(self) -> None:
        """Wait until its thread has ended; for the end of the server."""
        if self._thread is not None:
            self._thread.join()

    # What follows runs in the machine's own thread.

    def _live(self, devices: Devices) -> None:
        cause, detail = PowerOffCause.DIED, ""
        try:
            cause, detail = self._run(devices)
        except (PycloudlibError, OSError) as error:
            detail = str(error)
        finally:
            self._cancel_plug_puller()
            self._bay.ended()
        with self._lock:
            self._process = None
            self._qmp = None
            destroy = self._destroy_requested
            self._move(MachineState.OFF)
        self._call_between()  # whoever waits for a reboot that did not come about is to be told
        if cause is PowerOffCause.DIED:
            logger.warning("%s: the machine died: %s", self.spec.instance_id, detail)
        if destroy:
            self._delete()
        self.owner.machine_off(cause, detail)

    def _run(self, devices: Devices) -> tuple[PowerOffCause, str]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        disks.ensure_space(self._directory, ROOM_TO_START)
        root, *others = [QemuDisk(disk) for disk in devices.disks]
        primary, *further = [self._interface(attachment) for attachment in devices.interfaces]
        self._bay.fill(root, primary, [*others, *further])
        with (
            _short_path(self._directory) as short,
            MetadataServer(short / METADATA_SOCKET, self._metadata),
        ):
            status, self._reset_wanted = 0, True
            # A reset is a new process: under emulation a kernel takes half a minute to overwrite the code of the one
            # before, which QEMU has translated.
            while self._reset_wanted and not self._end_requested:
                self._reset_wanted = self._guest_powered_off = False
                status = self._run_once()
                self._bay.ended()
                self._bay.catch_up()
                self._call_between()
        return self._why(status)

    def _call_between(self) -> None:
        between, self._between = self._between, None
        if between is None:
            return
        between()
        self._bay.catch_up()

    def _run_once(self) -> int:
        boot = self._driver.saved_boot(self.spec, lambda: not self._end_requested)
        if self._end_requested:
            return 0
        with contextlib.ExitStack() as undo:
            process, qmp, host = self._start_qemu(boot, undo)
            with self._lock:
                self._process = process
                self._qmp = qmp
                if self._end_requested:
                    process.kill()
            complaints = threading.Thread(target=self._listen_to_complaints, args=(process,), daemon=True)
            complaints.start()
            resuming = self._resuming(boot, qmp, host) if boot and host else None
            try:
                for event in qmp.events():
                    self._on_event(event, qmp, resuming)
            finally:
                qmp.close()
                status = _end(process)
                complaints.join()
                if resuming is not None and resuming.ident is not None:
                    # It decides whether the machine boots from the beginning instead.
                    resuming.join()
                elif boot:
                    self._boot_from_the_beginning(boot, self._last_words or "QEMU ended before it answered")
            return status

    def _start_qemu(
        self, boot: SavedBoot | None, undo: contextlib.ExitStack
    ) -> tuple[subprocess.Popen[bytes], QMP, socket.socket | None]:
        """Start a QEMU: with its devices, or from where a boot was saved and without any."""
        host = guests = None
        ours, theirs = socket.socketpair()
        kept = [theirs]
        if boot is not None:
            host, guests = socket.socketpair()
            undo.enter_context(host)
            kept.append(guests)
            self._bay.hold()
            with (self._directory / CONSOLE_FILE).open("ab") as console:
                console.write(boot.console)
        command = command_line(
            self.spec,
            self._bay.arguments() if boot is None else boot.arguments,
            accelerator=self._driver.options.accelerator,
            qmp_fd=theirs.fileno(),
            host_fd=guests.fileno() if guests else None,
        )
        logger.info("%s: starting %s", self.spec.instance_id, " ".join(command))
        try:
            process = self._driver.spawn(command, self._directory, [one.fileno() for one in kept])
        finally:
            for one in kept:
                one.close()
        return process, QMP(ours), host

    def _resuming(self, boot: SavedBoot, qmp: QMP, host: socket.socket) -> threading.Thread:
        """A thread of its own, because it asks QEMU things, and the answers come through the machine's thread."""
        name = f"resume-{self.spec.instance_id}"
        return threading.Thread(target=self._go_on, args=(boot, qmp, host), name=name, daemon=True)

    def _go_on(self, boot: SavedBoot, qmp: QMP, host: socket.socket) -> None:
        """Be a machine of one's own from a saved boot on, or boot from the beginning instead."""
        try:
            go_on(self.spec.instance_id, qmp, host, partial(self._bay.plug_all, qmp))
        except (PycloudlibError, OSError) as error:
            self._boot_from_the_beginning(boot, str(error))
            return
        self._answers(qmp)

    def _boot_from_the_beginning(self, boot: SavedBoot, reason: str) -> None:
        if self._end_requested:
            return
        logger.warning("%s boots from the beginning: %s", self.spec.instance_id, reason)
        self._driver.discard(boot)
        self._reset()

    def _listen_to_complaints(self, process: subprocess.Popen[bytes]) -> None:
        """What QEMU writes to standard error; a write for which there was no room is told nowhere else."""
        assert process.stderr is not None  # noqa: S101  (a pipe was asked for)
        with process.stderr as lines:
            for line in lines:
                complaint = line.decode(errors="replace").strip()
                if complaint and complaint != self._last_words:
                    logger.warning("%s: %s", self.spec.instance_id, complaint)
                    self._last_words = complaint
                if disks.NO_SPACE in complaint and not self._out_of_room:
                    # The guest would take it for a broken disk, and its user would never know why.
                    self._out_of_room = True
                    self._pull_plug()

    def _answers(self, qmp: QMP) -> None:
        """QEMU has all of its devices, and the guest runs."""
        self._bay.ready(qmp)
        if self.state is MachineState.STARTING:
            self._move(MachineState.RUNNING)
            self.owner.machine_running()

    def _on_event(self, event: Mapping[str, Any], qmp: QMP, resuming: threading.Thread | None) -> None:
        name = event["event"]
        logger.debug("%s: %s", self.spec.instance_id, event)
        if event is READY:
            if resuming is None:
                self._answers(qmp)
            else:
                resuming.start()
        elif name == "DEVICE_DELETED":
            self._bay.deleted(event["data"].get("device", ""))
        elif name == "SHUTDOWN" and event["data"]["guest"]:
            self._cancel_plug_puller()
            self._reset_wanted = self._rebooting or event["data"]["reason"] == "guest-reset"
            self._rebooting = False
            self._guest_powered_off = True
            qmp.send("quit")

    def _why(self, status: int) -> tuple[PowerOffCause, str]:
        if self._end_requested:
            return PowerOffCause.REQUESTED, ""
        if self._guest_powered_off:
            return PowerOffCause.GUEST, ""
        if self._out_of_room:
            return PowerOffCause.DIED, f"no room left on the disk for {self._directory}"
        return PowerOffCause.DIED, self._last_words or f"QEMU ended with status {status}"

    # What follows runs in whatever thread asks for it.

    def _press_power_button(self, *, afterwards: Callable[[], None]) -> None:
        self._cancel_plug_puller()
        with self._lock:
            qmp = self._qmp
            self._plug_puller = threading.Timer(self._driver.options.shutdown_seconds, afterwards)
            self._plug_puller.daemon = True
            self._plug_puller.start()
        if qmp is not None:
            qmp.send("system_powerdown")

    def _pull_plug(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def _reset(self) -> None:
        # From now on a guest that powers itself off means it.
        self._rebooting = False
        self._reset_wanted = True
        self._pull_plug()

    def _cancel_plug_puller(self) -> None:
        with self._lock:
            timer, self._plug_puller = self._plug_puller, None
        if timer is not None:
            timer.cancel()

    def _delete(self) -> None:
        self._move(MachineState.GONE)
        self._last_console = self.console()[-KEPT_CONSOLE_BYTES:]
        self._bay.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._driver.forget(self)


def _end(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(QUIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextlib.contextmanager
def _short_path(directory: Path) -> Iterator[Path]:
    """Give a path to a directory that is short enough for a Unix socket, whose addresses have 107 bytes."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
