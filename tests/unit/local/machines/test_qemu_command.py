"""What a machine's QEMU is started as; the one here runs a few instructions of its own, instead of a kernel."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import Kernel, MachineSpec
from pycloudlib.local.machines.platforms import ARM64, X86_64, Platform
from pycloudlib.local.machines.qemu_command import command_line
from pycloudlib.local.machines.qmp import QMP, READY
from pycloudlib.local.prerequisites import find
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


def composed(platform: Platform, accelerator: str, kernel: Kernel | None = None) -> list[str]:
    spec = MachineSpec("i-0123456789abcdef0", "t4g.micro", 512, 1, kernel, platform=platform)
    return command_line(spec, [], accelerator=Accelerator(accelerator, "the test"), qmp_fd=3)


@pytest.mark.parametrize(
    ("platform", "program", "machine", "cpu"),
    [
        (X86_64, "qemu-system-x86_64", "q35", "max"),
        (ARM64, "qemu-system-aarch64", "virt,gic-version=max", "max,pauth-impdef=on"),
    ],
    ids=["x86_64", "arm64"],
)
def test_the_platform_decides_what_is_emulated(platform: Platform, program: str, machine: str, cpu: str) -> None:
    command = composed(platform, "tcg")
    assert command[0] == program
    assert command[command.index("-machine") + 1] == machine
    assert command[command.index("-cpu") + 1] == cpu
    native = composed(platform, "kvm")
    assert native[native.index("-cpu") + 1] == "host"


def test_the_loader_of_a_built_disk_gets_the_platforms_arguments(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "vmlinuz", same_as=tmp_path / "disk.raw")
    assert f"type=11,value={ARM64.emulated_arguments}" in composed(ARM64, "tcg", kernel)


@pytest.mark.skipif(find(ARM64.qemu) is None, reason="needs qemu-system-arm")
def test_qemu_accepts_the_machine_of_arm64(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, contextlib.closing(QMP(ours)) as qmp:
        spec = MachineSpec("i-0123456789abcdef0", "t4g.micro", 512, 1, platform=ARM64)
        command = command_line(spec, ["-S"], accelerator=Accelerator("tcg", "the test"), qmp_fd=theirs.fileno())
        with subprocess.Popen(command, cwd=tmp_path, pass_fds=(theirs.fileno(),)) as process:
            theirs.close()
            try:
                assert next(iter(qmp.events())) is READY
            finally:
                process.kill()
