"""What the exit status of a command says; docs/command-line.md shows it as a table."""

from __future__ import annotations

from collections.abc import Iterable

from pycloudlib.errors import (
    FleetError,
    InvalidArgumentError,
    LocalEC2NotRunningError,
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
INTERRUPTED = 130
"""After Ctrl-C; as shells have it."""
UNREACHABLE = 255
"""As OpenSSH has it."""

_BY_KIND: tuple[tuple[type[PycloudlibError], int], ...] = (
    (PycloudlibTimeoutError, TIMED_OUT),
    (ResourceNotFoundError, NOT_FOUND),
    (LocalEC2NotRunningError, NOT_FOUND),
    (InvalidArgumentError, WRONG_USAGE),
    (TransferError, FAILED),
    (SSHError, UNREACHABLE),
)


def status_of(error: Exception) -> int:
    """The exit status of a command that ended in this error."""
    if isinstance(error, FleetError):
        return common_status(error.errors.values())
    return next((status for kind, status in _BY_KIND if isinstance(error, kind)), FAILED)


def common_status(errors: Iterable[Exception]) -> int:
    """The exit status of a command that ended in several errors: theirs if it is the same for all, else FAILED."""
    statuses = {status_of(error) for error in errors}
    return statuses.pop() if len(statuses) == 1 else FAILED
