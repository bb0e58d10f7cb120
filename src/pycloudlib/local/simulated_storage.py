"""Volumes and snapshots of a simulated cloud: known by name, and as long under way as the clock says."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from pycloudlib.local.machines.base import Disk, Machine
from pycloudlib.local.machines.simulated import SimulatedDriver
from pycloudlib.local.storage import BaseDisk, Done, Freeze, VolumeStore


class SimulatedDisk(Disk):
    """A volume with nothing on it, for machines without a guest."""

    def file(self) -> Path:
        """Nothing ever looks into it."""
        return Path(os.devnull)


class SimulatedStore(VolumeStore):
    """Volumes that are only known by name, and snapshots that take their time.

    Args:
        driver: lets the time pass, and knows how long an image takes.
    """

    def __init__(self, driver: SimulatedDriver) -> None:
        self._driver = driver
        self._begun: dict[str, float] = {}

    def offer(self, snapshot_id: str, base: BaseDisk) -> None:
        """Nothing to do."""

    def create(self, volume_id: str, size_gb: int, snapshot_id: str | None) -> None:
        """Nothing to do."""

    def disk(self, volume_id: str) -> Disk:
        """Give a volume to a machine."""
        return SimulatedDisk(volume_id)

    def grow(self, volume_id: str, size_gb: int) -> None:
        """Nothing to do."""

    def delete(self, volume_id: str) -> None:
        """Nothing to do."""

    def snapshot(self, snapshot_id: str, volume_id: str) -> Freeze:
        """Prepare a snapshot."""
        return partial(self._take, snapshot_id)

    def copy_snapshot(self, snapshot_id: str, source_id: str, done: Done) -> None:
        """Say after a while that it was copied."""
        self._take(snapshot_id, None, done)

    def progress(self, snapshot_id: str) -> int:
        """How much of the time has passed, in per cent."""
        begun, seconds = self._begun.get(snapshot_id), self._driver.times.image
        if begun is None or seconds <= 0:
            return 0
        return min(99, int(100 * (time.monotonic() - begun) / seconds))

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Forget when it was begun."""
        self._begun.pop(snapshot_id, None)

    def _take(self, snapshot_id: str, machine: Machine | None, done: Done) -> None:
        self._begun[snapshot_id] = time.monotonic()
        self._driver.after(self._driver.times.image, lambda: done(None))
