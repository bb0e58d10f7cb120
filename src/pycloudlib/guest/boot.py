"""The boot id of the guest: which boot is this?"""

from __future__ import annotations

import re

from pycloudlib.errors import CommandError, InvalidArgumentError
from pycloudlib.guest.framing import Run, ask

BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id"
"""A new UUID in each boot; see proc(5)."""

BOOT_ID_TIMEOUT = 10.0
"""Seconds; a guest that is going down may take the command and never answer."""

_BOOT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def boot_id(run: Run, *, timeout: float = BOOT_ID_TIMEOUT) -> str:
    """Return the guest's boot id.

    Args:
        run: runs a command in the guest.
        timeout: seconds; default 10.

    Returns:
        A UUID, as the kernel writes it.

    Raises:
        CommandError: the guest has no boot id.
        LoginShellError: the login shell does not run commands.
        SSHError: the guest could not be reached.
    """
    answer = ask(run, f"cat {BOOT_ID_PATH}", timeout=timeout, description="read the boot id").check()
    found = _BOOT_ID.fullmatch(answer.strip())
    if found is None:
        raise CommandError(f"{BOOT_ID_PATH} of the guest holds {answer.strip()!r}, which is no UUID", result=answer)
    return found[0].lower()


def checked_boot_id(value: object) -> str:
    """Return the boot id that a caller passed.

    Args:
        value: what get_boot_id() returned; output that a login shell printed before it is ignored.

    Raises:
        InvalidArgumentError: there is no UUID in it.
    """
    found = _BOOT_ID.findall(value) if isinstance(value, str) else []
    if not found:
        raise InvalidArgumentError(f"old_boot_id is {value!r}; it must be what get_boot_id() returned, a UUID")
    return str(found[-1]).lower()
