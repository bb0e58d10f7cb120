"""The firmware of machines: SeaBIOS, which QEMU contains, or OVMF, which is UEFI for virtual machines."""

from __future__ import annotations

import enum
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.local.prerequisites import install_command

logger = logging.getLogger(__name__)

VARIABLES_FILE = "efi-variables.fd"


class Firmware(enum.Enum):
    """The firmware of a machine: the boot mode of its instance."""

    BIOS = "legacy-bios"
    UEFI = "uefi"


@dataclass(frozen=True)
class Ovmf:
    """The files of OVMF.

    Args:
        code: the firmware.
        variables: the initial variables of a machine.
    """

    code: Path
    variables: Path


PLACES = (
    # Debian and Ubuntu, Fedora, Arch Linux
    Ovmf(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
    Ovmf(Path("/usr/share/edk2/ovmf/OVMF_CODE.fd"), Path("/usr/share/edk2/ovmf/OVMF_VARS.fd")),
    Ovmf(Path("/usr/share/edk2/x64/OVMF_CODE.4m.fd"), Path("/usr/share/edk2/x64/OVMF_VARS.4m.fd")),
)


def find_ovmf() -> Ovmf | None:
    """Return the installed OVMF; None without one."""
    return next((place for place in PLACES if place.code.exists() and place.variables.exists()), None)


def firmware_for(boot_mode: str | None, *, nitro: bool) -> Firmware:
    """Return the firmware for an instance.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-boot.html

    Args:
        boot_mode: the boot mode of the image: "legacy-bios", "uefi", "uefi-preferred", or None.
        nitro: whether the instance type is of the Nitro generations, which have UEFI.

    Returns:
        UEFI for "uefi", and for "uefi-preferred" if the instance type has it and OVMF is installed.
    """
    if boot_mode == "uefi":
        return Firmware.UEFI
    if boot_mode != "uefi-preferred" or not nitro:
        return Firmware.BIOS
    if find_ovmf() is not None:
        return Firmware.UEFI
    logger.warning("the instance boots by its BIOS, as OVMF is not installed: %s", install_command(["ovmf"]))
    return Firmware.BIOS


def uefi_arguments(directory: Path) -> list[str]:
    """Return the QEMU arguments for UEFI; create the machine's variables, which survive a stop.

    Args:
        directory: the directory of the machine.

    Raises:
        MissingPrerequisiteError: OVMF is not installed.
    """
    ovmf = find_ovmf()
    if ovmf is None:
        raise MissingPrerequisiteError(
            f"OVMF is required to boot images by UEFI, but not installed: {install_command(['ovmf'])}"
        )
    variables = directory / VARIABLES_FILE
    if not variables.exists():
        shutil.copyfile(ovmf.variables, variables)
    return [
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={ovmf.code}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={VARIABLES_FILE}"),
    ]
