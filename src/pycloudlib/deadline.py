"""Deadlines: one per public call, passed down to everything that waits."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Protocol

from pycloudlib.errors import InvalidArgumentError


class Clock(Protocol):
    """A clock that can also sleep."""

    def now(self) -> float:
        """Return the monotonic time in seconds."""

    def sleep(self, seconds: float) -> None:
        """Sleep for some seconds."""


class SystemClock:
    """The real time."""

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep for some seconds."""
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()

LONGEST = 10 * 365 * 86400.0
"""The longest timeout in seconds; threading and socket reject much larger numbers."""


def check_timeout(value: object, unit: str = "seconds") -> float:
    """Validate a caller's timeout before creating anything.

    Args:
        value: the timeout.
        unit: the unit for the message; default "seconds".

    Returns:
        The timeout.

    Raises:
        InvalidArgumentError: the timeout is not a number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise InvalidArgumentError(f"the timeout is {value!r}; it must be a number of {unit}")
    return value


@dataclass(frozen=True)
class Deadline:
    """The time by which a call must end. Create one with `after()` or `never()`.

    Args:
        at: the time on the clock; infinity for none.
        seconds: the total time of the call, for messages.
        clock: the clock of `at`; default the real time.
    """

    at: float
    seconds: float
    clock: Clock = field(default=SYSTEM_CLOCK, repr=False)

    @classmethod
    def after(cls, seconds: float | None, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """Return a deadline some seconds from now.

        Args:
            seconds: the seconds; 0 or less has passed already; None or more than LONGEST never passes.
            clock: the clock; default the real time.

        Raises:
            InvalidArgumentError: `seconds` is not a number.
        """
        if seconds is None:
            return cls.never(clock)
        if check_timeout(seconds) > LONGEST:
            return cls.never(clock)
        return cls(clock.now() + seconds, seconds, clock)

    @classmethod
    def never(cls, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """Return a deadline that never passes.

        Args:
            clock: the clock; default the real time.
        """
        return cls(math.inf, math.inf, clock)

    @property
    def remaining(self) -> float:
        """The remaining seconds: 0 after the deadline, infinity without one."""
        return max(0.0, self.at - self.clock.now())

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self.clock.now() >= self.at

    @property
    def timeout(self) -> float | None:
        """The remaining seconds in the form of threading and socket: None without a deadline."""
        return None if math.isinf(self.at) else self.remaining

    def at_most(self, seconds: float) -> Deadline:
        """Return the earlier of this deadline and some seconds from now.

        Args:
            seconds: the maximum time for one step of the call.
        """
        return self if self.at <= self.clock.now() + seconds else Deadline.after(seconds, self.clock)

    def at_least(self, seconds: float) -> Deadline:
        """Return the later of this deadline and some seconds from now.

        Args:
            seconds: the minimum time for the last step of the call.
        """
        later = self.clock.now() + seconds
        return self if self.at >= later else Deadline(later, max(self.seconds, seconds), self.clock)
