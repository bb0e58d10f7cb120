"""The boot mode of a disk image, from its first sectors."""

from __future__ import annotations

import uuid
from pathlib import Path

from pycloudlib.errors import ImageError
from pycloudlib.local import qemu_img

LEGACY_BIOS = "legacy-bios"
UEFI = "uefi"
UEFI_PREFERRED = "uefi-preferred"

BOOT_CODE = 440
"""The bytes of code in the first sector; the rest of it is a partition table."""

_MBR_SIZE, _MBR_TABLE, _MBR_ENTRY, _MBR_TYPE = 512, slice(446, 510), 16, 4
_GPT_SIZE, _GPT_SIGNATURE, _GPT_TABLE, _GPT_ENTRY = 34 * 512, b"EFI PART", 1024, 128
_MBR_EFI_SYSTEM = 0xEF
_GPT_EFI_SYSTEM = uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B").bytes_le


def boot_mode_of(disk: Path, format_name: str) -> str:
    """Return the boot mode of a disk: by the boot code in its first sector, and by its EFI system partition.

    Args:
        disk: the file of the disk.
        format_name: the format in QEMU's terms.

    Returns:
        "legacy-bios", "uefi", or "uefi-preferred" for both.

    Raises:
        ImageError: the disk has neither.
    """
    sectors = qemu_img.read(disk, _GPT_SIZE, source_format=format_name)
    bios, uefi = any(sectors[:BOOT_CODE]), _has_efi_system(sectors)
    if not bios and not uefi:
        raise ImageError(f"{disk} has no boot loader: pass its kernel with --kernel, --initrd, and --append")
    if bios and uefi:
        return UEFI_PREFERRED
    return UEFI if uefi else LEGACY_BIOS


def _has_efi_system(sectors: bytes) -> bool:
    if sectors[_MBR_SIZE:].startswith(_GPT_SIGNATURE):
        return any(
            sectors[start : start + len(_GPT_EFI_SYSTEM)] == _GPT_EFI_SYSTEM
            for start in range(_GPT_TABLE, len(sectors), _GPT_ENTRY)
        )
    table = sectors[_MBR_TABLE]
    return any(table[start + _MBR_TYPE] == _MBR_EFI_SYSTEM for start in range(0, len(table), _MBR_ENTRY))
