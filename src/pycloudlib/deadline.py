"""The moment by which a call must end: one per public call, passed down to everything that waits."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Protocol

from pycloudlib.errors import InvalidArgumentError


class Clock(Protocol):
    """A source of time, and a way to let it pass."""

    def now(self) -> float:
        """Return the seconds since some fixed moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""


class SystemClock:
    """The real time."""

    def now(self) -> float:
        """Return the seconds since some fixed moment; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()

LONGEST = 10 * 365 * 86400.0
"""Seconds beyond which nobody waits; threading and socket refuse numbers much larger than that."""


def check_timeout(value: object, unit: str = "seconds") -> float:
    """Return a time-out that a caller passed; for calls that create something before they wait.

    Args:
        value: what was passed.
        unit: for the message; default "seconds".

    Raises:
        InvalidArgumentError: it is not a number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise InvalidArgumentError(f"the timeout is {value!r}; it must be a number of {unit}")
    return value


@dataclass(frozen=True)
class Deadline:
    """The moment by which a call must end. Make one with after() or never().

    Args:
        at: the moment, on the clock; infinity for none.
        seconds: the whole time that the call was given; for messages.
        clock: the clock that both refer to.
    """

    at: float
    seconds: float
    clock: Clock = field(default=SYSTEM_CLOCK, repr=False)

    @classmethod
    def after(cls, seconds: float | None, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """Return the deadline that many seconds from now.

        Args:
            seconds: 0 or less has passed at once; None, and more than LONGEST, never passes.
            clock: default the real time.

        Raises:
            InvalidArgumentError: it is not a number.
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
            clock: default the real time.
        """
        return cls(math.inf, math.inf, clock)

    @property
    def remaining(self) -> float:
        """Seconds left: 0 after the deadline, infinity when there is none."""
        return max(0.0, self.at - self.clock.now())

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self.clock.now() >= self.at

    @property
    def timeout(self) -> float | None:
        """Seconds left, as threading and socket take them: None when there is no deadline."""
        return None if math.isinf(self.at) else self.remaining

    def at_most(self, seconds: float) -> Deadline:
        """Return the earlier one of this deadline and that many seconds from now.

        Args:
            seconds: the most that one step of the call may take.
        """
        return self if self.at <= self.clock.now() + seconds else Deadline.after(seconds, self.clock)

    def at_least(self, seconds: float) -> Deadline:
        """Return the later one of this deadline and that many seconds from now.

        Args:
            seconds: the time that the last step of the call gets, however late it is.
        """
        later = self.clock.now() + seconds
        return self if self.at >= later else Deadline(later, max(self.seconds, seconds), self.clock)
