"""The guest's report on its own boot: systemd's units and cloud-init's stages, relative to the launch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Protocol

from pycloudlib.guest.probes import ProbeResult
from pycloudlib.timeline.model import STAGES, BootRecord, Span

QUESTIONS: Mapping[str, str] = {
    # First, so that little time passes after the start of the command.
    "clock": "date +%s.%N; cut -d' ' -f1 /proc/uptime",
    "userspace": "systemctl show -p UserspaceTimestampMonotonic -p FinishTimestampMonotonic",
    "units": (
        "systemctl show '*.service' '*.mount' '*.socket' '*.swap'"
        " -p Id -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic -p InactiveEnterTimestampMonotonic"
    ),
    "cloud_init": "cloud-init analyze dump",
}
"""Shell commands by the name of the probe."""

MICROSECONDS = 1e6
SHORTEST = 0.01
"""Seconds below which a unit is omitted."""

STAGE_NAMES = {
    "init-local": "init-local: data source, network configuration",
    "init-network": "init: users, keys, disks",
    "modules-config": "modules: config",
    "modules-final": "modules: final, user data",
}


class Milestones(Protocol):
    """The milestones of a boot, as seen by a waiting caller, such as `EC2Instance.timeline`."""

    @property
    def requested(self) -> datetime:
        """The time of the request, in UTC."""

    @property
    def running(self) -> float | None:
        """Seconds from the request until EC2 reported it as running."""

    @property
    def reachable(self) -> float | None:
        """Seconds until its sshd responded."""

    @property
    def logged_in(self) -> float | None:
        """Seconds until the key was accepted."""

    @property
    def ready(self) -> float | None:
        """Seconds until cloud-init finished."""


@dataclass(frozen=True)
class Seen:
    """The milestones of a boot without a waiting caller.

    Args:
        requested: the start of the time scale, in UTC.
        running: seconds until EC2 reported it as running; default unknown.
        reachable: seconds until its sshd responded; default unknown.
        logged_in: seconds until the key was accepted; default unknown.
        ready: seconds until cloud-init finished; default unknown.
    """

    requested: datetime
    running: float | None = None
    reachable: float | None = None
    logged_in: float | None = None
    ready: float | None = None


def boot_record(
    results: Mapping[str, ProbeResult], seen: Milestones, *, label: str, image_id: str, instance_id: str
) -> BootRecord | None:
    """Combine the guest's report and the milestones on one time scale.

    Args:
        results: the guest's results of QUESTIONS.
        seen: the milestones.
        label: the group of the boot in comparisons.
        image_id: the AMI id.
        instance_id: the instance id.

    Returns:
        The boot record; None if the guest does not report the time.
    """
    booted = _kernel_started(results["clock"])
    if booted is None:
        return None
    # NTP or the host sets both clocks, so they agree better than a round trip could measure.
    zero = seen.requested.timestamp()
    kernel = max(0.0, booted - zero)
    reached = {"kernel": kernel}
    reached |= {
        stage: seconds
        for stage in ("running", "reachable", "logged_in", "ready")
        if (seconds := getattr(seen, stage)) is not None
    }
    if (userspace := _property(results["userspace"].text, "UserspaceTimestampMonotonic")) > 0:
        reached["userspace"] = kernel + userspace
    spans = [*_cloud_init(results["cloud_init"], zero), *_units(results["units"].text, kernel)]
    return BootRecord(
        label=label,
        image_id=image_id,
        instance_id=instance_id,
        requested=seen.requested.isoformat(timespec="seconds"),
        reached={stage: round(reached[stage], 3) for stage in STAGES if stage in reached},
        spans=tuple(sorted(spans, key=lambda span: span.start)),
    )


def boot_by_itself(
    results: Mapping[str, ProbeResult], *, label: str, image_id: str, instance_id: str
) -> BootRecord | None:
    """Return the record of a boot without a waiting caller: seconds since the kernel started.

    Args:
        results: the guest's results of QUESTIONS.
        label: the group of the boot in comparisons.
        image_id: the AMI id.
        instance_id: the instance id.

    Returns:
        The boot record; None if the guest does not report the time.
    """
    booted = _kernel_started(results["clock"])
    if booted is None:
        return None
    units = {span.name: span for span in _units(results["units"].text, 0.0)}
    sshd = next((units[name] for name in ("ssh.service", "sshd.service") if name in units), None)
    stages = _cloud_init(results["cloud_init"], booted)
    seen = Seen(
        datetime.fromtimestamp(booted, tz=timezone.utc),
        reachable=sshd.start + sshd.seconds if sshd else None,
        ready=max((span.start + span.seconds for span in stages), default=None),
    )
    return boot_record(results, seen, label=label, image_id=image_id, instance_id=instance_id)


def _kernel_started(clock: ProbeResult) -> float | None:
    """Return the start of the kernel on the guest's clock, in seconds since the epoch."""
    try:
        now, uptime = map(float, clock.text.split())
    except ValueError:
        return None
    return now - uptime


def _cloud_init(dump: ProbeResult, zero: float) -> list[Span]:
    """Return the stages of the latest boot, without their modules, which cloud-init itself reports."""
    try:
        events: list[dict[str, Any]] = json.loads(dump.text)
    except ValueError:
        return []
    started: dict[str, float] = {}
    spans: dict[str, Span] = {}
    for event in events:
        name, moment = str(event["name"]), float(event["timestamp"]) - zero
        if name not in STAGE_NAMES:
            continue
        if event["event_type"] == "start":
            started[name] = moment
        elif name in started:
            start = started.pop(name)
            spans[name] = Span(STAGE_NAMES[name], "cloud-init", round(start, 3), round(moment - start, 3))
    return list(spans.values())


def _units(text: str, kernel: float) -> Iterator[Span]:
    """Yield each unit, from its start until it was active; a one-shot unit until it finished."""
    for block in text.split("\n\n"):
        started = _property(block, "InactiveExitTimestampMonotonic")
        up = _property(block, "ActiveEnterTimestampMonotonic") or _property(block, "InactiveEnterTimestampMonotonic")
        name = re.search(r"^Id=(.+)$", block, re.MULTILINE)
        if name and started and up - started >= SHORTEST:
            yield Span(name.group(1), "unit", round(kernel + started, 3), round(up - started, 3))


def _property(text: str, name: str) -> float:
    """Return a systemd timestamp in seconds since the kernel started; 0 if it is not reached."""
    match = re.search(rf"^{name}=(\d+)$", text, re.MULTILINE)
    return int(match.group(1)) / MICROSECONDS if match else 0.0
