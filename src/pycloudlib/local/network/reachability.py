"""Network reachability of guests."""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable

from pycloudlib.deadline import Deadline
from pycloudlib.errors import PycloudlibTimeoutError
from pycloudlib.waiting import wait_until

PATIENCE_SECONDS = 600.0
"""The timeout in seconds for a guest's first answer; an emulated guest takes a minute."""
PROBE_SECONDS = 2.0
"""The timeout in seconds of one connection attempt."""
PAUSE_SECONDS = 1.0


class _Outcome(enum.Enum):
    REACHABLE = enum.auto()
    NOT_NEEDED = enum.auto()


def is_reachable(address: str, port: int, timeout: float = PROBE_SECONDS) -> bool:
    """Return whether a guest's server sends its banner within the timeout, as sshd does.

    An accepted connection proves nothing: QEMU accepts connections before the guest does.
    """
    try:
        with socket.create_connection((address, port), timeout) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


def wait_until_reachable(
    address: str,
    port: int,
    *,
    is_needed: Callable[[], bool],
    deadline: Deadline | None = None,
    pause: float = PAUSE_SECONDS,
) -> bool | None:
    """Wait until a guest's sshd responds.

    Args:
        address: the public address of the guest.
        port: the port of sshd.
        is_needed: returns whether the result is still needed.
        deadline: when to give up; default ten minutes from now.
        pause: seconds between attempts; default 1.

    Returns:
        Whether sshd responded; None once the result is not needed.
    """

    def probe() -> _Outcome | None:
        if not is_needed():
            return _Outcome.NOT_NEEDED
        return _Outcome.REACHABLE if is_reachable(address, port) else None

    try:
        outcome = wait_until(
            probe,
            what=f"{address} to respond",
            deadline=deadline or Deadline.after(PATIENCE_SECONDS),
            interval=pause,
        )
    except PycloudlibTimeoutError:
        return False
    return True if outcome is _Outcome.REACHABLE else None
