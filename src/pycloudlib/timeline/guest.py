"""What the guest tells of its own boot: systemd's units and cloud-init's stages, put on the clock of whoever waits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Protocol

from pycloudlib.guest.questions import Answer
from pycloudlib.timeline.model import STAGES, BootRecord, Span

QUESTIONS: Mapping[str, str] = {
    # First of all, so that little time passes between it and the moment at which the question was put.
    "clock": "date +%s.%N; cut -d' ' -f1 /proc/uptime",
    "userspace": "systemctl show -p UserspaceTimestampMonotonic -p FinishTimestampMonotonic",
    "units": (
        "systemctl show '*.service' '*.mount' '*.socket' '*.swap'"
        " -p Id -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic -p InactiveEnterTimestampMonotonic"
    ),
    "cloud_init": "cloud-init analyze dump",
}
"""Shell commands by the name of the answer."""

MICROSECONDS = 1e6
SHORTEST = 0.01
"""Seconds; what takes less is not worth a line."""

STAGE_NAMES = {
    "init-local": "init-local: data source, network configuration",
    "init-network": "init: users, keys, disks",
    "modules-config": "modules: config",
    "modules-final": "modules: final, user data",
}


class Milestones(Protocol):
    """When somebody who waited saw the instance come how far: EC2Instance.timeline is such."""

    @property
    def requested(self) -> datetime:
        """The moment, in UTC."""

    @property
    def running(self) -> float | None:
        """Seconds from then until EC2 called it running."""

    @property
    def reachable(self) -> float | None:
        """Seconds until its sshd answered."""

    @property
    def logged_in(self) -> float | None:
        """Seconds until the key was accepted."""

    @property
    def ready(self) -> float | None:
        """Seconds until cloud-init was done."""


@dataclass(frozen=True)
class Seen:
    """Milestones of a boot that nobody waited for.

    Args:
        requested: the moment that seconds are counted from, in UTC.
        running: seconds until EC2 called it running; default unknown.
        reachable: seconds until its sshd answered; default unknown.
        logged_in: seconds until the key was accepted; default unknown.
        ready: seconds until cloud-init was done; default unknown.
    """

    requested: datetime
    running: float | None = None
    reachable: float | None = None
    logged_in: float | None = None
    ready: float | None = None


def boot_record(
    answers: Mapping[str, Answer], seen: Milestones, *, label: str, image_id: str, instance_id: str
) -> BootRecord | None:
    """Put what the guest says and what was seen from outside on one clock.

    Args:
        answers: of the guest, to QUESTIONS.
        seen: from outside.
        label: what the boot is compared by.
        image_id: the AMI.
        instance_id: the instance.

    Returns:
        The boot; None when the guest does not tell the time.
    """
    booted = _kernel_started(answers["clock"])
    if booted is None:
        return None
    # Both clocks are set by NTP or by the host, so that they agree better than any question and its answer would tell.
    zero = seen.requested.timestamp()
    kernel = max(0.0, booted - zero)
    reached = {"kernel": kernel}
    reached |= {
        stage: seconds
        for stage in ("running", "reachable", "logged_in", "ready")
        if (seconds := getattr(seen, stage)) is not None
    }
    if (userspace := _property(answers["userspace"].text, "UserspaceTimestampMonotonic")) > 0:
        reached["userspace"] = kernel + userspace
    spans = [*_cloud_init(answers["cloud_init"], zero), *_units(answers["units"].text, kernel)]
    return BootRecord(
        label=label,
        image_id=image_id,
        instance_id=instance_id,
        requested=seen.requested.isoformat(timespec="seconds"),
        reached={stage: round(reached[stage], 3) for stage in STAGES if stage in reached},
        spans=tuple(sorted(spans, key=lambda span: span.start)),
    )


def boot_by_itself(answers: Mapping[str, Answer], *, label: str, image_id: str, instance_id: str) -> BootRecord | None:
    """What a machine tells that nobody waited for: seconds are counted from the start of its kernel.

    Args:
        answers: of the guest, to QUESTIONS.
        label: what the boot is compared by.
        image_id: the AMI.
        instance_id: the instance.

    Returns:
        The boot; None when the guest does not tell the time.
    """
    booted = _kernel_started(answers["clock"])
    if booted is None:
        return None
    units = {span.name: span for span in _units(answers["units"].text, 0.0)}
    sshd = next((units[name] for name in ("ssh.service", "sshd.service") if name in units), None)
    stages = _cloud_init(answers["cloud_init"], booted)
    seen = Seen(
        datetime.fromtimestamp(booted, tz=timezone.utc),
        reachable=sshd.start + sshd.seconds if sshd else None,
        ready=max((span.start + span.seconds for span in stages), default=None),
    )
    return boot_record(answers, seen, label=label, image_id=image_id, instance_id=instance_id)


def _kernel_started(clock: Answer) -> float | None:
    """The time of the guest's clock at which its kernel started, in seconds since 1970."""
    try:
        now, uptime = map(float, clock.text.split())
    except ValueError:
        return None
    return now - uptime


def _cloud_init(dump: Answer, zero: float) -> list[Span]:
    """The stages of the latest boot; each module is a part of one, and told by cloud-init itself."""
    try:
        events: list[dict[str, Any]] = json.loads(dump.text)
    except ValueError:
        return []
    begun: dict[str, float] = {}
    found: dict[str, Span] = {}
    for event in events:
        name, at = str(event["name"]), float(event["timestamp"]) - zero
        if name not in STAGE_NAMES:
            continue
        if event["event_type"] == "start":
            begun[name] = at
        elif name in begun:
            start = begun.pop(name)
            found[name] = Span(STAGE_NAMES[name], "cloud-init", round(start, 3), round(at - start, 3))
    return list(found.values())


def _units(text: str, kernel: float) -> Iterator[Span]:
    """Each unit from the moment at which it was started until it was up; one that ran once, until it was over."""
    for block in text.split("\n\n"):
        begun = _property(block, "InactiveExitTimestampMonotonic")
        up = _property(block, "ActiveEnterTimestampMonotonic") or _property(block, "InactiveEnterTimestampMonotonic")
        name = re.search(r"^Id=(.+)$", block, re.MULTILINE)
        if name and begun and up - begun >= SHORTEST:
            yield Span(name.group(1), "unit", round(kernel + begun, 3), round(up - begun, 3))


def _property(text: str, name: str) -> float:
    """A moment that systemd tells, in seconds since the kernel started; 0 when it has not come."""
    found = re.search(rf"^{name}=(\d+)$", text, re.MULTILINE)
    return int(found.group(1)) / MICROSECONDS if found else 0.0
