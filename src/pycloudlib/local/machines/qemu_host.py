"""The options and QEMU processes shared by the machines of one server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import MachineSpec
from pycloudlib.local.machines.boot_snapshot import BootSnapshot, BootSnapshots, IsNeeded

# PR_SET_PDEATHSIG misses a parent that died before the call, so the child also checks its parent's id.
_ONLY_WITH_PARENT = 'test "$PPID" = "$0" && exec "$@"'


@dataclass(frozen=True)
class QemuOptions:
    """The options of all machines of a server.

    Args:
        directory: the parent of the machines' directories.
        accelerator: QEMU's accelerator on the host's own platform.
        ssh_port: the port on every public address that forwards to sshd.
        shutdown_seconds: the timeout in seconds of a guest's shutdown before the power is cut; minutes on EC2.
        boot_snapshots: the directory of boot snapshots; None (default) to boot always from the beginning.
        public_cidr: the CIDR block of public addresses; default "": loopback addresses.
    """

    directory: Path
    accelerator: Accelerator
    ssh_port: int
    shutdown_seconds: float
    boot_snapshots: Path | None = None
    public_cidr: str = ""


class QemuHost:
    """Starts QEMU processes that end with this process, and creates boot snapshots for them.

    Args:
        options: the options of all machines.
    """

    def __init__(self, options: QemuOptions) -> None:
        self.options = options
        # PR_SET_PDEATHSIG applies to the parent thread, so this one lives as long as the process.
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
        self._boot_snapshots = BootSnapshots(options.boot_snapshots, self.spawn) if options.boot_snapshots else None

    def boot_snapshot(self, spec: MachineSpec, is_needed: IsNeeded) -> BootSnapshot | None:
        """Return the boot snapshot from which a machine can resume; create it if it is missing.

        Args:
            spec: the specification of the machine.
            is_needed: returns whether the boot snapshot is still needed.

        Returns:
            None if the machine must boot from the beginning.
        """
        accelerator = self.options.accelerator.for_platform(spec.platform)
        return self._boot_snapshots.get(spec, accelerator, is_needed) if self._boot_snapshots else None

    def discard(self, boot: BootSnapshot) -> None:
        """Discard a boot snapshot from which no machine can resume."""
        if self._boot_snapshots is not None:
            self._boot_snapshots.discard(boot)

    def spawn(self, command: Sequence[str], directory: Path, keep_fds: Sequence[int]) -> subprocess.Popen[bytes]:
        """Start a process that the kernel kills when this one ends for any reason."""
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
        """End the machines whose boot snapshots are in progress."""
        if self._boot_snapshots is not None:
            self._boot_snapshots.close()

    def close(self) -> None:
        """Stop starting processes. Running ones end with this process."""
        self._spawner.shutdown()
