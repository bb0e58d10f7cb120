"""What a machine's QEMU is started as; the one here runs a few instructions of its own, instead of a kernel."""

from __future__ import annotations

import socket
import struct
import subprocess
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import Kernel, MachineSpec
from pycloudlib.local.machines.qemu_command import command_line
from pycloudlib.waiting import wait_until

ENOUGH = 60.0
LOAD_ADDRESS = 0x100000
MULTIBOOT_MAGIC, ADDRESSES_GIVEN = 0x1BADB002, 0x10000
MFENCE, HALT = b"\x0f\xae\xf0", b"\xf4\xeb\xfd"
BARRIER, HALTED = " mb ", "call hlt"
"""How QEMU's log of translated code shows a barrier that the host keeps too, and the end."""


def multiboot_kernel(code: bytes) -> bytes:
    """A kernel, as the Multiboot specification has it, that is nothing but some code."""
    entry = LOAD_ADDRESS + 32
    end = entry + len(code)
    checksum = -(MULTIBOOT_MAGIC + ADDRESSES_GIVEN) & 0xFFFFFFFF
    header = (MULTIBOOT_MAGIC, ADDRESSES_GIVEN, checksum, LOAD_ADDRESS, LOAD_ADDRESS, end, end, entry)
    return struct.pack("<8I", *header) + code


def translated(directory: Path, cpus: int) -> str:
    """Run a memory barrier on a machine under software emulation; what QEMU made of it."""
    kernel, log = directory / "kernel", directory / "translated.log"
    kernel.write_bytes(multiboot_kernel(MFENCE + HALT))
    spec = MachineSpec("i-0123456789abcdef0", "t3.micro", 128, cpus, Kernel(kernel))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = command_line(spec, [], accelerator=Accelerator("tcg", "the test"), qmp_fd=theirs.fileno())
        command += ["-d", "op", "-D", str(log), "-dfilter", f"{LOAD_ADDRESS:#x}+0x1000"]
        process = subprocess.Popen(command, cwd=directory, pass_fds=(theirs.fileno(),))
        try:
            wait_until(
                lambda: log.exists() and HALTED in log.read_text(),
                what="the guest to halt",
                deadline=Deadline.after(ENOUGH),
            )
        finally:
            process.kill()
            process.wait()
    return log.read_text()


@pytest.mark.parametrize("cpus", [1, 2])
def test_memory_barriers_of_an_emulated_guest_are_real_ones(tmp_path: Path, cpus: int) -> None:
    """Its devices are another thread of QEMU, which loses doorbells, and so the guest's input and output, otherwise."""
    assert BARRIER in translated(tmp_path, cpus)
