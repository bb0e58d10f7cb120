"""The timeline of a boot: when the instance reached each stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from pycloudlib.deadline import SYSTEM_CLOCK, Clock


@dataclass(frozen=True)
class Timeline:
    """When an instance reached each stage of its boot: seconds since the request, None for a stage not reached.

    Args:
        requested: the moment, in UTC, of the launch or of the latest start or restart.
        running: EC2 called it running, with an address, or its sshd answered.
        reachable: its sshd answered.
        logged_in: the key was accepted.
        ready: cloud-init ended.
    """

    requested: datetime
    running: float | None = None
    reachable: float | None = None
    logged_in: float | None = None
    ready: float | None = None


class TimelineRecorder:
    """Records the timeline of one boot.

    After a restart, the sshd of the boot before still answers for a while. Contacts count only once the boot is known
    to be the new one; until then, the moment of the first contact is kept aside and dropped when the host turns out to
    be still in the boot before, or disappears.

    Args:
        on_stage: called with each stage that is reached, and the seconds since the request.
        clock: default the real time.
    """

    def __init__(self, on_stage: Callable[[str, float], None], clock: Clock = SYSTEM_CLOCK) -> None:
        self._on_stage = on_stage
        self._clock = clock
        self._requested_at = clock.now()
        self._contacts: dict[str, float] = {}
        self.timeline = Timeline(requested=datetime.now(timezone.utc))

    def reach(self, stage: str) -> None:
        """Record that a stage is reached; only the first time counts.

        Args:
            stage: a field of Timeline.
        """
        self._record(stage, self._clock.now())

    def contact(self, stage: str) -> None:
        """Keep the moment of a contact, of whichever boot it may be.

        Args:
            stage: "reachable" or "logged_in".
        """
        self._contacts.setdefault(stage, self._clock.now())

    def drop_contacts(self) -> None:
        """Forget the contacts: they were with the boot before, or with a boot that ended."""
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
