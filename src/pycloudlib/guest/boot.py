"""The boot id of the guest."""

from __future__ import annotations

import re

from pycloudlib.errors import CommandError, InvalidArgumentError
from pycloudlib.guest.framing import ask
from pycloudlib.guest.run import Run

BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id"
"""A new UUID for each boot; see proc(5)."""

BOOT_ID_TIMEOUT = 10.0
"""Seconds; a guest that is shutting down may accept the command and never respond."""

_BOOT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def boot_id(run: Run, *, timeout: float = BOOT_ID_TIMEOUT) -> str:
    """Return the guest's boot id.

    Args:
        run: runs a command in the guest.
        timeout: seconds; default 10.

    Returns:
        A UUID in the kernel's notation.

    Raises:
        CommandError: the guest has no boot id.
        LoginShellError: the login shell does not run commands.
        SSHError: the connection failed or was lost.
    """
    output = ask(run, f"cat {BOOT_ID_PATH}", timeout=timeout, description="read the boot id").check()
    match = _BOOT_ID.fullmatch(output.strip())
    if match is None:
        raise CommandError(f"{BOOT_ID_PATH} of the guest holds {output.strip()!r}, which is not a UUID", result=output)
    return match[0].lower()


def checked_boot_id(value: object) -> str:
    """Validate a caller's boot id.

    Args:
        value: the result of `get_boot_id()`; ignore output of the login shell before it.

    Raises:
        InvalidArgumentError: the value has no UUID.
    """
    ids = _BOOT_ID.findall(value) if isinstance(value, str) else []
    if not ids:
        raise InvalidArgumentError(f"old_boot_id is {value!r}; it must be what get_boot_id() returned, a UUID")
    return str(ids[-1]).lower()
