"""Real machines: one QEMU process each, without any privileges."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycloudlib.errors import PycloudlibError
from pycloudlib.local import disks, network
from pycloudlib.local.image_use import in_use
from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import (
    Machine,
    MachineDriver,
    MachineOwner,
    MachineSpec,
    MachineState,
    NetworkAttachment,
    PowerOffCause,
)
from pycloudlib.local.machines.qmp import QMP, READY
from pycloudlib.local.metadata import InstanceMetadata, MetadataServer

logger = logging.getLogger(__name__)

QEMU = "qemu-system-x86_64"
ROOM_TO_START = 128 * disks.MIB
"""A guest that boots writes about as much to its disk."""
QUIT_SECONDS = 10.0
"""How long a QEMU that has hung up may take to end."""
KEPT_CONSOLE_BYTES = 64 * 1024
"""What is kept of a console when its machine is gone; EC2 keeps as much."""
ROOT_PORTS = 16
"""PCI Express slots: one for each device now or hot-plugged later."""

# A parent that was gone before the kernel was told to watch it would never end the machine: so the child looks.
_ONLY_WITH_PARENT = 'test "$PPID" = "$0" && exec "$@"'


@dataclass(frozen=True)
class QemuOptions:
    """What all machines of a server have in common.

    Args:
        directory: where the machines keep their disks, each in a directory of its own.
        accelerator: what runs the guest's instructions.
        ssh_port: port on every public address that leads to sshd.
        shutdown_seconds: how long a guest may take to shut down before the plug is pulled; EC2 gives it minutes.
    """

    directory: Path
    accelerator: Accelerator
    ssh_port: int
    shutdown_seconds: float


def command_line(
    spec: MachineSpec, attachment: NetworkAttachment, *, accelerator: Accelerator, ssh_port: int, qmp_fd: int
) -> list[str]:
    """Compose the QEMU command of a machine; paths are relative to its directory.

    Args:
        spec: what the machine is made of.
        attachment: its interface.
        accelerator: what runs the guest's instructions.
        ssh_port: port on the public address that leads to sshd.
        qmp_fd: QEMU's side of the monitor's socket.
    """
    # As on Nitro, both are the same and begin with "ec2": by that cloud-init tells EC2 from other clouds.
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
    identity = f"ec2{uuid.uuid5(uuid.NAMESPACE_OID, spec.instance_id).hex[3:]}"
    system_uuid = str(uuid.UUID(identity))
    command = [QEMU, "-name", spec.instance_id, "-no-user-config", "-nodefaults", "-display", "none"]
    command += ["-machine", "q35", "-accel", accelerator.option, "-cpu", accelerator.cpu]
    command += ["-smp", str(spec.cpus), "-m", str(spec.memory_mib)]
    command += ["-smbios", _smbios(spec, system_uuid)]
    command += ["-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console"]
    command += ["-chardev", f"socket,id=qmp,fd={qmp_fd}", "-mon", "chardev=qmp,mode=control"]
    # A guest that powers off or resets leaves QEMU waiting until it is told to quit, so that the reason can be told.
    command += ["-action", "shutdown=pause", "-action", "reboot=shutdown"]
    for port in range(ROOT_PORTS):
        command += ["-device", f"pcie-root-port,id=port{port},chassis={port + 1}"]
    # Machines are thrown away: what the host has not written yet need not survive the host.
    command += ["-blockdev", "driver=file,node-name=root-file,filename=root.qcow2,cache.no-flush=on,discard=unmap"]
    command += ["-blockdev", "driver=qcow2,node-name=root,file=root-file,cache.no-flush=on,discard=unmap"]
    command += ["-device", f"nvme,id=root-disk,drive=root,serial={spec.root_volume_id.replace('-', '')},bus=port0"]
    netdev = network.user_netdev("net0", attachment, ssh_port=ssh_port, metadata_socket="metadata.sock")
    command += ["-netdev", netdev]
    command += ["-device", f"virtio-net-pci,id=eth0,netdev=net0,mac={attachment.mac},bus=port1,romfile="]
    command += ["-device", "virtio-rng-pci,bus=port2"]
    if spec.boot.kernel is not None:
        command += ["-kernel", str(spec.boot.kernel), "-append", spec.boot.kernel_arguments]
    if spec.boot.initrd is not None:
        command += ["-initrd", str(spec.boot.initrd)]
    return command


def _smbios(spec: MachineSpec, system_uuid: str) -> str:
    identity = f"uuid={system_uuid},serial={system_uuid}"
    return f"type=1,manufacturer=Amazon EC2,product={spec.instance_type},version=1.0,{identity}"


class QemuDriver(MachineDriver):
    """Makes QEMU machines, and sees to it that none outlives this process.

    Args:
        options: what they have in common.
    """

    def __init__(self, options: QemuOptions) -> None:
        self.options = options
        self._addresses = network.LoopbackAddresses(options.ssh_port)
        self._machines: list[QemuMachine] = []
        # The kernel ends a machine with the thread that started it: this one lives as long as the process.
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

    def create(self, spec: MachineSpec, owner: MachineOwner, metadata: Callable[[], InstanceMetadata]) -> QemuMachine:
        """Make a machine, switched off."""
        machine = QemuMachine(spec, owner, metadata, self)
        self._machines.append(machine)
        return machine

    def allocate_public_ip(self) -> str:
        """Take a loopback address that no other instance has."""
        return self._addresses.allocate()

    def release_public_ip(self, address: str) -> None:
        """Give an address back."""
        self._addresses.release(address)

    def close(self) -> None:
        """End every machine, at once."""
        machines = list(self._machines)
        for machine in machines:
            machine.destroy()
        for machine in machines:
            machine.join()
        self._spawner.shutdown()

    def forget(self, machine: QemuMachine) -> None:
        """Take note that a machine is gone for good."""
        if machine in self._machines:
            self._machines.remove(machine)

    def spawn(self, command: Sequence[str], directory: Path, keep_fd: int) -> subprocess.Popen[bytes]:
        """Start a process that ends with this one, however this one ends."""
        tied = ["setpriv", "--pdeathsig", "KILL", "--", "/bin/sh", "-c", _ONLY_WITH_PARENT, str(os.getpid()), *command]
        return self._spawner.submit(
            subprocess.Popen,
            tied,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(keep_fd,),
            start_new_session=True,
        ).result()


class QemuMachine(Machine):
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
        self._image = contextlib.ExitStack()
        self._thread: threading.Thread | None = None

    def start(self, attachment: NetworkAttachment) -> None:
        """Switch it on, with the addresses that it has this time."""
        self._move(MachineState.STARTING)
        self._end_requested = False
        self._rebooting = False
        self._guest_powered_off = False
        self._last_words = ""
        self._thread = threading.Thread(
            target=self._live, args=(attachment,), name=f"machine-{self.spec.instance_id}", daemon=True
        )
        self._thread.start()

    def stop(self, *, force: bool = False) -> None:
        """Press its power button, or with `force` pull the plug."""
        self._end_requested = True
        if force:
            self._pull_plug()
            return
        self._press_power_button(afterwards=self._pull_plug)

    def reboot(self) -> None:
        """Let the guest shut down, then start it again; one that does not react is reset all the same."""
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
            return (self._directory / "console.log").read_bytes()
        except FileNotFoundError:
            return self._last_console

    def join(self) -> None:
        """Wait until its thread has ended; for the end of the server."""
        if self._thread is not None:
            self._thread.join()

    # What follows runs in the machine's own thread.

    def _live(self, attachment: NetworkAttachment) -> None:
        cause, detail = PowerOffCause.DIED, ""
        try:
            cause, detail = self._run(attachment)
        except (PycloudlibError, OSError) as error:
            detail = str(error)
        finally:
            self._cancel_plug_puller()
        with self._lock:
            self._process = None
            self._qmp = None
            destroy = self._destroy_requested
            self._move(MachineState.OFF)
        if cause is PowerOffCause.DIED:
            logger.warning("%s: the machine died: %s", self.spec.instance_id, detail)
        if destroy:
            self._delete()
        self.owner.machine_off(cause, detail)

    def _run(self, attachment: NetworkAttachment) -> tuple[PowerOffCause, str]:
        self._prepare_directory()
        with (
            _short_path(self._directory) as short,
            MetadataServer(short / "metadata.sock", self._metadata),
        ):
            status, self._reset_wanted = 0, True
            # A reset is a new process: under emulation a kernel takes half a minute to overwrite the code of the one
            # before, which QEMU has translated.
            while self._reset_wanted and not self._end_requested:
                self._reset_wanted = self._guest_powered_off = False
                status = self._run_once(attachment)
        return self._why(status)

    def _run_once(self, attachment: NetworkAttachment) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            options = self._driver.options
            command = command_line(
                self.spec,
                attachment,
                accelerator=options.accelerator,
                ssh_port=options.ssh_port,
                qmp_fd=theirs.fileno(),
            )
            logger.info("%s: starting %s", self.spec.instance_id, " ".join(command))
            process = self._driver.spawn(command, self._directory, theirs.fileno())
        qmp = QMP(ours)
        with self._lock:
            self._process = process
            self._qmp = qmp
            if self._end_requested:
                process.kill()
        complaints = threading.Thread(target=self._listen_to_complaints, args=(process,), daemon=True)
        complaints.start()
        try:
            for event in qmp.events():
                self._on_event(event, qmp)
        finally:
            qmp.close()
            status = _end(process)
            complaints.join()
        return status

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

    def _prepare_directory(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        root = self._directory / "root.qcow2"
        if root.exists():
            return
        disks.ensure_space(self._directory, ROOM_TO_START)
        self._image.enter_context(in_use(self.spec.boot.disk))
        disks.create_overlay(
            self.spec.boot.disk, root, size_gb=self.spec.root_size_gb, base_format=self.spec.boot.format
        )

    def _on_event(self, event: Mapping[str, Any], qmp: QMP) -> None:
        name = event["event"]
        logger.debug("%s: %s", self.spec.instance_id, event)
        if event is READY and self.state is MachineState.STARTING:
            self._move(MachineState.RUNNING)
            self.owner.machine_running()
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
        shutil.rmtree(self._directory, ignore_errors=True)
        self._image.close()
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
