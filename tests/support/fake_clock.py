"""A clock on which time passes only by sleeping."""

from __future__ import annotations


class FakeClock:
    """What a Deadline can be given instead of the system's clock.

    Args:
        time: what it shows at first, in seconds.
    """

    def __init__(self, time: float = 0.0) -> None:
        self.time = time
        self.pauses: list[float] = []

    def now(self) -> float:
        """Tell the time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let the time pass, and note the pause."""
        self.pauses.append(seconds)
        self.time += seconds
