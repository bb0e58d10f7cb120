"""The choice of QEMU's accelerator: KVM if it works, else TCG.

A usable /dev/kvm is no proof: on nested hosts a guest may die on an instruction that the host cannot emulate. The
choice therefore boots a kernel once, and caches the result.
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
from pycloudlib.local.machines.platforms import Platform, host_platform

logger = logging.getLogger(__name__)

CHOICES = ("auto", "kvm", "tcg")
PROBE_SECONDS = 30.0
KVM_DEVICE = Path("/dev/kvm")

# The init program exits immediately: the resulting panic proves that the kernel booted completely.
_PROBE_ARGUMENTS = "panic=-1 rdinit=/bin/true"
_PROBE_PASSED = (b"Attempted to kill init", b"Unable to mount root fs")


@dataclass(frozen=True)
class Accelerator:
    """QEMU's accelerator for guests.

    Args:
        name: "kvm" or "tcg".
        reason: the reason for the choice, in one line.
    """

    name: str
    reason: str

    @property
    def option(self) -> str:
        """The value of QEMU's `-accel` option."""
        # This buffer size and one thread per vCPU make a boot 10 % faster.
        return "kvm" if self.name == "kvm" else "tcg,thread=multi,tb-size=1024"

    def for_platform(self, platform: Platform) -> Accelerator:
        """Return the accelerator of machines on a platform: KVM runs only the host's own instructions."""
        if self.name == "tcg" or platform.is_native:
            return self
        return Accelerator("tcg", f"the host is not {platform.architecture}")

    def cpu(self, platform: Platform) -> str:
        """Return the value of QEMU's `-cpu` option."""
        return "host" if self.name == "kvm" else platform.emulated_cpu

    def kernel_arguments(self, platform: Platform) -> str:
        """Return additional arguments of the kernel command line."""
        return "" if self.name == "kvm" else platform.emulated_arguments

    def smp(self, cpus: int) -> str:
        """Return the value of QEMU's `-smp` option.

        Args:
            cpus: the number of virtual CPUs.
        """
        # With maxcpus=1, TCG omits the guest's memory barriers. But devices run in another thread: the NVMe driver
        # occasionally lost a doorbell write, and with it a disk.
        return f"{cpus},maxcpus={max(cpus, 2)}" if self.name == "tcg" else str(cpus)


@dataclass(frozen=True)
class ProbeKernel:
    """The kernel of the KVM probe, for the host's own architecture, and its initrd."""

    kernel: Path
    initrd: Path | None


def choose_accelerator(
    choice: str,
    probe_kernel: ProbeKernel | None,
    cache: Path,
    *,
    notify: Callable[[str], None] = logger.warning,
) -> Accelerator:
    """Choose the accelerator.

    Args:
        choice: "kvm" or "tcg" to force it, "auto" to probe KVM.
        probe_kernel: the kernel that the probe boots; None to choose TCG without a probe.
        cache: the cache file of the probe's result.
        notify: called if the probe finds that KVM does not work, not for a cached result; default log a warning.

    Raises:
        InvalidArgumentError: `choice` is invalid.
        LocalEC2Error: `choice` is "kvm", and /dev/kvm is not usable.
    """
    if choice not in CHOICES:
        raise InvalidArgumentError(f"unknown accelerator {choice!r}: choose one of {', '.join(CHOICES)}")
    without_kvm = _why_no_kvm()
    if choice == "kvm" and without_kvm:
        raise LocalEC2Error(f"{without_kvm}: choose the accelerator auto or tcg")
    if choice != "auto":
        return Accelerator(choice, "as demanded")
    if without_kvm:
        return Accelerator("tcg", without_kvm)
    if probe_kernel is None:
        return Accelerator("tcg", f"{KVM_DEVICE} was not tested: no image has a kernel to test it with")
    cache_key = _cache_key(probe_kernel)
    cached = _read_cache(cache, cache_key)
    if cached is not None:
        return cached
    accelerator = _probe(probe_kernel)
    if accelerator.name == "tcg":
        notify(
            f"{KVM_DEVICE} exists but does not work, so instances run under software emulation: {accelerator.reason}"
        )
    _write_cache(cache, cache_key, accelerator)
    return accelerator


def _why_no_kvm() -> str:
    if os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return ""
    return f"{KVM_DEVICE} {'may not be opened by this user' if KVM_DEVICE.exists() else 'does not exist'}"


def _probe(probe_kernel: ProbeKernel) -> Accelerator:
    kvm = Accelerator("kvm", "a kernel booted with it")
    platform = host_platform()
    command = ["setpriv", "--pdeathsig", "KILL", "--", platform.qemu]
    command += ["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-machine", platform.machine, "-accel", kvm.option, "-cpu", kvm.cpu(platform), "-m", "512"]
    command += ["-serial", "stdio", "-append", f"console={platform.console} {_PROBE_ARGUMENTS}"]
    command += ["-kernel", str(probe_kernel.kernel)]
    if probe_kernel.initrd is not None:
        command += ["-initrd", str(probe_kernel.initrd)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Accelerator("tcg", f"a kernel did not boot with KVM within {PROBE_SECONDS:g} s")
    if any(line in done.stdout for line in _PROBE_PASSED):
        return kvm
    return Accelerator("tcg", _reason(done.stderr, done.returncode))


def _reason(stderr: bytes, status: int) -> str:
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return lines[0] if lines else f"a kernel did not boot with KVM (QEMU ended with status {status})"


def _cache_key(probe_kernel: ProbeKernel) -> str:
    """Return the cache key of the probe: the host's kernel and CPU, QEMU's version, and the probe kernel."""
    version = subprocess.run([host_platform().qemu, "--version"], capture_output=True, text=True, check=False).stdout
    with contextlib.suppress(OSError):
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        model = next((line for line in cpuinfo.splitlines() if line.startswith("model name")), "")
        return "|".join([os.uname().release, model, version.partition("\n")[0], probe_kernel.kernel.parent.name])
    return "|".join([os.uname().release, version])


def _read_cache(cache: Path, cache_key: str) -> Accelerator | None:
    try:
        cached = json.loads(cache.read_text(encoding="utf-8"))
        if cached["key"] != cache_key:
            return None
        return Accelerator(**cached["accelerator"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_cache(cache: Path, cache_key: str, accelerator: Accelerator) -> None:
    partial = cache.with_suffix(f".{os.getpid()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"key": cache_key, "accelerator": asdict(accelerator)}), encoding="utf-8")
        partial.replace(cache)
    except OSError as error:
        logger.warning("%s cannot be written, so the next start tests again: %s", cache, error.strerror)
        with contextlib.suppress(OSError):
            partial.unlink()
