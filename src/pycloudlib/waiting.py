"""The one place that waits: every loop that waits for something is a call of wait_until()."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

import tenacity

from pycloudlib.errors import PycloudlibTimeoutError

T = TypeVar("T")

BACKOFF = 1.5
"""How much longer each pause is than the one before, until max_interval."""


class Clock(Protocol):
    """Something that tells the time and lets it pass."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""


class SystemClock:
    """The real time."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


def wait_until(
    check: Callable[[], T | None],
    *,
    what: str,
    timeout: float,
    interval: float = 0.1,
    max_interval: float | None = None,
    jitter: float = 0.0,
    last_seen: Callable[[], object] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> T:
    """Ask again and again until the answer is true, and give it back.

    The first question comes at once and the last one when the time is over, so that something which happens during
    the last pause is not missed. Whatever `check` raises passes through: what may go wrong on the way, it catches.

    Args:
        check: the question; a true answer ends the waiting.
        what: what is waited for, as in "i-0123 to be running"; for the message.
        timeout: seconds; 0 asks once.
        interval: seconds before the second question; default 0.1.
        max_interval: the pauses grow up to this many seconds; default: they don't grow.
        jitter: by which part a pause may be shorter, by chance, so that those who began to wait at the same time do not
            ask at the same time; 0 to 1, default 0.
        last_seen: tells the last state seen, for the message; default none.
        clock: what tells the time; default the real time.

    Returns:
        The first true answer.

    Raises:
        PycloudlibTimeoutError: what was waited for, how long, and the last state seen.
    """
    deadline = clock.now() + timeout
    longest = interval if max_interval is None else max_interval

    def pause(attempts: tenacity.RetryCallState) -> float:
        # The exponent is bounded because a float overflows after some 1750 attempts.
        wanted = min(interval * BACKOFF ** min(attempts.attempt_number - 1, 64), longest)
        spread = wanted * (1 - jitter * random.random())  # noqa: S311  (spreads load, hides nothing)
        return max(0.0, min(spread, deadline - clock.now()))

    def give_up(_: tenacity.RetryCallState) -> T:
        seen = str(last_seen()) if last_seen else ""
        message = f"waited {timeout:g} s for {what}" + (f"; last seen: {seen}" if seen else "")
        raise PycloudlibTimeoutError(message, what=what, seconds=timeout, last_seen=seen)

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda answer: not answer),
        stop=lambda _: clock.now() >= deadline,
        wait=pause,
        sleep=clock.sleep,
        retry_error_callback=give_up,
    )
    # A false answer never comes back: it ends in give_up().
    return cast("T", attempts(check))
