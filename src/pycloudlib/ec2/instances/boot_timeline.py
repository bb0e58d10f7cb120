"""The timeline of a boot: when the instance reached each stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from pycloudlib.deadline import SYSTEM_CLOCK, Clock


@dataclass(frozen=True)
class Timeline:
    """The stages of a boot: seconds since the request, or None for a stage not reached.

    Args:
        requested: the time of the launch, or of the latest start or restart, in UTC.
        running: EC2 reported it as running with an address, or its sshd responded.
        reachable: its sshd responded.
        logged_in: the key was accepted.
        ready: cloud-init finished.
    """

    requested: datetime
    running: float | None = None
    reachable: float | None = None
    logged_in: float | None = None
    ready: float | None = None


class TimelineRecorder:
    """Records the timeline of one boot.

    After a restart, the sshd of the previous boot still responds for a while. Keep the time of the first contact aside
    until the boot is known to be the new one. Drop it if the host is still in the previous boot, or disappears.

    Args:
        on_stage: called with each reached stage, and the seconds since the request.
        clock: the clock; default the real time.
    """

    def __init__(self, on_stage: Callable[[str, float], None], clock: Clock = SYSTEM_CLOCK) -> None:
        self._on_stage = on_stage
        self._clock = clock
        self._requested_at = clock.now()
        self._contacts: dict[str, float] = {}
        self.timeline = Timeline(requested=datetime.now(timezone.utc))

    def reach(self, stage: str) -> None:
        """Record that a stage is reached. No-op if it was reached before.

        Args:
            stage: a field of Timeline.
        """
        self._record(stage, self._clock.now())

    def contact(self, stage: str) -> None:
        """Keep the time of a contact with an unknown boot.

        Args:
            stage: "reachable" or "logged_in".
        """
        self._contacts.setdefault(stage, self._clock.now())

    def drop_contacts(self) -> None:
        """Drop the contacts: they were with the previous boot, or with a boot that ended."""
        self._contacts.clear()

    def confirm_contacts(self) -> None:
        """Record the contacts: they were with this boot."""
        for stage, moment in self._contacts.items():
            self._record(stage, moment)

    def _record(self, stage: str, moment: float) -> None:
        if getattr(self.timeline, stage) is None:
            seconds: Any = round(moment - self._requested_at, 3)
            self.timeline = replace(self.timeline, **{stage: seconds})
            self._on_stage(stage, seconds)
