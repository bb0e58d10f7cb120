"""The exit statuses of commands; docs/command-line.md lists them in a table."""

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
"""The status of coreutils' `timeout`."""
INTERRUPTED = 130
"""The status of shells after Ctrl-C."""
UNREACHABLE = 255
"""The status of OpenSSH."""

_BY_KIND: tuple[tuple[type[PycloudlibError], int], ...] = (
    (PycloudlibTimeoutError, TIMED_OUT),
    (ResourceNotFoundError, NOT_FOUND),
    (LocalEC2NotRunningError, NOT_FOUND),
    (InvalidArgumentError, WRONG_USAGE),
    (TransferError, FAILED),
    (SSHError, UNREACHABLE),
)


def status_of(error: Exception) -> int:
    """Return the exit status for an error."""
    if isinstance(error, FleetError):
        return common_status(error.errors.values())
    return next((status for kind, status in _BY_KIND if isinstance(error, kind)), FAILED)


def common_status(errors: Iterable[Exception]) -> int:
    """Return the exit status for several errors: their status if it is the same for all, or else FAILED."""
    statuses = {status_of(error) for error in errors}
    return statuses.pop() if len(statuses) == 1 else FAILED
