"""Volumes and snapshots of a simulated cloud, without contents but with realistic durations."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from pycloudlib.local.machines.base import Disk
from pycloudlib.local.machines.commands import End, Freeze
from pycloudlib.local.machines.simulated import SimulatedDriver
from pycloudlib.local.storage.volumes import BaseDisk, Done, Submit, TakeSnapshot, VolumeStore


class SimulatedDisk(Disk):
    """A volume without contents, for machines without a guest."""

    def file(self) -> Path:
        """Return a path; no guest reads it."""
        return Path(os.devnull)

    def grow(self, size_gb: int) -> None:
        """No-op."""


class SimulatedStore(VolumeStore):
    """Volumes without contents, and snapshots with a duration.

    Args:
        driver: provides timers, and the duration of an image.
    """

    def __init__(self, driver: SimulatedDriver) -> None:
        self._driver = driver
        self._started: dict[str, float] = {}

    def offer(self, snapshot_id: str, base: BaseDisk) -> None:
        """No-op."""

    def create(self, volume_id: str, size_gb: int, snapshot_id: str | None) -> None:
        """No-op."""

    def disk(self, volume_id: str) -> Disk:
        """Return a volume as a disk of a machine."""
        return SimulatedDisk(volume_id)

    def grow(self, volume_id: str, size_gb: int) -> None:
        """No-op."""

    def delete(self, volume_id: str) -> None:
        """No-op."""

    def snapshot(self, snapshot_id: str, volume_id: str) -> TakeSnapshot:
        """Prepare a snapshot."""
        return partial(self._take, snapshot_id, volume_id)

    def copy_snapshot(self, snapshot_id: str, source_id: str, done: Done) -> None:
        """Report the copy as done after the duration of an image."""
        self._begin(snapshot_id, done)

    def progress(self, snapshot_id: str) -> int:
        """Return the elapsed share of a snapshot's duration in percent, at most 99."""
        started, seconds = self._started.get(snapshot_id), self._driver.times.image
        if started is None or seconds <= 0:
            return 0
        return min(99, int(100 * (time.monotonic() - started) / seconds))

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete the start time of the snapshot."""
        self._started.pop(snapshot_id, None)

    def _take(self, snapshot_id: str, volume_id: str, submit: Submit | None, done: Done) -> None:
        def frozen(end: End) -> None:
            if end.error is None:
                self._begin(snapshot_id, done)
            else:
                done(end.error)

        if submit is None:
            self._begin(snapshot_id, done)
        else:
            disk = self.disk(volume_id)
            submit(Freeze(disk, disk.file()), frozen)

    def _begin(self, snapshot_id: str, done: Done) -> None:
        self._started[snapshot_id] = time.monotonic()
        self._driver.after(self._driver.times.image, lambda: done(None))
