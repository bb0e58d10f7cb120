"""Instance status checks: whether the guest is reachable, and whether its kernel has panicked."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

from pycloudlib.local.api.moto_adapter import Instance

PANIC = b"Kernel panic - not syncing"
PANIC_BYTES = 4096
"""The bytes at the end of the console searched for a panic; a panicking kernel prints little more."""


class GuestStatus(enum.Enum):
    """The status of a running guest."""

    INITIALIZING = "initializing"
    OK = "ok"
    IMPAIRED = "impaired"


_DETAILS = {GuestStatus.INITIALIZING: "initializing", GuestStatus.OK: "passed", GuestStatus.IMPAIRED: "failed"}


def panicked(console: bytes) -> bool:
    """Return whether a console log ends with a kernel panic."""
    return PANIC in console[-PANIC_BYTES:]


def describe_status(instance: Instance, guest: GuestStatus, impaired_since: datetime | None) -> dict[str, Any]:
    """Describe an instance as DescribeInstanceStatus does.

    Args:
        instance: moto's record of the instance.
        guest: the status of the guest; ignored unless the instance is running.
        impaired_since: the start of the impairment; None without one.
    """
    placement: Any = instance.placement
    running = instance.state == "running"
    system = GuestStatus.INITIALIZING if guest is GuestStatus.INITIALIZING else GuestStatus.OK
    return {
        "InstanceId": instance.id,
        "AvailabilityZone": placement.zone,
        "AvailabilityZoneId": placement.availability_zone_id,
        "InstanceState": {"Code": instance.state_code, "Name": instance.state},
        "InstanceStatus": _summary(guest, impaired_since) if running else {"Status": "not-applicable"},
        "SystemStatus": _summary(system, None) if running else {"Status": "not-applicable"},
        "AttachedEbsStatus": _summary(system, None) if running else {"Status": "not-applicable"},
        "Operator": {"Managed": False},
        "Events": [],
    }


def _summary(status: GuestStatus, impaired_since: datetime | None) -> dict[str, Any]:
    detail: dict[str, Any] = {"Name": "reachability", "Status": _DETAILS[status]}
    if impaired_since is not None:
        detail["ImpairedSince"] = impaired_since
    return {"Status": status.value, "Details": [detail]}
