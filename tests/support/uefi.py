"""UEFI variables, for images with Secure Boot."""

from __future__ import annotations

from pathlib import Path

from pyuefivars import EDK2UEFIVarStore, JSONUEFIVarStore, UEFIVar

from pycloudlib.local.machines.uefi_variables import UefiVariables

GLOBAL = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
IMAGE_SECURITY = bytes.fromhex("cbb219d73a3d9645a3bcdad00e67656f")
AUTHENTICATED = 0x27
PLAIN = 0x7

KEYS = (
    UEFIVar("PK", b"the owner's", GLOBAL, AUTHENTICATED, b"\x01" * 16),
    UEFIVar("KEK", b"for updates", GLOBAL, AUTHENTICATED, b"\x01" * 16),
    UEFIVar("db", b"allowed", IMAGE_SECURITY, AUTHENTICATED, b"\x01" * 16),
    UEFIVar("dbx", b"forbidden", IMAGE_SECURITY, AUTHENTICATED, b"\x01" * 16),
)
BOOT_ENTRY = UEFIVar("Boot0001", b"a path", GLOBAL, PLAIN)


def uefi_data(*variables: UEFIVar) -> str:
    """The variables in AWS's format."""
    return UefiVariables(variables).uefi_data()


def write_flash(file: Path, *variables: UEFIVar) -> None:
    """Write a flash memory of OVMF's size with the variables."""
    store = JSONUEFIVarStore(b"[]")
    store.vars = list(variables)
    store.__class__ = EDK2UEFIVarStore
    file.write_bytes(bytes(store))


def key_names(data: str) -> set[str]:
    """The names of the keys in AWS's format."""
    return {variable.name for variable in UefiVariables.from_uefi_data(data).keys().variables}
