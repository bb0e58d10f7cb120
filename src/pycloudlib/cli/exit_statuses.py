"""What the exit status of a command says; docs/command-line.md shows it as a table."""

from __future__ import annotations

from pycloudlib.errors import (
    InvalidArgumentError,
    PycloudlibError,
    PycloudlibTimeoutError,
    ResourceNotFoundError,
    SSHError,
    TransferError,
)

FAILED = 1
WRONG_USAGE = 2
NOT_FOUND = 3
TIMED_OUT = 124
"""As coreutils' `timeout` has it."""
UNREACHABLE = 255
"""As OpenSSH has it."""

_BY_KIND: tuple[tuple[type[PycloudlibError], int], ...] = (
    (PycloudlibTimeoutError, TIMED_OUT),
    (ResourceNotFoundError, NOT_FOUND),
    (InvalidArgumentError, WRONG_USAGE),
    (TransferError, FAILED),
    (SSHError, UNREACHABLE),
)


def status_of(error: PycloudlibError) -> int:
    """The exit status of a command that ended in this error."""
    return next((status for kind, status in _BY_KIND if isinstance(error, kind)), FAILED)
