"""The firmware of machines: SeaBIOS, which QEMU contains, or UEFI: OVMF on x86_64, and AAVMF on arm64."""

from __future__ import annotations

import enum
import logging
from pathlib import Path

from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.local import qemu_img
from pycloudlib.local.machines.platforms import Platform, UefiFiles
from pycloudlib.local.prerequisites import DEBIAN_PACKAGES, find, install_command

logger = logging.getLogger(__name__)

VARIABLES_FILE = "efi-variables.fd"


class Firmware(enum.Enum):
    """The firmware of a machine: the boot mode of its instance."""

    BIOS = "legacy-bios"
    UEFI = "uefi"


def firmware_for(boot_mode: str | None, platform: Platform, *, nitro: bool) -> Firmware:
    """Return the firmware for an instance.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-boot.html

    Args:
        boot_mode: the boot mode of the image: "legacy-bios", "uefi", "uefi-preferred", or None.
        platform: the platform of the image's architecture.
        nitro: whether the instance type is of the Nitro generations, which have UEFI.

    Returns:
        UEFI for "uefi", and for "uefi-preferred" if the instance type has it and OVMF is installed. Always UEFI on a
        platform without a BIOS.
    """
    if boot_mode == "uefi" or not platform.has_bios:
        return Firmware.UEFI
    if boot_mode != "uefi-preferred" or not nitro:
        return Firmware.BIOS
    if platform.find_uefi() is not None:
        return Firmware.UEFI
    logger.warning(
        "booting with BIOS, because no UEFI firmware is installed: %s", install_command([platform.uefi_package])
    )
    return Firmware.BIOS


def require_uefi(platform: Platform) -> UefiFiles:
    """Return the installed UEFI of a platform.

    Raises:
        MissingPrerequisiteError: it is not installed.
    """
    found = platform.find_uefi()
    if found is None:
        raise MissingPrerequisiteError(
            f"a UEFI is required to boot images for {platform.architecture} by UEFI, but not installed: "
            f"{install_command([platform.uefi_package])}"
        )
    return found


def require_platform(platform: Platform) -> None:
    """Require the QEMU program of a platform, and the UEFI of one without a BIOS.

    Raises:
        MissingPrerequisiteError: one of them is not installed; names the packages of both.
    """
    needs_uefi = not platform.has_bios and platform.find_uefi() is None
    if find(platform.qemu) is not None and not needs_uefi:
        return
    packages = [DEBIAN_PACKAGES[platform.qemu], *([] if platform.has_bios else [platform.uefi_package])]
    raise MissingPrerequisiteError(
        f"{', '.join(packages)} {'is' if len(packages) == 1 else 'are'} required to run machines for "
        f"{platform.architecture}, but not installed: {install_command(packages)}"
    )


def uefi_arguments(directory: Path, platform: Platform) -> list[str]:
    """Return the QEMU arguments for UEFI; create the machine's variables, which survive a stop.

    Args:
        directory: the directory of the machine.
        platform: the platform of the machine.

    Raises:
        MissingPrerequisiteError: the platform's UEFI is not installed.
        LocalEC2Error: the disk has too little space.
    """
    uefi = require_uefi(platform)
    variables = directory / VARIABLES_FILE
    if not variables.exists():
        qemu_img.copy(uefi.variables, variables)
    return [
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={uefi.code}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={VARIABLES_FILE}"),
    ]
