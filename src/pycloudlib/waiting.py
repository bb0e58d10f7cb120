"""All waiting: every loop that waits for a condition calls `wait_until()`."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import tenacity

from pycloudlib.deadline import SYSTEM_CLOCK, Clock, Deadline, SystemClock
from pycloudlib.errors import PycloudlibTimeoutError

__all__ = ["BACKOFF", "SYSTEM_CLOCK", "Clock", "Deadline", "SystemClock", "acquired", "call_within", "wait_until"]

T = TypeVar("T")

BACKOFF = 1.5
"""The growth factor of the pauses, up to `max_interval`."""


def wait_until(
    check: Callable[[], T | None],
    *,
    what: str,
    deadline: Deadline,
    interval: float | Callable[[], float] = 0.1,
    max_interval: float | None = None,
    jitter: float = 0.0,
    last_seen: Callable[[], object] | None = None,
) -> T:
    """Call `check` until it returns a true value, and return that value.

    The first call is immediate, and the last one is at the deadline, so that nothing is missed during the last pause.
    Exceptions of `check` propagate.

    Args:
        check: the condition; a true result ends the wait. It must not block beyond the deadline itself.
        what: what is awaited, as in "i-0123 to be running", for the message.
        deadline: when to give up; one that has passed allows a single call.
        interval: seconds before the second call, or a callable that returns the length of each pause; default 0.1.
        max_interval: the longest pause in seconds; default: the pauses do not grow.
        jitter: the maximum fraction, 0 to 1, by which to shorten a pause at random, so that concurrent callers do not
            call in lockstep; default 0.
        last_seen: returns the last state for the message; default none.

    Returns:
        The first true result.

    Raises:
        PycloudlibTimeoutError: the deadline passed; the message has `what`, the timeout, and the last state.
    """
    clock = deadline.clock

    def pause(attempts: tenacity.RetryCallState) -> float:
        if callable(interval):
            return min(interval(), deadline.remaining)
        longest = interval if max_interval is None else max_interval
        # Bound the exponent, because a float overflows after about 1750 attempts.
        duration = min(interval * BACKOFF ** min(attempts.attempt_number - 1, 64), longest)
        spread = duration * (1 - jitter * random.random())  # noqa: S311  (spreads load, hides nothing)
        return min(spread, deadline.remaining)

    def give_up(_: tenacity.RetryCallState) -> T:
        raise timed_out(what, deadline, str(last_seen()) if last_seen else "")

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda result: not result),
        stop=lambda _: deadline.has_passed,
        wait=pause,
        sleep=clock.sleep,
        retry_error_callback=give_up,
    )
    # A false result ends in give_up().
    return cast("T", attempts(check))


def call_within(
    call: Callable[[], T], *, what: str, deadline: Deadline, late: PycloudlibTimeoutError | None = None
) -> T:
    """Make a call that cannot be interrupted, and stop waiting for it at the deadline.

    The call runs in its own thread and may outlive the deadline; its result is then discarded.

    Args:
        call: the call, which must be read-only, so that outliving its caller is harmless.
        what: what is awaited, as in "the console log of i-0123", for the message.
        deadline: when to stop waiting.
        late: the exception at the deadline; default a PycloudlibTimeoutError with `what`.

    Returns:
        The result of the call.

    Raises:
        PycloudlibTimeoutError: the call did not return in time.
    """
    if deadline.timeout is None:
        return call()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=f"call-within:{what}", daemon=True)
    thread.start()
    thread.join(deadline.timeout)
    if errors:
        raise errors[0]
    if not results:
        raise late or timed_out(what, deadline)
    return results[0]


@contextmanager
def acquired(lock: threading.Lock, *, what: str, deadline: Deadline) -> Iterator[None]:
    """Hold a lock while the context is active, and wait for it until the deadline.

    Args:
        lock: the lock.
        what: what is awaited, as in "another thread to create a VPC", for the message.
        deadline: when to give up.

    Raises:
        PycloudlibTimeoutError: another thread held the lock until the deadline.
    """
    seconds = deadline.timeout
    if not lock.acquire(timeout=-1 if seconds is None else seconds):
        raise timed_out(what, deadline)
    try:
        yield
    finally:
        lock.release()


def timed_out(what: str, deadline: Deadline, last_seen: str = "") -> PycloudlibTimeoutError:
    """Return the exception of a wait that timed out.

    Args:
        what: what was awaited.
        deadline: the deadline that passed.
        last_seen: the last state; default none.
    """
    message = f"waited {deadline.seconds:g} s for {what}" + (f"; last seen: {last_seen}" if last_seen else "")
    return PycloudlibTimeoutError(message, what=what, seconds=deadline.seconds, last_seen=last_seen)
