"""What runs the guests' instructions: the hardware, where it really does, or QEMU itself.

That /dev/kvm can be opened, and even that it makes machines, proves nothing: on nested hosts a guest may die on an
instruction that the host cannot emulate. So one is booted, once, and the answer is remembered.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pycloudlib.errors import InvalidArgumentError, LocalEC2Error

logger = logging.getLogger(__name__)

CHOICES = ("auto", "kvm", "tcg")
PROBE_SECONDS = 30.0
KVM_DEVICE = Path("/dev/kvm")

# The first program of user space ends at once, so the kernel has come all the way when it panics about that.
_PROBE_ARGUMENTS = "console=ttyS0 panic=-1 rdinit=/bin/true"
_PROBE_PASSED = (b"Attempted to kill init", b"Unable to mount root fs")


@dataclass(frozen=True)
class Accelerator:
    """How QEMU is to run a guest.

    Args:
        name: "kvm" or "tcg".
        reason: why this one, in one line.
    """

    name: str
    reason: str

    @property
    def option(self) -> str:
        """The value of QEMU's `-accel` option."""
        # A translation buffer of this size and a thread per CPU took a tenth off the time of a boot.
        return "kvm" if self.name == "kvm" else "tcg,thread=multi,tb-size=1024"

    @property
    def cpu(self) -> str:
        """The value of QEMU's `-cpu` option."""
        return "host" if self.name == "kvm" else "max"

    @property
    def kernel_arguments(self) -> str:
        """What a kernel is told in addition."""
        # What mitigates leaks by speculation takes time, and an emulated processor does not speculate.
        return "" if self.name == "kvm" else "mitigations=off"

    def smp(self, cpus: int) -> str:
        """The value of QEMU's `-smp` option.

        Args:
            cpus: how many processors the guest has.
        """
        # Emulating a machine that can never have a second one, QEMU leaves the guest's memory barriers out. But the
        # machine's devices are another thread: a doorbell of the NVMe driver was lost now and then, and with it a disk.
        return f"{cpus},maxcpus={max(cpus, 2)}" if self.name == "tcg" else str(cpus)


@dataclass(frozen=True)
class ProbeKernel:
    """A kernel to probe with, and its initial RAM disk."""

    kernel: Path
    initrd: Path | None


def choose_accelerator(
    wanted: str,
    probe_kernel: ProbeKernel | None,
    memory: Path,
    *,
    notify: Callable[[str], None] = logger.warning,
) -> Accelerator:
    """Choose what runs the guests.

    Args:
        wanted: "kvm" or "tcg" to force it, "auto" to find out.
        probe_kernel: what is booted to find out; without one KVM is not tried.
        memory: file in which the answer is remembered.
        notify: is told when KVM turns out not to work, but not again as long as that is remembered; default: it is
            logged.

    Raises:
        InvalidArgumentError: `wanted` is none of these.
        LocalEC2Error: "kvm" is wanted and there is none.
    """
    if wanted not in CHOICES:
        raise InvalidArgumentError(f"unknown accelerator {wanted!r}: choose one of {', '.join(CHOICES)}")
    without_kvm = _why_no_kvm()
    if wanted == "kvm" and without_kvm:
        raise LocalEC2Error(f"{without_kvm}: choose the accelerator auto or tcg")
    if wanted != "auto":
        return Accelerator(wanted, "as demanded")
    if without_kvm:
        return Accelerator("tcg", without_kvm)
    if probe_kernel is None:
        return Accelerator("tcg", f"{KVM_DEVICE} was not tried: no image has a kernel to try it with")
    question = _question(probe_kernel)
    remembered = _recall(memory, question)
    if remembered is not None:
        return remembered
    answer = _probe(probe_kernel)
    if answer.name == "tcg":
        notify(f"{KVM_DEVICE} is there but does not work, so machines run under emulation: {answer.reason}")
    _remember(memory, question, answer)
    return answer


def _why_no_kvm() -> str:
    if os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return ""
    return f"{KVM_DEVICE} {'may not be opened by this user' if KVM_DEVICE.exists() else 'does not exist'}"


def _probe(probe_kernel: ProbeKernel) -> Accelerator:
    kvm = Accelerator("kvm", "a kernel booted with it")
    command = ["setpriv", "--pdeathsig", "KILL", "--", "qemu-system-x86_64"]
    command += ["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-machine", "q35", "-accel", kvm.option, "-cpu", kvm.cpu, "-m", "512", "-serial", "stdio"]
    command += ["-kernel", str(probe_kernel.kernel), "-append", _PROBE_ARGUMENTS]
    if probe_kernel.initrd is not None:
        command += ["-initrd", str(probe_kernel.initrd)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Accelerator("tcg", f"a kernel did not come up with KVM within {PROBE_SECONDS:g} s")
    if any(line in done.stdout for line in _PROBE_PASSED):
        return kvm
    return Accelerator("tcg", _reason(done.stderr, done.returncode))


def _reason(stderr: bytes, status: int) -> str:
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return lines[0] if lines else f"a kernel did not come up with KVM (QEMU ended with status {status})"


def _question(probe_kernel: ProbeKernel) -> str:
    """Identify what the answer depends on: the host's kernel and processor, QEMU, and the kernel that was booted."""
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=False).stdout
    with contextlib.suppress(OSError):
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        model = next((line for line in cpuinfo.splitlines() if line.startswith("model name")), "")
        return "|".join([os.uname().release, model, version.partition("\n")[0], probe_kernel.kernel.parent.name])
    return "|".join([os.uname().release, version])


def _recall(memory: Path, question: str) -> Accelerator | None:
    try:
        remembered = json.loads(memory.read_text(encoding="utf-8"))
        if remembered["question"] != question:
            return None
        return Accelerator(**remembered["answer"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(memory: Path, question: str, answer: Accelerator) -> None:
    partial = memory.with_suffix(f".{os.getpid()}")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"question": question, "answer": asdict(answer)}), encoding="utf-8")
        partial.replace(memory)
    except OSError as error:
        logger.warning("%s cannot be written, so the next start has to find out again: %s", memory, error.strerror)
        with contextlib.suppress(OSError):
            partial.unlink()
