"""Instance status checks: whether the guest answers on the network, and whether its kernel runs."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

from pycloudlib.local.api.moto_adapter import Instance

PANIC = b"Kernel panic - not syncing"
PANIC_BYTES = 4096
"""How near the end of its console a panic has to be; a kernel that panics prints little after it."""


class GuestStatus(enum.Enum):
    """What is known of a running guest."""

    INITIALIZING = "initializing"
    OK = "ok"
    IMPAIRED = "impaired"


_DETAILS = {GuestStatus.INITIALIZING: "initializing", GuestStatus.OK: "passed", GuestStatus.IMPAIRED: "failed"}


def panicked(console: bytes) -> bool:
    """Return whether a console ends with a kernel panic."""
    return PANIC in console[-PANIC_BYTES:]


def describe_status(instance: Instance, guest: GuestStatus, impaired_since: datetime | None) -> dict[str, Any]:
    """Describe an instance as DescribeInstanceStatus does.

    Args:
        instance: its record.
        guest: what is known of its guest, if it runs.
        impaired_since: since when it is impaired; None if it is not.
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
