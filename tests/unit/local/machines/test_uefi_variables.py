from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pyuefivars import UEFIVar

from pycloudlib.errors import InvalidArgumentError, LocalEC2Error
from pycloudlib.local.machines.uefi_variables import UefiVariables
from support.uefi import BOOT_ENTRY, GLOBAL, KEYS, PLAIN, uefi_data, write_flash

VALID = uefi_data(*KEYS)
ERASED = 0xFF


def flipped(text: str) -> str:
    """The text with another byte, so that its checksum is wrong."""
    content = bytearray(base64.b64decode(text))
    content[-1] ^= 1
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    "text",
    ["", "x", "AAAA", "ümlaut", VALID[: len(VALID) // 8 * 4], flipped(VALID), base64.b64encode(b"AMZNUEFI").decode()],
    ids=["empty", "padding", "short", "not ASCII", "truncated", "changed", "header"],
)
def test_malformed_data_are_rejected(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="not a variable store"):
        UefiVariables.from_uefi_data(text)


def test_variables_survive_both_formats(tmp_path: Path) -> None:
    template, flash = tmp_path / "template.fd", tmp_path / "flash.fd"
    write_flash(template)
    UefiVariables.from_uefi_data(uefi_data(*KEYS, BOOT_ENTRY)).write_flash(template, flash)
    assert UefiVariables.from_flash(flash).uefi_data() == uefi_data(*KEYS, BOOT_ENTRY)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".fd"] == []


def test_free_flash_memory_is_erased(tmp_path: Path) -> None:
    template, flash = tmp_path / "template.fd", tmp_path / "flash.fd"
    write_flash(template)
    UefiVariables(KEYS).write_flash(template, flash)
    written, empty = flash.read_bytes(), template.read_bytes()
    assert len(written) == len(empty)
    assert set(written[8192 : 256 * 1024]) == {ERASED}
    assert written[-256 * 1024 :] == empty[-256 * 1024 :]


@pytest.mark.parametrize("size", [300_000, 600_000], ids=["store", "flash"])
def test_variables_that_do_not_fit_are_rejected(tmp_path: Path, size: int) -> None:
    template = tmp_path / "template.fd"
    write_flash(template)
    large = UefiVariables((UEFIVar("Large", bytes(size), GLOBAL, PLAIN),))
    with pytest.raises(LocalEC2Error, match="cannot write UEFI variables"):
        large.write_flash(template, tmp_path / "flash.fd")
    assert not (tmp_path / "flash.fd").exists()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (KEYS, True),
        (KEYS[1:], False),
        ((UEFIVar("PK", b"", GLOBAL, PLAIN),), False),
        ((UEFIVar("PK", b"x", bytes(16), PLAIN),), False),
    ],
    ids=["keys", "without PK", "empty PK", "another vendor's"],
)
def test_platform_key_is_recognized(variables: tuple[UEFIVar, ...], *, expected: bool) -> None:
    assert UefiVariables.from_uefi_data(uefi_data(*variables)).has_platform_key is expected
