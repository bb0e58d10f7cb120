"""The nonvolatile variables of a UEFI, in AWS's format (`UefiData`) and in a machine's flash memory.

AWS's own package converts them: https://github.com/awslabs/python-uefivars
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycloudlib.errors import InvalidArgumentError, LocalEC2Error

_GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
_IMAGE_SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f").bytes_le

_PLATFORM_KEY = ("PK", _GLOBAL)
_KEYS = {_PLATFORM_KEY, ("KEK", _GLOBAL), ("db", _IMAGE_SECURITY), ("dbx", _IMAGE_SECURITY)}
"""The names and vendors of the variables that Secure Boot reads."""

# https://uefi.org/specs/PI/1.8/V3_Firmware_Storage.html, and EDK2's VariableFormat.h
_HEADER_LENGTH = struct.Struct("<48xH")
_STORE_HEADER = 28
_VARIABLE, _VARIABLE_HEADER = struct.Struct("<H34xII"), 60
_VARIABLE_START = 0x55AA
_ERASED = b"\xff"


@dataclass(frozen=True)
class UefiVariables:
    """The nonvolatile variables of a UEFI.

    Args:
        variables: the variables; default none.
    """

    variables: tuple[Any, ...] = ()

    @classmethod
    def from_uefi_data(cls, uefi_data: str) -> UefiVariables:
        """Parse AWS's format.

        Raises:
            InvalidArgumentError: the text is malformed.
        """
        from pyuefivars import AWSUEFIVarStore  # noqa: PLC0415  (most local EC2s need none of it)

        try:
            return cls(tuple(AWSUEFIVarStore(uefi_data.encode()).vars))
        except Exception as error:  # the package has no exceptions of its own
            raise InvalidArgumentError(
                "the UEFI data are not a variable store as GetInstanceUefiData returns it, in base64"
            ) from error

    @classmethod
    def from_flash(cls, file: Path) -> UefiVariables:
        """Read a flash memory's file.

        Raises:
            LocalEC2Error: the file cannot be read, or has no valid variable store.
        """
        from pyuefivars import EDK2UEFIVarStore  # noqa: PLC0415

        try:
            return cls(tuple(EDK2UEFIVarStore(file.read_bytes()).vars))
        except Exception as error:
            raise LocalEC2Error(f"cannot read the UEFI variables in {file}: {error}") from error

    @property
    def has_platform_key(self) -> bool:
        """Whether there is a platform key, which turns Secure Boot on."""
        return any(_identity(variable) == _PLATFORM_KEY and variable.data for variable in self.variables)

    def keys(self) -> UefiVariables:
        """Return the keys of Secure Boot only: PK, KEK, db, and dbx."""
        return UefiVariables(tuple(variable for variable in self.variables if _identity(variable) in _KEYS))

    def uefi_data(self) -> str:
        """Return the variables in AWS's format."""
        from pyuefivars import AWSUEFIVarStore  # noqa: PLC0415

        store = AWSUEFIVarStore.__new__(AWSUEFIVarStore)  # the constructor parses
        store.vars = list(self.variables)
        return bytes(store).decode()

    def write_flash(self, template: Path, file: Path) -> None:
        """Create a flash memory's file.

        Args:
            template: the file of an empty flash memory of the same firmware.
            file: the file to create.

        Raises:
            LocalEC2Error: the variables do not fit, or a file cannot be read or written.
        """
        from pyuefivars import EDK2UEFIVarStore  # noqa: PLC0415

        try:
            empty = template.read_bytes()
            store = EDK2UEFIVarStore(empty)
            store.vars = list(self.variables)
            written = bytes(store)
        except Exception as error:
            raise LocalEC2Error(f"cannot write UEFI variables to {file}: {error}") from error
        (header_length,) = _HEADER_LENGTH.unpack_from(written)
        used, size = _end_of_variables(written, header_length + _STORE_HEADER), header_length + store.varsize
        if used > size:
            raise LocalEC2Error(f"cannot write UEFI variables to {file}: they do not fit into {store.varsize} bytes")
        # The package fills the rest with zeros, but free flash memory is erased.
        flash = written[:used] + _ERASED * (size - used) + empty[size:]
        partial = file.with_suffix(".partial")
        try:
            partial.write_bytes(flash)
            partial.replace(file)
        except OSError as error:
            raise LocalEC2Error(f"cannot write UEFI variables to {file}: {error.strerror}") from error


def _identity(variable: Any) -> tuple[str, bytes]:
    return variable.name, variable.guid


def _end_of_variables(flash: bytes, start: int) -> int:
    """Return the offset behind the last variable; `start` is that of the first one."""
    end = start
    while end + _VARIABLE_HEADER <= len(flash):
        magic, name_size, data_size = _VARIABLE.unpack_from(flash, end)
        if magic != _VARIABLE_START:
            break
        end += -(-(_VARIABLE_HEADER + name_size + data_size) // 4) * 4
    return end
