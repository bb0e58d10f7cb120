from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.local.machines import firmware
from pycloudlib.local.machines.firmware import Firmware, Ovmf, firmware_for, uefi_arguments


@pytest.fixture
def ovmf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ovmf:
    """An OVMF that is installed."""
    installed = Ovmf(tmp_path / "OVMF_CODE.fd", tmp_path / "OVMF_VARS.fd")
    installed.code.write_bytes(b"code")
    installed.variables.write_bytes(b"variables")
    monkeypatch.setattr(firmware, "PLACES", (Ovmf(tmp_path / "missing", tmp_path / "missing"), installed))
    return installed


@pytest.fixture
def no_ovmf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "PLACES", ())


@pytest.mark.usefixtures("ovmf")
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
def test_the_boot_mode_of_the_image_decides(boot_mode: str | None, *, nitro: bool, expected: Firmware) -> None:
    assert firmware_for(boot_mode, nitro=nitro) is expected


@pytest.mark.usefixtures("no_ovmf")
def test_without_ovmf_preferred_uefi_becomes_bios_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert firmware_for("uefi-preferred", nitro=True) is Firmware.BIOS
    assert "apt-get install -y ovmf" in caplog.text


@pytest.mark.usefixtures("no_ovmf")
def test_without_ovmf_uefi_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisiteError, match=r"OVMF is required.*apt-get install -y ovmf"):
        uefi_arguments(tmp_path)


def test_each_machine_keeps_its_own_variables(ovmf: Ovmf, tmp_path: Path) -> None:
    machine = tmp_path / "machine"
    machine.mkdir()
    assert f"file={ovmf.code}" in uefi_arguments(machine)[1]
    variables = machine / firmware.VARIABLES_FILE
    assert variables.read_bytes() == b"variables"
    variables.write_bytes(b"of this machine")
    uefi_arguments(machine)
    assert variables.read_bytes() == b"of this machine"
