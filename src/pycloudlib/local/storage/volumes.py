"""The contents of volumes and snapshots, in shared layers that are never copied."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pycloudlib.errors import PycloudlibError
from pycloudlib.local import qemu_img
from pycloudlib.local.images.usage import in_use
from pycloudlib.local.machines.base import Disk
from pycloudlib.local.machines.commands import Command, Ended, Freeze


@dataclass(frozen=True)
class BaseDisk:
    """A disk image as the initial contents of volumes.

    Args:
        path: the image's file, which is never written to.
        format: the format in QEMU's terms, such as "raw" or "qcow2".
    """

    path: Path
    format: str


Done = Callable[[Exception | None], None]
"""Called with None on success, else with the error; possibly from another thread."""

Submit = Callable[[Command, Ended], None]
"""Queues a command for the machine that a volume is attached to."""

TakeSnapshot = Callable[["Submit | None", Done], None]
"""Takes a prepared snapshot; Submit is None for a detached volume."""


class VolumeStore(ABC):
    """The contents of all volumes and snapshots of a server."""

    @abstractmethod
    def offer(self, snapshot_id: str, base: BaseDisk) -> None:
        """Register an image's disk as a snapshot. No-op if it is registered."""

    @abstractmethod
    def create(self, volume_id: str, size_gb: int, snapshot_id: str | None) -> None:
        """Record a volume; create its file on first use.

        Args:
            volume_id: the volume.
            size_gb: the size in GiB.
            snapshot_id: the snapshot with the initial contents; None for an empty volume.

        Raises:
            ImageError: the snapshot is of a removed image.
        """

    @abstractmethod
    def disk(self, volume_id: str) -> Disk:
        """Return a volume as a disk of a machine."""

    @abstractmethod
    def grow(self, volume_id: str, size_gb: int) -> None:
        """Grow a detached volume.

        Raises:
            LocalEC2Error: the volume cannot be grown.
        """

    @abstractmethod
    def delete(self, volume_id: str) -> None:
        """Delete a volume, and layers that nothing else uses. No-op for an unknown volume."""

    @abstractmethod
    def snapshot(self, snapshot_id: str, volume_id: str) -> TakeSnapshot:
        """Prepare a snapshot, and keep the volume's contents until it is taken, even if the volume is deleted."""

    @abstractmethod
    def copy_snapshot(self, snapshot_id: str, source_id: str, done: Done) -> None:
        """Create a snapshot with the contents of another one.

        Raises:
            ImageError: the source is of a removed image.
        """

    @abstractmethod
    def progress(self, snapshot_id: str) -> int:
        """Return the progress of a pending snapshot in percent."""

    @abstractmethod
    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot, and layers that nothing else uses. No-op for an unknown snapshot."""


class Layer(ABC):
    """A read-only backing layer with a reference count.

    Args:
        path: the layer's file.
        format: the format in QEMU's terms.
    """

    _counting = threading.RLock()

    def __init__(self, path: Path, format: str) -> None:  # noqa: A002  (as everywhere)
        self.path = path
        self.format = format
        self._references = 0

    def hold(self) -> None:
        """Add a reference.

        Raises:
            ImageError: the layer belongs to a removed image.
        """
        with self._counting:
            if not self._references:
                self._begin()
            self._references += 1

    def release(self) -> None:
        """Drop a reference."""
        with self._counting:
            self._references -= 1
            if not self._references:
                self._end()

    @abstractmethod
    def _begin(self) -> None:
        """Acquire resources before the first reference."""

    @abstractmethod
    def _end(self) -> None:
        """Release resources after the last reference was dropped."""


class ImageLayer(Layer):
    """The disk of an image; the catalog cannot remove the image while the layer is referenced.

    Args:
        base: the image's disk.
    """

    def __init__(self, base: BaseDisk) -> None:
        super().__init__(base.path, base.format)
        self._use = ExitStack()

    def _begin(self) -> None:
        self._use.enter_context(in_use(self.path))

    def _end(self) -> None:
        self._use.close()


class QcowLayer(Layer):
    """A qcow2 file, deleted with its last reference.

    Args:
        path: the file.
        below: its backing layer; None without one.
    """

    def __init__(self, path: Path, below: Layer | None) -> None:
        super().__init__(path, "qcow2")
        self._below = below

    def _begin(self) -> None:
        if self._below is not None:
            self._below.hold()

    def _end(self) -> None:
        self.path.unlink(missing_ok=True)
        if self._below is not None:
            self._below.release()


Frozen = Callable[[Layer | None, Exception | None], None]
"""Called with the frozen layer and a reference to it (None for an empty volume), or with the error."""


class QcowVolume(Disk):
    """A volume: a writable qcow2 file on top of layers that it shares with snapshots.

    Its reference count starts at 1.

    Args:
        volume_id: the volume.
        directory: the directory of the volume's files.
        size_gb: the size in GiB.
        base: the initial contents; None for an empty volume.
    """

    def __init__(self, volume_id: str, directory: Path, size_gb: int, base: Layer | None) -> None:
        super().__init__(volume_id)
        self._directory = directory
        self._size_gb = size_gb
        self._below = base
        self._top: QcowLayer | None = None
        self._files = 0
        self._references = 1
        self._changing = threading.RLock()
        if base is not None:
            base.hold()

    def file(self) -> Path:
        """Return the writable qcow2 file; create it on first use."""
        with self._changing:
            return (self._top or self._create_top()).path

    def grow(self, size_gb: int) -> None:
        """Grow the volume while it is detached."""
        with self._changing:
            if self._top is not None:
                qemu_img.grow(self._top.path, size_gb)
            self._size_gb = size_gb

    def hold(self) -> None:
        """Add a reference."""
        with self._changing:
            self._references += 1

    def release(self) -> None:
        """Drop a reference."""
        with self._changing:
            self._references -= 1
            layer = self._top or self._below
            if self._references == 0 and layer is not None:
                layer.release()

    def freeze(self, submit: Submit | None, frozen: Frozen) -> None:
        """Freeze the current contents, and redirect further writes to a new overlay.

        Args:
            submit: queues a command for the machine; None for a detached volume.
            frozen: called with the frozen layer, or with the error.
        """
        with self._changing:
            if submit is None and self._top is None:
                if self._below is not None:
                    self._below.hold()
                frozen(self._below, None)
                return
            overlay = self._next_file()
        done = partial(self._switch_to, overlay, frozen)
        if submit is not None:
            submit(Freeze(self, overlay), lambda end: done(end.error))
            return
        try:
            qemu_img.create_overlay(self.file(), overlay, base_format="qcow2")
        except PycloudlibError as error:
            done(error)
            return
        done(None)

    def _switch_to(self, overlay: Path, frozen: Frozen, error: Exception | None) -> None:
        if error is not None:
            overlay.unlink(missing_ok=True)
            frozen(None, error)
            return
        with self._changing:
            layer = self._top
            if layer is not None:
                layer.hold()
            self._push(overlay)
        frozen(layer, None)

    def _push(self, path: Path) -> QcowLayer:
        previous = self._top or self._below
        top = QcowLayer(path, previous)
        top.hold()
        if previous is not None:
            previous.release()
        self._top = top
        return top

    def _next_file(self) -> Path:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files += 1
        return self._directory / f"{self.volume_id}-{self._files}.qcow2"

    def _create_top(self) -> QcowLayer:
        path = self._next_file()
        try:
            if self._below is None:
                qemu_img.create_volume(path, self._size_gb)
            else:
                qemu_img.create_overlay(self._below.path, path, base_format=self._below.format, size_gb=self._size_gb)
        except PycloudlibError:
            path.unlink(missing_ok=True)
            raise
        return self._push(path)


class QcowStore(VolumeStore):
    """Volumes and snapshots as layers of qcow2 files.

    Args:
        directory: the directory of the qcow2 files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._volumes: dict[str, QcowVolume] = {}
        self._offered: dict[str, ImageLayer] = {}
        self._snapshots: dict[str, Layer | None] = {}
        self._pending: set[str] = set()
        self._changing = threading.Lock()

    def offer(self, snapshot_id: str, base: BaseDisk) -> None:
        """Register an image's disk as a snapshot."""
        if snapshot_id not in self._offered:
            self._offered[snapshot_id] = ImageLayer(base)

    def create(self, volume_id: str, size_gb: int, snapshot_id: str | None) -> None:
        """Record a volume; create its file on first use."""
        base = None if snapshot_id is None else self._contents(snapshot_id)
        self._volumes[volume_id] = QcowVolume(volume_id, self._directory, size_gb, base)

    def disk(self, volume_id: str) -> Disk:
        """Return a volume as a disk of a machine."""
        return self._volumes[volume_id]

    def grow(self, volume_id: str, size_gb: int) -> None:
        """Grow a detached volume."""
        self._volumes[volume_id].grow(size_gb)

    def delete(self, volume_id: str) -> None:
        """Delete a volume, and layers that nothing else uses."""
        volume = self._volumes.pop(volume_id, None)
        if volume is not None:
            volume.release()

    def snapshot(self, snapshot_id: str, volume_id: str) -> TakeSnapshot:
        """Prepare a snapshot."""
        volume = self._volumes[volume_id]
        volume.hold()
        with self._changing:
            self._pending.add(snapshot_id)
        return partial(self._take, snapshot_id, volume)

    def copy_snapshot(self, snapshot_id: str, source_id: str, done: Done) -> None:
        """Create a snapshot with the contents of another one."""
        layer = self._contents(source_id)
        if layer is not None:
            layer.hold()
        self._snapshots[snapshot_id] = layer
        done(None)

    def progress(self, snapshot_id: str) -> int:
        """Return 0: nothing is copied, so a snapshot is either pending or completed."""
        return 0

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot, and layers that nothing else uses."""
        with self._changing:
            self._pending.discard(snapshot_id)
            layer = self._snapshots.pop(snapshot_id, None)
        if layer is not None:
            layer.release()

    def _contents(self, snapshot_id: str) -> Layer | None:
        return self._offered.get(snapshot_id) or self._snapshots[snapshot_id]

    def _take(self, snapshot_id: str, volume: QcowVolume, submit: Submit | None, done: Done) -> None:
        volume.freeze(submit, partial(self._on_taken, snapshot_id, volume, done))

    def _on_taken(
        self, snapshot_id: str, volume: QcowVolume, done: Done, layer: Layer | None, error: Exception | None
    ) -> None:
        with self._changing:
            is_requested = snapshot_id in self._pending
            self._pending.discard(snapshot_id)
            if is_requested and error is None:
                self._snapshots[snapshot_id] = layer
        if not is_requested and layer is not None:
            layer.release()
        volume.release()
        done(error)
