from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error, MissingPrerequisiteError
from pycloudlib.local.machines import firmware
from pycloudlib.local.machines.firmware import (
    Firmware,
    current_uefi_data,
    firmware_for,
    microsoft_keys,
    require_platform,
    uefi_arguments,
)
from pycloudlib.local.machines.platforms import ARM64, X86_64, Platform, UefiFiles
from support.uefi import BOOT_ENTRY, KEYS, key_names, uefi_data, write_flash


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


def with_secure_boot(directory: Path) -> Platform:
    """Return a platform whose UEFI with Secure Boot is installed, with keys."""
    installed = UefiFiles(directory / "CODE.secboot.fd", directory / "VARS.ms.fd")
    installed.code.write_bytes(b"secure code")
    write_flash(installed.variables, *KEYS, BOOT_ENTRY)
    platform = with_uefi(X86_64, directory)
    write_flash(directory / "VARS.fd")
    return replace(platform, secure_uefi=(installed,))


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    path = tmp_path / "machine"
    path.mkdir()
    return path


def test_platform_key_turns_secure_boot_on(tmp_path: Path, machine: Path) -> None:
    platform = with_secure_boot(tmp_path)
    command = uefi_arguments(machine, platform, uefi_data(*KEYS))
    assert f"file={tmp_path / 'CODE.secboot.fd'}" in command[1]
    assert "smm=on" in command
    assert "driver=cfi.pflash01,property=secure,value=on" in command
    assert key_names(current_uefi_data(machine, None)) == {"PK", "KEK", "db", "dbx"}


def test_variables_without_platform_key_need_no_secure_boot(tmp_path: Path, machine: Path) -> None:
    platform = replace(with_secure_boot(tmp_path), secure_uefi=())
    command = uefi_arguments(machine, platform, uefi_data(BOOT_ENTRY))
    assert f"file={tmp_path / 'CODE.fd'}" in command[1]
    assert "smm=on" not in command
    assert current_uefi_data(machine, None) == uefi_data(BOOT_ENTRY)


def test_missing_secure_boot_is_refused_with_the_remedy(tmp_path: Path) -> None:
    platform = replace(with_secure_boot(tmp_path), secure_uefi=(UefiFiles(tmp_path / "no", tmp_path / "no"),))
    with pytest.raises(MissingPrerequisiteError, match=r"UEFI with Secure Boot is required.*apt-get install -y ovmf"):
        uefi_arguments(tmp_path, platform, uefi_data(*KEYS))
    with pytest.raises(MissingPrerequisiteError, match="no Secure Boot for arm64"):
        uefi_arguments(tmp_path, with_uefi(ARM64, tmp_path), uefi_data(*KEYS))


def test_microsoft_keys_leave_other_variables_out(tmp_path: Path) -> None:
    assert microsoft_keys(with_secure_boot(tmp_path)) == uefi_data(*KEYS)


def test_variables_before_the_first_start_are_the_initial_ones(tmp_path: Path) -> None:
    assert current_uefi_data(tmp_path, uefi_data(BOOT_ENTRY)) == uefi_data(BOOT_ENTRY)
    assert current_uefi_data(tmp_path, None) == uefi_data()


def test_unreadable_variables_are_reported(machine: Path) -> None:
    (machine / firmware.VARIABLES_FILE).write_bytes(b"not a flash memory")
    with pytest.raises(LocalEC2Error, match="cannot read the UEFI variables in"):
        current_uefi_data(machine, None)
