"""The firmware of machines: SeaBIOS, which QEMU contains, or UEFI: OVMF on x86_64, and AAVMF on arm64."""

from __future__ import annotations

import enum
import logging
from pathlib import Path

from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.local import qemu_img
from pycloudlib.local.machines.platforms import Platform, UefiFiles
from pycloudlib.local.machines.uefi_variables import UefiVariables
from pycloudlib.local.prerequisites import DEBIAN_PACKAGES, find, install_command

logger = logging.getLogger(__name__)

VARIABLES_FILE = "efi-variables.fd"

# Only the system management mode may write to the variables. OVMF with it has no suspend.
_SECURE_ARGUMENTS = (
    *("-machine", "smm=on"),
    *("-global", "driver=cfi.pflash01,property=secure,value=on"),
    *("-global", "ICH9-LPC.disable_s3=1"),
)


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


def require_secure_boot(platform: Platform) -> UefiFiles:
    """Return the installed UEFI with Secure Boot of a platform.

    Raises:
        MissingPrerequisiteError: it is not installed, or the platform has none.
    """
    if not platform.has_secure_boot:
        raise MissingPrerequisiteError(f"the local EC2 has no Secure Boot for {platform.architecture}")
    found = platform.find_secure_uefi()
    if found is None:
        raise MissingPrerequisiteError(
            "a UEFI with Secure Boot is required to boot images with a platform key, but not installed: "
            f"{install_command([platform.uefi_package])}"
        )
    return found


def microsoft_keys(platform: Platform) -> str:
    """Return Microsoft's keys for Secure Boot, as `UefiData`.

    They verify the shim of every distribution that has one.

    Raises:
        MissingPrerequisiteError: the UEFI with Secure Boot, which comes with the keys, is not installed.
        LocalEC2Error: its variables cannot be read.
    """
    return UefiVariables.from_flash(require_secure_boot(platform).variables).keys().uefi_data()


def uefi_arguments(directory: Path, platform: Platform, uefi_data: str | None = None) -> list[str]:
    """Return the QEMU arguments for UEFI; create the machine's variables, which survive a stop.

    Args:
        directory: the directory of the machine.
        platform: the platform of the machine.
        uefi_data: the initial variables, as `UefiData`; a platform key turns Secure Boot on. Default those of the
            firmware.

    Raises:
        MissingPrerequisiteError: the platform's UEFI, or the one with Secure Boot, is not installed.
        LocalEC2Error: the disk has too little space, or the variables do not fit.
    """
    uefi = require_uefi(platform)
    initial = UefiVariables.from_uefi_data(uefi_data) if uefi_data is not None else None
    secure = initial is not None and initial.has_platform_key
    code = require_secure_boot(platform).code if secure else uefi.code
    variables = directory / VARIABLES_FILE
    if not variables.exists():
        if initial is None:
            qemu_img.copy(uefi.variables, variables)
        else:
            initial.write_flash(uefi.variables, variables)
    return [
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={VARIABLES_FILE}"),
        *(_SECURE_ARGUMENTS if secure else ()),
    ]


def current_uefi_data(directory: Path, uefi_data: str | None) -> str:
    """Return the UEFI variables of a machine, as `UefiData`.

    Args:
        directory: the directory of the machine.
        uefi_data: the initial variables, as in `uefi_arguments`.

    Raises:
        LocalEC2Error: the variables cannot be read.
    """
    file = directory / VARIABLES_FILE
    if file.exists():
        return UefiVariables.from_flash(file).uefi_data()
    return initial_uefi_data(uefi_data)


def initial_uefi_data(uefi_data: str | None) -> str:
    """Return the UEFI variables of a machine before its first start, as `UefiData`."""
    return UefiVariables().uefi_data() if uefi_data is None else uefi_data
