"""What a guest says about its boot, on the clock of whoever waited; the texts are a real machine's, shortened."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from pycloudlib.guest.probes import ProbeResult
from pycloudlib.timeline.guest import QUESTIONS, Seen, boot_by_itself, boot_record
from pycloudlib.timeline.model import STAGES, BootRecord, Span

REQUESTED = datetime(2026, 11, 27, 13, 37, 10, tzinfo=timezone.utc)
ZERO = REQUESTED.timestamp()
KERNEL = 1.5
"""Seconds after the request at which the kernel started."""

UNITS = """\
Id=getty@tty1.service
InactiveExitTimestampMonotonic=118591157
ActiveEnterTimestampMonotonic=118591157
InactiveEnterTimestampMonotonic=0

Id=ssh.service
InactiveExitTimestampMonotonic=12500000
ActiveEnterTimestampMonotonic=15000000
InactiveEnterTimestampMonotonic=0

Id=systemd-sysusers.service
InactiveExitTimestampMonotonic=4000000
ActiveEnterTimestampMonotonic=0
InactiveEnterTimestampMonotonic=5500000

Id=never.service
InactiveExitTimestampMonotonic=0
ActiveEnterTimestampMonotonic=0
InactiveEnterTimestampMonotonic=0
"""


def event(name: str, kind: str, seconds: float) -> dict[str, object]:
    return {"name": name, "event_type": kind, "timestamp": ZERO + seconds, "description": "", "origin": "cloudinit"}


DUMP = [
    # An earlier boot is in the log too, and not meant.
    event("init-local", "start", -500.0),
    event("init-local", "finish", -490.0),
    event("init-local", "start", 8.0),
    event("init-local/check-cache", "start", 8.1),
    event("init-local/check-cache", "finish", 8.2),
    event("init-local", "finish", 10.5),
    event("modules-final", "start", 20.0),
    event("modules-final", "finish", 23.25),
]


def answers(**changed: ProbeResult) -> dict[str, ProbeResult]:
    told = {
        "clock": ProbeResult(f"{ZERO + 101.5:.6f}\n100.00"),
        "userspace": ProbeResult("UserspaceTimestampMonotonic=6000000\nFinishTimestampMonotonic=25000000"),
        "units": ProbeResult(UNITS),
        "cloud_init": ProbeResult(json.dumps(DUMP)),
    }
    assert set(told) == set(QUESTIONS)
    return told | changed


def record(told: dict[str, ProbeResult]) -> BootRecord:
    seen = Seen(REQUESTED, running=0.6, reachable=17.0, logged_in=17.5, ready=24.0)
    found = boot_record(told, seen, label="bookworm", image_id="ami-1", instance_id="i-1")
    assert found is not None
    return found


def test_stages_seen_from_outside_and_from_inside_are_on_one_clock() -> None:
    reached = record(answers()).reached
    assert list(reached) == list(STAGES)
    assert reached == pytest.approx(
        {
            "running": 0.6,
            "kernel": KERNEL,
            "userspace": KERNEL + 6,
            "reachable": 17.0,
            "logged_in": 17.5,
            "ready": 24.0,
        },
        abs=0.01,
    )


def test_units_are_from_their_start_until_they_are_up_or_over() -> None:
    units = [span for span in record(answers()).spans if span.kind == "unit"]
    assert units == [
        Span("systemd-sysusers.service", "unit", pytest.approx(KERNEL + 4.0, abs=0.01), 1.5),
        Span("ssh.service", "unit", pytest.approx(KERNEL + 12.5, abs=0.01), 2.5),
    ]


def test_cloud_inits_stages_are_those_of_the_latest_boot() -> None:
    stages = [span for span in record(answers()).spans if span.kind == "cloud-init"]
    assert [(span.name.partition(":")[0], span.start, span.seconds) for span in stages] == [
        ("init-local", pytest.approx(8.0, abs=0.01), pytest.approx(2.5, abs=0.01)),
        ("modules", pytest.approx(20.0, abs=0.01), pytest.approx(3.25, abs=0.01)),
    ]


def test_guest_without_cloud_init_or_systemd_has_fewer_spans() -> None:
    found = record(
        answers(
            cloud_init=ProbeResult("sh: 1: cloud-init: not found", 127),
            units=ProbeResult("", 127),
            userspace=ProbeResult("", 127),
        )
    )
    assert found.spans == ()
    assert "userspace" not in found.reached


def test_guest_without_a_clock_has_no_record() -> None:
    silent = answers(clock=ProbeResult("date: not found", 127))
    assert boot_record(silent, Seen(REQUESTED), label="", image_id="", instance_id="") is None
    assert boot_by_itself(silent, label="", image_id="", instance_id="") is None


def test_a_boot_that_nobody_waited_for_is_counted_from_the_start_of_its_kernel() -> None:
    found = boot_by_itself(answers(), label="mine", image_id="ami-1", instance_id="i-1")
    assert found is not None
    assert found.label == "mine"
    assert found.reached == pytest.approx(
        {"kernel": 0.0, "userspace": 6.0, "reachable": 15.0, "ready": 23.25 - KERNEL}, abs=0.02
    )
    assert found.requested == "2026-11-27T13:37:11+00:00"
