"""Whether a guest answers on the network."""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable

from pycloudlib.deadline import Deadline
from pycloudlib.errors import PycloudlibTimeoutError
from pycloudlib.waiting import wait_until

PATIENCE_SECONDS = 600.0
"""How long a guest may take to answer; an emulated one takes a minute."""
PROBE_SECONDS = 2.0
"""How long one connection may take to bring an answer."""
PAUSE_SECONDS = 1.0


class _Outcome(enum.Enum):
    ANSWERED = enum.auto()
    OFF = enum.auto()


def answers(address: str, port: int, timeout: float = PROBE_SECONDS) -> bool:
    """Return whether a guest's server speaks first within some seconds, as sshd does.

    That the connection is accepted proves nothing: QEMU accepts it before the guest does.
    """
    try:
        with socket.create_connection((address, port), timeout) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


def wait_for_answer(
    address: str,
    port: int,
    *,
    while_: Callable[[], bool],
    deadline: Deadline | None = None,
    pause: float = PAUSE_SECONDS,
) -> bool | None:
    """Wait until a guest answers.

    Args:
        address: what leads to the guest.
        port: of its sshd.
        while_: whether anybody still wants to know.
        deadline: when to give up; default: in ten minutes.
        pause: seconds between two connections.

    Returns:
        Whether it answered; None when nobody wanted to know any more.
    """

    def probe() -> _Outcome | None:
        if not while_():
            return _Outcome.OFF
        return _Outcome.ANSWERED if answers(address, port) else None

    try:
        outcome = wait_until(
            probe,
            what=f"{address} to answer",
            deadline=deadline or Deadline.after(PATIENCE_SECONDS),
            interval=pause,
        )
    except PycloudlibTimeoutError:
        return False
    return True if outcome is _Outcome.ANSWERED else None
