"""Boot snapshots: saved states of partly booted machines, from which other machines resume.

A boot snapshot is taken in the initramfs, where the machine has no disk and no network interface yet. It has also not
generated its identity: boot id, machine id, and host keys. A machine that resumes gets its own devices. The host
sends it the time and its identity through a second serial port. See `pycloudlib.local.warm_start`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.errors import LocalEC2Error, MachineError, PycloudlibError
from pycloudlib.local import qemu_img
from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import MachineSpec
from pycloudlib.local.machines.qemu_command import command_line, firmware_uuid
from pycloudlib.local.machines.qmp import QMP, READY
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

STATE_FILE = "state"
CONSOLE_FILE = "console.log"
PARTIAL = ".partial-"
ENTROPY_BYTES = 64
KEPT_BOOTS = 8
"""The number of boot snapshots to keep, the most recently used ones; each takes about 250 MiB."""
ROOM_TO_SAVE = 512 * qemu_img.MIB
BOOT_SECONDS = 300.0
"""The timeout in seconds until a machine can be saved; long enough for emulation on a busy host."""
SAVE_SECONDS = 120.0
RESUME_SECONDS = 60.0
_READY_LINE = b"ready\n"

Spawn = Callable[[Sequence[str], Path, Sequence[int]], "subprocess.Popen[bytes]"]
"""Starts a command in a directory, with inherited file descriptors."""

IsNeeded = Callable[[], bool]
"""Returns whether the boot snapshot is still needed."""


@dataclass(frozen=True)
class BootSnapshot:
    """The saved state of a partly booted machine.

    Args:
        state: the file of QEMU's migration stream.
        console: the console output up to the snapshot.
    """

    state: Path
    console: bytes

    @property
    def arguments(self) -> list[str]:
        """The QEMU arguments that load the state, and wait for QMP's `cont`."""
        return ["-S", "-incoming", f"exec:exec cat {shlex.quote(str(self.state))}"]


class BootSnapshots:
    """The boot snapshots of a directory, each created on first use.

    Args:
        directory: the directory, shared by all servers of this user.
        spawn: starts a QEMU process.
    """

    def __init__(self, directory: Path, spawn: Spawn) -> None:
        self._directory = directory
        self._spawn = spawn
        self._unusable: set[str] = set()
        self._saving: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def get(
        self, spec: MachineSpec, accelerator: Accelerator, is_needed: IsNeeded = lambda: True
    ) -> BootSnapshot | None:
        """Return a machine's boot snapshot; create it if it is missing, which takes as long as that part of a boot.

        Args:
            spec: the specification of the machine.
            accelerator: the accelerator of the machine.
            is_needed: polled during the creation, which is abandoned once this returns False; default always True.

        Returns:
            None if the machine must boot from the beginning; failures are logged.
        """
        if spec.kernel is None or spec.kernel.warm_initrd is None or self._closed:
            return None

        def still_needed() -> bool:
            return not self._closed and is_needed()

        # Machines with equal specifications share a boot snapshot.
        shared_spec = replace(spec, instance_id="i-saved")
        key = ""
        try:
            key = _key(shared_spec, accelerator)
            if key in self._unusable:
                return None
            return self._find(key) or self._make(key, shared_spec, accelerator, still_needed)
        except (PycloudlibError, OSError) as error:
            if still_needed():
                logger.warning(
                    "%s boots from the beginning: no boot snapshot could be taken: %s", spec.instance_id, error
                )
                self._unusable.add(key)
            return None

    def discard(self, boot: BootSnapshot) -> None:
        """Delete a boot snapshot from which a machine could not resume, and do not create it again."""
        self._unusable.add(boot.state.parent.name)
        shutil.rmtree(boot.state.parent, ignore_errors=True)

    def close(self) -> None:
        """Abandon all boot snapshots in progress."""
        self._closed = True
        for process in list(self._saving):
            process.kill()

    def _find(self, key: str) -> BootSnapshot | None:
        directory = self._directory / key
        try:
            boot = BootSnapshot(directory / STATE_FILE, (directory / CONSOLE_FILE).read_bytes())
            os.utime(directory)
        except OSError:
            return None
        return boot

    def _make(self, key: str, spec: MachineSpec, accelerator: Accelerator, is_needed: IsNeeded) -> BootSnapshot | None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked(key, is_needed):
            concurrent = self._find(key)
            if concurrent is not None:
                return concurrent
            qemu_img.ensure_space(self._directory, ROOM_TO_SAVE)
            partial = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{key}-", dir=self._directory))
            try:
                self._save(partial, spec, accelerator, is_needed)
                partial.rename(self._directory / key)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            self._prune()
        return self._find(key)

    @contextlib.contextmanager
    def _locked(self, key: str, is_needed: IsNeeded) -> Iterator[None]:
        """Hold the lock of a boot snapshot: one thread creates it, and the others wait and reuse it."""
        with (self._directory / f"{key}.lock").open("w") as lock:

            def locked() -> bool:
                _require(is_needed)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                return True

            wait_until(
                locked, what="another process to save this boot", deadline=Deadline.after(BOOT_SECONDS + SAVE_SECONDS)
            )
            # Remove the leftovers of processes that were killed while holding this lock.
            for stale in self._directory.glob(f"{PARTIAL}{key}-*"):
                shutil.rmtree(stale, ignore_errors=True)
            yield

    def _save(self, directory: Path, spec: MachineSpec, accelerator: Accelerator, is_needed: IsNeeded) -> None:
        logger.info("saving a boot of %s, %d CPUs, %d MiB", spec.instance_type, spec.cpus, spec.memory_mib)
        with contextlib.ExitStack() as undo:
            monitor, qemu_end = _socket_pair(undo)
            host, guest_end = _socket_pair(undo)
            command = command_line(
                spec, [], accelerator=accelerator, qmp_fd=qemu_end.fileno(), host_fd=guest_end.fileno()
            )
            process = self._spawn(command, directory, (qemu_end.fileno(), guest_end.fileno()))
            self._saving.add(process)
            undo.callback(self._saving.discard, process)
            qemu_end.close()
            guest_end.close()
            qmp = undo.enter_context(contextlib.closing(QMP(monitor)))
            # End QEMU before closing the monitor, so that the listening thread ends first.
            undo.callback(_end, process)
            _require(is_needed)
            _listen(qmp).wait(RESUME_SECONDS)
            _await_ready(host, process, is_needed)
            qmp.execute("stop")
            qmp.execute("migrate", uri=f"exec:exec cat >{STATE_FILE}")
            wait_until(
                lambda: _is_saved(qmp),
                what="the machine to be saved",
                deadline=Deadline.after(SAVE_SECONDS),
                interval=0.05,
            )

    def _prune(self) -> None:
        boots = [path for path in self._directory.iterdir() if path.is_dir() and not path.name.startswith(PARTIAL)]
        for stale in sorted(boots, key=lambda path: path.stat().st_mtime)[:-KEPT_BOOTS]:
            shutil.rmtree(stale, ignore_errors=True)
            (self._directory / f"{stale.name}.lock").unlink(missing_ok=True)


def resume(instance_id: str, qmp: QMP, host: socket.socket, plug: Callable[[], None]) -> None:
    """Give a QEMU process that loads a boot snapshot its devices and identity, and resume it.

    Args:
        instance_id: the instance that the machine backs.
        qmp: the monitor, which is ready.
        host: the host's side of the second serial port.
        plug: plugs in the devices.

    Raises:
        MachineError: QEMU rejected a command or a device.
        LocalEC2Error: a device's backend cannot be created.
        PycloudlibTimeoutError: QEMU did not load the state in time.
    """
    wait_until(
        lambda: qmp.execute("query-status")["status"] != "inmigrate",
        what=f"the saved boot of {instance_id} to be read",
        deadline=Deadline.after(RESUME_SECONDS),
        interval=0.02,
    )
    plug()
    host.sendall(json.dumps(_identity(instance_id)).encode() + b"\n")
    qmp.execute("cont")


def _identity(instance_id: str) -> dict[str, str]:
    system = firmware_uuid(instance_id)
    return {
        "time": repr(time.time()),
        "entropy": secrets.token_hex(ENTROPY_BYTES),
        "product_uuid": system,
        "product_serial": system,
    }


def _key(spec: MachineSpec, accelerator: Accelerator) -> str:
    """Return the key of a boot snapshot: a hash of the command line, its files, QEMU's version, and the CPU."""
    command = command_line(spec, [], accelerator=accelerator, qmp_fd=0, host_fd=0)
    kernel = spec.kernel
    statuses = [path.stat() for path in (kernel.path, kernel.warm_initrd) if path] if kernel else []
    stamps = [(status.st_size, status.st_mtime_ns) for status in statuses]
    host = (_qemu_version(spec.platform.qemu), _processor())
    return hashlib.sha256(repr((command, stamps, *host)).encode()).hexdigest()[:32]


@cache
def _qemu_version(qemu: str) -> str:
    return subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False).stdout


@cache
def _processor() -> str:
    # A cache may move to another host, whose time stamp counter runs at another frequency.
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith("model name")), "")


def _socket_pair(undo: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    own_end, qemu_end = socket.socketpair()
    return undo.enter_context(own_end), undo.enter_context(qemu_end)


def _listen(qmp: QMP) -> threading.Event:
    """Consume QEMU's events in a thread; return an event set once QEMU is ready or gone."""
    ready = threading.Event()

    def listen() -> None:
        for event in qmp.events():
            if event is READY:
                ready.set()
        ready.set()

    threading.Thread(target=listen, name="saving", daemon=True).start()
    return ready


def _await_ready(host: socket.socket, process: subprocess.Popen[bytes], is_needed: IsNeeded) -> None:
    host.setblocking(False)
    received = bytearray()

    def is_ready() -> bool:
        _require(is_needed)
        try:
            chunk = host.recv(4096)
        except BlockingIOError:
            return False
        received.extend(chunk)
        return not chunk or received.endswith(b"\n")

    wait_until(is_ready, what="the guest to be ready to be saved", deadline=Deadline.after(BOOT_SECONDS))
    if received == _READY_LINE:
        return
    _end(process)
    complaint = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
    raise MachineError(complaint or "the guest could not load cloud-init: see the end of its console")


def _require(is_needed: IsNeeded) -> None:
    if not is_needed():
        raise MachineError("no instance needs it anymore")


def _is_saved(qmp: QMP) -> bool:
    status: dict[str, Any] = qmp.execute("query-migrate")
    if status.get("status") == "failed":
        raise LocalEC2Error(f"QEMU could not save the machine: {status.get('error-desc', 'is the disk full?')}")
    return status.get("status") == "completed"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
