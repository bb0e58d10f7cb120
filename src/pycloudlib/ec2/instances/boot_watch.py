"""A background check of EC2's state while a boot waits for the guest."""

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
        event: the event.
        clock: the underlying clock; default the real time.
    """

    def __init__(self, event: threading.Event, clock: Clock = SYSTEM_CLOCK) -> None:
        self._event = event
        self._clock = clock

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        """Sleep for some seconds, or until the event is set."""
        self._event.wait(seconds)


class BootWatch:
    """Calls a check repeatedly in a thread while its context is active.

    The thread is not joined, since it may be inside a throttled call. It changes nothing once the context has exited.

    Args:
        name: the name of the thread.
        check: the check; an exception ends the watch.
        interval: seconds between two calls.
        on_error: called with the exception, unless the context has exited.
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
        self._exited = threading.Event()
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
            self._exited.set()

    def while_entered(self, change: Callable[[], object]) -> None:
        """Make a change, unless the context has exited.

        Args:
            change: the change of the check.
        """
        with self._lock:
            if not self._exited.is_set():
                change()

    def _watch(self) -> None:
        clock = InterruptibleClock(self._exited)
        # The state was just polled.
        first = clock.now() + self._interval / 2

        def is_over() -> bool:
            if not self._exited.is_set() and clock.now() >= first:
                self._check()
            return self._exited.is_set()

        try:
            wait_until(is_over, what="the end of the boot", deadline=Deadline.never(clock), interval=self._interval)
        except PycloudlibError as error:
            failure = error
            self.while_entered(lambda: self._on_error(failure))
