"""A volume, its attachment, and its modifications."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pycloudlib.local.api.models.volume_types import Performance
from pycloudlib.local.api.moto_adapter import Volume, VolumeAttachment, VolumeModification, utcnow
from pycloudlib.local.machines.base import Kernel


class LocalAttachment(VolumeAttachment):
    """The attachment of a volume, in any of its states."""

    @property
    def delete_on_termination(self) -> bool:
        """Whether terminating the instance deletes the volume."""
        mapped = self.instance.block_device_mapping.get(self.device)
        return bool(mapped and mapped.delete_on_termination)


class LocalModification(VolumeModification):
    """A modification of a volume, in progress until `finish` is called."""

    def __init__(self, volume: Volume, size_gb: int, performance: Performance) -> None:
        before = (volume.size, volume.volume_type, volume.iops, volume.throughput)
        super().__init__(volume, size_gb)
        self.original_size, self.original_volume_type, self.original_iops, self.original_throughput = before
        self.target_volume_type = performance.volume_type
        self.target_iops, self.target_throughput = performance.iops, performance.throughput
        self.original_multi_attach_enabled = self.target_multi_attach_enabled = False
        self.end_time: datetime | None = None  # type: ignore[assignment]  # moto's always has one
        self.status_message: str | None = None
        self._state = "modifying"

    @property
    def modification_state(self) -> str:
        """Its state: "modifying", "completed" or "failed"."""
        return self._state

    @property
    def progress(self) -> int:
        """Its progress in percent."""
        return 100 if self._state == "completed" else 0

    def finish(self, error: Exception | None) -> None:
        """Record its end."""
        self._state = "failed" if error else "completed"
        self.status_message = str(error) if error else None
        self.end_time = utcnow()


class LocalVolume(Volume):
    """A volume whose contents are in the server's store."""

    kernel: Kernel | None = None
    """The kernel of machines with this root volume; None if the volume has a boot loader."""
    operator: Mapping[str, bool] = {"Managed": False}

    @property
    def availability_zone_id(self) -> str:
        """The id of its zone."""
        return str(self.zone.zone_id)

    @property
    def growth(self) -> LocalModification | None:
        """The modification in progress; None without one."""
        latest: Any = self.modifications[-1] if self.modifications else None
        return latest if latest is not None and latest.modification_state == "modifying" else None

    @property
    def size_to_be(self) -> int:
        """Its size in GiB after the modification in progress."""
        return (self.growth and self.growth.target_size) or self.size
