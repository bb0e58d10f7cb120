"""Boots that are made up, for pictures and numbers."""

from __future__ import annotations

from pycloudlib.timeline.model import BootRecord, Span

STAGES = {"running": 0.6, "kernel": 1.2, "userspace": 7.4, "reachable": 18.0, "logged_in": 18.6, "ready": 24.0}


def boot(label: str = "bookworm", number: int = 1, factor: float = 1.0) -> BootRecord:
    """A boot of an image, slower by a factor."""
    spans = (
        Span("init-local: data source, network configuration", "cloud-init", 8.0 * factor, 3.0 * factor),
        Span("ssh.service", "unit", 12.0 * factor, 2.5 * factor),
        Span("modules: final, user data", "cloud-init", 19.0 * factor, 5.0 * factor),
    )
    reached = {stage: seconds * factor for stage, seconds in STAGES.items()}
    return BootRecord(label, "ami-1", f"i-{number:017x}", "2026-11-27T13:00:00+00:00", reached, spans)
