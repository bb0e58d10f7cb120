"""The platforms that QEMU emulates, by architecture."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class UefiFiles:
    """The files of a UEFI for virtual machines.

    Args:
        code: the firmware.
        variables: the initial variables of a machine.
    """

    code: Path
    variables: Path


@dataclass(frozen=True)
class Platform:
    """The platform of an architecture's machines.

    Args:
        architecture: EC2's name of the architecture.
        kernel_name: the kernel's name of the architecture, as in `uname -m`.
        qemu: the QEMU program.
        machine: the value of QEMU's `-machine` option.
        emulated_cpu: the value of QEMU's `-cpu` option under software emulation.
        emulated_arguments: kernel arguments to add under software emulation.
        console: the kernel's name of the serial console.
        has_bios: whether there is a BIOS; otherwise UEFI starts every disk.
        uefi_package: Debian's package of the UEFI.
        uefi: the places of the UEFI: Debian and Ubuntu, Fedora, and Arch Linux.
        secure_uefi: the places of the UEFI with Secure Boot, whose variables have Microsoft's keys: Debian and Ubuntu,
            and Fedora; default none.
    """

    architecture: str
    kernel_name: str
    qemu: str
    machine: str
    emulated_cpu: str
    emulated_arguments: str
    console: str
    has_bios: bool
    uefi_package: str
    uefi: tuple[UefiFiles, ...]
    secure_uefi: tuple[UefiFiles, ...] = ()

    @property
    def is_native(self) -> bool:
        """Whether this is the host's own platform, whose instructions KVM can run."""
        return self.kernel_name == os.uname().machine

    @property
    def has_secure_boot(self) -> bool:
        """Whether there is a UEFI with Secure Boot, and with it the variables of an image."""
        return bool(self.secure_uefi)

    def find_uefi(self) -> UefiFiles | None:
        """Return the installed UEFI; None without one."""
        return _installed(self.uefi)

    def find_secure_uefi(self) -> UefiFiles | None:
        """Return the installed UEFI with Secure Boot; None without one."""
        return _installed(self.secure_uefi)


def _installed(places: Iterable[UefiFiles]) -> UefiFiles | None:
    return next((place for place in places if place.code.exists() and place.variables.exists()), None)


X86_64 = Platform(
    architecture="x86_64",
    kernel_name="x86_64",
    qemu="qemu-system-x86_64",
    machine="q35",
    emulated_cpu="max",
    # Mitigations cost time, and an emulated CPU does not execute speculatively.
    emulated_arguments="mitigations=off",
    console="ttyS0",
    has_bios=True,
    uefi_package="ovmf",
    uefi=(
        UefiFiles(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
        UefiFiles(Path("/usr/share/edk2/ovmf/OVMF_CODE.fd"), Path("/usr/share/edk2/ovmf/OVMF_VARS.fd")),
        UefiFiles(Path("/usr/share/edk2/x64/OVMF_CODE.4m.fd"), Path("/usr/share/edk2/x64/OVMF_VARS.4m.fd")),
    ),
    secure_uefi=(
        UefiFiles(Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")),
        UefiFiles(Path("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd"), Path("/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd")),
    ),
)

ARM64 = Platform(
    architecture="arm64",
    kernel_name="aarch64",
    qemu="qemu-system-aarch64",
    # KVM has the interrupt controller of the host only.
    machine="virt,gic-version=max",
    # The architected algorithm of pointer authentication takes as long as the rest of the emulation.
    emulated_cpu="max,pauth-impdef=on",
    # QEMU calls a function for each vector instruction of SVE and SME, and translates those of NEON.
    emulated_arguments="mitigations=off arm64.nosve arm64.nosme",
    console="ttyAMA0",
    has_bios=False,
    uefi_package="qemu-efi-aarch64",
    uefi=(
        UefiFiles(Path("/usr/share/AAVMF/AAVMF_CODE.fd"), Path("/usr/share/AAVMF/AAVMF_VARS.fd")),
        UefiFiles(
            Path("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw"),
            Path("/usr/share/edk2/aarch64/vars-template-pflash.raw"),
        ),
        UefiFiles(Path("/usr/share/edk2/aarch64/QEMU_CODE.fd"), Path("/usr/share/edk2/aarch64/QEMU_VARS.fd")),
    ),
)

PLATFORMS = {"x86_64": X86_64, "i386": X86_64, "arm64": ARM64}
"""The platforms by EC2's names of the architectures that they run."""


def host_platform() -> Platform:
    """Return the host's own platform; on hosts of other architectures, x86_64."""
    return next((platform for platform in PLATFORMS.values() if platform.is_native), X86_64)
