"""The partition table and boot loader of built disks: GPT with GRUB, as on public cloud images.

On x86_64, GRUB starts by BIOS and UEFI; on arm64, which has no BIOS, by UEFI.

The layout is Ubuntu's, with a separate partition for /boot, which changes only with a kernel or the boot loader. If the
boot partitions are unchanged, the loader therefore still starts the kernel of the build.

grub-install needs a block device. `install` does the same in a file:
https://www.gnu.org/software/grub/manual/grub/html_node/Images.html
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pycloudlib.errors import ImageError
from pycloudlib.local import qemu_img
from pycloudlib.local.images.boot_mode import BOOT_CODE
from pycloudlib.local.images.guest_file import GuestFile

SECTOR = qemu_img.SECTOR

PROGRAMS = ("mcopy", "mformat", "mmd", "sfdisk")
"""The programs that `partition` and `install` run."""


class Run(Protocol):
    """Runs a command; `what` is the prefix of the error message."""

    def __call__(self, command: Sequence[str], *, what: str) -> object:
        """Run the command.

        Raises:
            ImageError: the command failed.
        """


@dataclass(frozen=True)
class Partition:
    """A partition of the disk.

    Args:
        number: the number in the partition table.
        start: the first sector.
        sectors: the number of sectors; 0 for the rest of the disk.
        kind: the GUID of the type.
    """

    number: int
    start: int
    sectors: int
    kind: str

    @property
    def offset(self) -> int:
        """The offset of the first byte."""
        return self.start * SECTOR

    @property
    def size(self) -> int:
        """The size in bytes; 0 for the rest of the disk."""
        return self.sectors * SECTOR


BIOS_BOOT = Partition(14, 2048, 6144, "21686148-6449-6E6F-744E-656564454649")
EFI_SYSTEM = Partition(15, 8192, 217088, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
BOOT = Partition(16, 225280, 823296, "BC13C2FF-59E6-4262-A352-B275FD6F7172")
ROOT = Partition(1, 1048576, 0, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709")
"""The root partition; the last one on the disk, so that growpart can grow it."""

PARTITIONS = (ROOT, BIOS_BOOT, EFI_SYSTEM, BOOT)

_GRUB = "usr/lib/grub"
_CORE = "grub/i386-pc/core.img"
_CORE_MODULES = "biosdisk part_gpt ext2 normal configfile linux search search_label smbios test"

_EXTRA = "smbios --type 11 --get-string 4 --set extra"
"""The GRUB command that reads the machine's own kernel arguments from the first OEM string of the firmware."""

MACHINE_ARGUMENTS = GuestFile(
    "etc/grub.d/01_machine",
    f"""\
#!/bin/sh
# The kernel arguments that the machine adds.
echo 'insmod smbios'
echo '{_EXTRA}'
""",
    mode=0o755,
)


def defaults(arguments: str) -> GuestFile:
    """Return the settings of update-grub.

    Args:
        arguments: the kernel command line, besides the root file system.
    """
    return GuestFile(
        "etc/default/grub.d/pycloudlib.cfg",
        f"""\
# The console is the serial port, and nobody waits for a menu.
GRUB_TIMEOUT=0
GRUB_RECORDFAIL_TIMEOUT=0
GRUB_TERMINAL=console
GRUB_DISABLE_OS_PROBER=true
GRUB_CMDLINE_LINUX='{arguments} $extra'
""",
    )


@dataclass(frozen=True)
class Loader:
    """The boot loader of an architecture.

    Args:
        packages: Debian's packages of the loader, and the one of the program that growpart runs.
        console: the kernel's serial console.
        prepare: the shell command that prepares GRUB in the root directory ($1) after the installation of the packages.
        efi_files: the files in the root directory that UEFI starts, and their names in the EFI system partition.
        has_bios: whether a BIOS starts it as well.
    """

    packages: tuple[str, ...]
    console: str
    prepare: str
    efi_files: tuple[tuple[str, str], ...]
    has_bios: bool

    def install(self, root: Path, boot: Path, disk: Path, run: Run) -> None:
        """Install GRUB to a partitioned raw disk.

        Args:
            root: the root directory.
            boot: the directory /boot, after `prepare`.
            disk: the file of the disk.
            run: runs a program.

        Raises:
            ImageError: the loader does not fit, or a program failed.
        """
        if self.has_bios:
            _install_bios(boot, disk)
        _install_efi({root / source: name for source, name in self.efi_files}, disk, run)


LOADERS = {
    "x86_64": Loader(
        # The loader of Debian's own cloud images.
        packages=("fdisk", "grub-cloud-amd64"),
        console="ttyS0",
        prepare="; ".join(
            (
                "set -e",
                'cd "$1"',
                "mkdir -p boot/grub/i386-pc boot/efi",
                f"cp {_GRUB}/i386-pc/*.mod {_GRUB}/i386-pc/*.lst {_GRUB}/i386-pc/boot.img boot/grub/i386-pc",
                # The prefix refers to the disk that the firmware started: another one may have the same label.
                f"chroot . grub-mkimage -O i386-pc -o /boot/{_CORE} -p '(,gpt{BOOT.number})/grub' {_CORE_MODULES}",
            )
        ),
        # With shim, for UEFI with and without Secure Boot.
        efi_files=(
            ("usr/lib/shim/shimx64.efi.signed", "::/EFI/BOOT/BOOTX64.EFI"),
            (f"{_GRUB}/x86_64-efi-signed/grubx64.efi.signed", "::/EFI/BOOT/grubx64.efi"),
        ),
        has_bios=True,
    ),
    "arm64": Loader(
        # Debian 12 has no grub-cloud-arm64.
        packages=("fdisk", "grub-efi-arm64-bin", "grub2-common"),
        console="ttyAMA0",
        prepare='set -e; cd "$1"; mkdir -p boot/grub boot/efi',
        efi_files=((f"{_GRUB}/arm64-efi/monolithic/grubaa64.efi", "::/EFI/BOOT/BOOTAA64.EFI"),),
        has_bios=False,
    ),
}
"""The boot loaders by EC2's names of the architectures."""


def menu(kernel: str, initrd: str, arguments: str) -> str:
    """Return the grub.cfg that starts one kernel, until update-grub writes another.

    Args:
        kernel: the file name of the kernel.
        initrd: the file name of the initrd.
        arguments: the kernel command line.
    """
    return f"""\
set timeout=0
insmod smbios
{_EXTRA}
menuentry 'Debian GNU/Linux' {{
    linux /{kernel} {arguments} $extra
    initrd /{initrd}
}}
"""


def command_line(kernel: str, arguments: str) -> str:
    """Return the command line that GRUB passes to a kernel of the build, without the machine's own arguments.

    Args:
        kernel: the file name of the kernel.
        arguments: the kernel command line in grub.cfg.
    """
    return f"BOOT_IMAGE=/{kernel} {arguments}"


_EFI_MENU = f"""\
search --no-floppy --label boot --hint hd0,gpt{BOOT.number} --set=root
set prefix=($root)/grub
configfile $prefix/grub.cfg
"""


def partition(disk: Path, run: Run) -> None:
    """Write the partition table to a raw disk.

    Args:
        disk: the file of the disk.
        run: runs a program.

    Raises:
        ImageError: the program failed.
    """
    lines = ["label: gpt"]
    for entry in PARTITIONS:
        size = f"size={entry.sectors}, " if entry.sectors else ""
        lines.append(f"{entry.number}: start={entry.start}, {size}type={entry.kind}")
    script = "\n".join(lines)
    run(["sh", "-c", 'echo "$1" | sfdisk --quiet "$0"', str(disk), script], what="cannot partition the disk")


def _install_bios(boot: Path, disk: Path) -> None:
    first = bytearray((boot / "grub/i386-pc/boot.img").read_bytes())
    core = bytearray((boot / _CORE).read_bytes())
    if len(core) > BIOS_BOOT.size:
        raise ImageError(f"the boot loader of {len(core)} bytes does not fit into its partition")
    # boot.img loads the first sector of core.img, which loads the others: by their first sector and number.
    struct.pack_into("<Q", first, 0x5C, BIOS_BOOT.start)
    struct.pack_into("<QH", core, SECTOR - 12, BIOS_BOOT.start + 1, -(-len(core) // SECTOR) - 1)
    with disk.open("r+b") as file:
        file.write(first[:BOOT_CODE])
        file.seek(BIOS_BOOT.offset)
        file.write(core)


def _install_efi(files: dict[Path, str], disk: Path, run: Run) -> None:
    efi_menu = disk.with_name("efi-grub.cfg")
    efi_menu.write_text(_EFI_MENU)
    image = f"{disk}@@{EFI_SYSTEM.offset}"
    commands = [
        ["mformat", "-i", image, "-v", "EFI", "-T", str(EFI_SYSTEM.sectors), "-h", "64", "-s", "32", "::"],
        ["mmd", "-i", image, "::/EFI", "::/EFI/BOOT", "::/EFI/debian"],
        *(["mcopy", "-i", image, str(source), name] for source, name in files.items()),
        ["mcopy", "-i", image, str(efi_menu), "::/EFI/debian/grub.cfg"],
    ]
    for command in commands:
        run(command, what="cannot write the EFI system partition")
    efi_menu.unlink()
    with disk.open("r+b") as file:
        # mformat writes a partition table to the first sector of the file system, which GRUB's tools warn of.
        file.seek(EFI_SYSTEM.offset + 446)
        file.write(bytes(64))


_ENTRIES = slice(1024 + 128 * (BIOS_BOOT.number - 1), 1024 + 128 * BOOT.number)
"""The bytes of the boot partitions' entries in the partition table."""


def starts_same_kernel(disk: Path, built: Path) -> bool:
    """Return whether the boot loader of a disk starts the same kernel as that of its backing disk.

    Args:
        disk: a qcow2 disk that no machine uses.
        built: the raw disk, as it was built.

    Returns:
        Whether boot code and boot partitions are unchanged. Also False for a disk that is not an overlay of `built`.

    Raises:
        ImageError: the disk cannot be read.
    """
    layers = qemu_img.Layers.of(disk)
    if not layers.bottom.samefile(built):
        return False
    if layers.wrote(BIOS_BOOT.offset, ROOT.offset - BIOS_BOOT.offset):
        return False
    return not layers.wrote(0, BIOS_BOOT.offset) or _boot_code(disk, "qcow2") == _boot_code(built, "raw")


def _boot_code(disk: Path, format_name: str) -> tuple[bytes, bytes]:
    """Return the parts of the first sectors that growpart does not modify."""
    sectors = qemu_img.read(disk, BIOS_BOOT.offset, source_format=format_name)
    return sectors[:BOOT_CODE], sectors[_ENTRIES]
