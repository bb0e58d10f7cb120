from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.local.machines import firmware
from pycloudlib.local.machines.firmware import Firmware, firmware_for, require_platform, uefi_arguments
from pycloudlib.local.machines.platforms import ARM64, X86_64, Platform, UefiFiles


def with_uefi(platform: Platform, directory: Path) -> Platform:
    """Return a platform whose UEFI is installed, in the second place."""
    installed = UefiFiles(directory / "CODE.fd", directory / "VARS.fd")
    installed.code.write_bytes(b"code")
    installed.variables.write_bytes(b"variables")
    return replace(platform, uefi=(UefiFiles(directory / "missing", directory / "missing"), installed))


def without_uefi(platform: Platform) -> Platform:
    return replace(platform, uefi=())


@pytest.mark.parametrize(
    ("boot_mode", "nitro", "expected"),
    [
        (None, True, Firmware.BIOS),
        ("legacy-bios", True, Firmware.BIOS),
        ("uefi", True, Firmware.UEFI),
        ("uefi-preferred", True, Firmware.UEFI),
        ("uefi-preferred", False, Firmware.BIOS),
    ],
)
def test_the_boot_mode_of_the_image_decides(
    tmp_path: Path, boot_mode: str | None, *, nitro: bool, expected: Firmware
) -> None:
    assert firmware_for(boot_mode, with_uefi(X86_64, tmp_path), nitro=nitro) is expected


@pytest.mark.parametrize("boot_mode", [None, "legacy-bios", "uefi", "uefi-preferred"])
def test_arm64_has_uefi_only(boot_mode: str | None) -> None:
    assert firmware_for(boot_mode, without_uefi(ARM64), nitro=True) is Firmware.UEFI


def test_without_ovmf_preferred_uefi_becomes_bios_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert firmware_for("uefi-preferred", without_uefi(X86_64), nitro=True) is Firmware.BIOS
    assert "apt-get install -y ovmf" in caplog.text


@pytest.mark.parametrize("platform", [X86_64, ARM64], ids=lambda platform: platform.architecture)
def test_uefi_that_is_not_installed_is_refused_with_the_remedy(tmp_path: Path, platform: Platform) -> None:
    remedy = f"apt-get install -y {platform.uefi_package}"
    with pytest.raises(MissingPrerequisiteError, match=f"a UEFI is required.*{platform.architecture}.*{remedy}"):
        uefi_arguments(tmp_path, without_uefi(platform))


def test_each_machine_keeps_its_own_variables(tmp_path: Path) -> None:
    platform = with_uefi(X86_64, tmp_path)
    machine = tmp_path / "machine"
    machine.mkdir()
    assert f"file={tmp_path / 'CODE.fd'}" in uefi_arguments(machine, platform)[1]
    variables = machine / firmware.VARIABLES_FILE
    assert variables.read_bytes() == b"variables"
    variables.write_bytes(b"of this machine")
    uefi_arguments(machine, platform)
    assert variables.read_bytes() == b"of this machine"


def test_a_platform_needs_its_qemu_and_without_a_bios_its_uefi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    packages = "qemu-system-arm, qemu-efi-aarch64 are required to run machines for arm64"
    with pytest.raises(MissingPrerequisiteError, match=f"{packages}.*install -y qemu-system-arm qemu-efi-aarch64"):
        require_platform(without_uefi(ARM64))
    for platform in (ARM64, X86_64):
        (tmp_path / platform.qemu).touch(mode=0o755)
    require_platform(without_uefi(X86_64))
    with pytest.raises(MissingPrerequisiteError, match="qemu-efi-aarch64"):
        require_platform(without_uefi(ARM64))
    require_platform(with_uefi(ARM64, tmp_path))
