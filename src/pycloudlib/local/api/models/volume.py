"""A volume, its attachment, and its modifications."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pycloudlib.local.api.models.volume_types import Performance
from pycloudlib.local.api.moto_adapter import Volume, VolumeAttachment, VolumeModification, utcnow
from pycloudlib.local.machines.base import Kernel

_ALL = 100
"""Percent."""


class LocalAttachment(VolumeAttachment):
    """The attachment of a volume, in any state."""

    @property
    def delete_on_termination(self) -> bool:
        """Whether terminating the instance deletes the volume."""
        mapped = self.instance.block_device_mapping.get(self.device)
        return bool(mapped and mapped.delete_on_termination)


class LocalModification(VolumeModification):
    """A modification of a volume: "modifying" until `finish` is called, then "optimizing" for a while.

    Args:
        volume: the volume.
        size_gb: the volume's size in GiB after the modification.
        performance: the volume's performance after the modification.
        optimize_seconds: seconds in the state "optimizing".
    """

    def __init__(self, volume: Volume, size_gb: int, performance: Performance, optimize_seconds: float) -> None:
        self.volume = volume
        self.start_time = utcnow()
        self.original_size, self.original_volume_type = volume.size, volume.volume_type
        self.original_iops, self.original_throughput = volume.iops, volume.throughput
        self.target_size, self.target_volume_type = size_gb, performance.volume_type
        self.target_iops, self.target_throughput = performance.iops, performance.throughput
        self.original_multi_attach_enabled = self.target_multi_attach_enabled = False
        self.status_message: str | None = None
        self._optimize_seconds = optimize_seconds
        self._finished: float | None = None
        self._ends: datetime | None = None

    @property
    def modification_state(self) -> str:
        """The modification state: "modifying", "optimizing", "completed", or "failed"."""
        if self._finished is None:
            return "modifying"
        if self.status_message is not None:
            return "failed"
        return "completed" if self.progress == _ALL else "optimizing"

    @property
    def progress(self) -> int:
        """The progress in percent: the elapsed share of "optimizing"."""
        if self._finished is None or self.status_message is not None:
            return 0
        elapsed = time.monotonic() - self._finished
        return _ALL if elapsed >= self._optimize_seconds else int(_ALL * elapsed / self._optimize_seconds)

    @property
    def end_time(self) -> datetime | None:  # type: ignore[override]  # moto's is an attribute
        """The time of completion or failure; None before."""
        return self._ends if self.modification_state in ("completed", "failed") else None

    def finish(self, error: Exception | None) -> None:
        """Record the outcome of the modification: an error, or None for success."""
        self.status_message = str(error) if error else None
        self._finished = time.monotonic()
        self._ends = utcnow() if error else utcnow() + timedelta(seconds=self._optimize_seconds)


class LocalVolume(Volume):
    """A volume whose contents are in the server's store."""

    kernel: Kernel | None = None
    """The kernel of machines with this root volume; None if the volume has a boot loader."""
    operator: Mapping[str, bool] = {"Managed": False}

    @property
    def availability_zone_id(self) -> str:
        """The id of the volume's availability zone."""
        return str(self.zone.zone_id)

    @property
    def is_being_modified(self) -> bool:
        """Whether a modification is in progress."""
        return self._modification_state in ("modifying", "optimizing")

    @property
    def target_size(self) -> int:
        """The size in GiB, after a modification in progress if there is one."""
        if self._modification_state != "modifying":
            return int(self.size)
        return int(self.modifications[-1].target_size or self.size)

    @property
    def _modification_state(self) -> str | None:
        latest: Any = self.modifications[-1] if self.modifications else None
        return latest.modification_state if latest is not None else None
