"""What the QEMU machines of one server have in common."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import MachineSpec
from pycloudlib.local.machines.boot_snapshot import BootSnapshot, BootSnapshots, Wanted

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
        boot_snapshots: where boots are saved for others to go on from; None to boot always from the beginning.
    """

    directory: Path
    accelerator: Accelerator
    ssh_port: int
    shutdown_seconds: float
    boot_snapshots: Path | None = None


class QemuHost:
    """Starts QEMU processes that end with this process, and makes boot snapshots for them.

    Args:
        options: what all machines have in common.
    """

    def __init__(self, options: QemuOptions) -> None:
        self.options = options
        # The kernel ends a machine with the thread that started it: this one lives as long as the process.
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
        self._boot_snapshots = BootSnapshots(options.boot_snapshots, self.spawn) if options.boot_snapshots else None

    def boot_snapshot(self, spec: MachineSpec, wanted: Wanted) -> BootSnapshot | None:
        """Return the boot snapshot that a machine can resume instead of booting; make it first if there is none yet.

        Args:
            spec: the machine.
            wanted: tells whether anybody still waits for the snapshot.
        """
        return self._boot_snapshots.get(spec, self.options.accelerator, wanted) if self._boot_snapshots else None

    def discard(self, boot: BootSnapshot) -> None:
        """Discard a boot snapshot that no machine can resume."""
        if self._boot_snapshots is not None:
            self._boot_snapshots.discard(boot)

    def spawn(self, command: Sequence[str], directory: Path, keep_fds: Sequence[int]) -> subprocess.Popen[bytes]:
        """Start a process that ends with this one, however this one ends."""
        tied = ["setpriv", "--pdeathsig", "KILL", "--", "/bin/sh", "-c", _ONLY_WITH_PARENT, str(os.getpid()), *command]
        return self._spawner.submit(
            subprocess.Popen,
            tied,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=tuple(keep_fds),
            start_new_session=True,
        ).result()

    def stop_snapshots(self) -> None:
        """End the machines that make boot snapshots."""
        if self._boot_snapshots is not None:
            self._boot_snapshots.close()

    def close(self) -> None:
        """Stop starting processes. Those that still run end with this process."""
        self._spawner.shutdown()
