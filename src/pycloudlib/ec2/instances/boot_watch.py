"""A look at EC2 in the background, while a boot waits for the guest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from pycloudlib.deadline import SYSTEM_CLOCK, Clock, Deadline
from pycloudlib.errors import PycloudlibError
from pycloudlib.waiting import wait_until


class InterruptibleClock:
    """A clock whose pauses end when an event is set.

    Args:
        event: ends the pauses.
        clock: tells the time; default the real one.
    """

    def __init__(self, event: threading.Event, clock: Clock = SYSTEM_CLOCK) -> None:
        self._event = event
        self._clock = clock

    def now(self) -> float:
        """Return the seconds since some fixed moment; never goes back."""
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        """Let the time pass, or the event happen."""
        self._event.wait(seconds)


class BootWatch:
    """Calls a check again and again in a thread, while its context is entered.

    The thread is not joined: it may be inside a call that EC2 throttles. Once the context is left it changes nothing.

    Args:
        name: of the thread.
        check: the check; what it raises ends the watch.
        interval: seconds between two calls.
        on_error: called with the error, unless the context was left meanwhile.
    """

    def __init__(
        self,
        name: str,
        check: Callable[[], None],
        *,
        interval: float,
        on_error: Callable[[PycloudlibError], None],
    ) -> None:
        self._name = name
        self._check = check
        self._interval = interval
        self._on_error = on_error
        self._over = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> BootWatch:
        threading.Thread(target=self._watch, name=self._name, daemon=True).start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._over.set()

    def while_entered(self, change: Callable[[], object]) -> None:
        """Make a change, unless the context was left.

        Args:
            change: what the check wants to change.
        """
        with self._lock:
            if not self._over.is_set():
                change()

    def _watch(self) -> None:
        clock = InterruptibleClock(self._over)
        # The state was seen a moment ago.
        first = clock.now() + self._interval / 2

        def is_over() -> bool:
            if not self._over.is_set() and clock.now() >= first:
                self._check()
            return self._over.is_set()

        try:
            wait_until(is_over, what="the end of the boot", deadline=Deadline.never(clock), interval=self._interval)
        except PycloudlibError as error:
            failure = error
            self.while_entered(lambda: self._on_error(failure))
