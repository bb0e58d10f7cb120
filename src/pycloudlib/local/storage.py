"""Where volumes and snapshots keep what is on them: in layers, which are shared and never copied."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pycloudlib.errors import PycloudlibError
from pycloudlib.local import disks
from pycloudlib.local.image_use import in_use
from pycloudlib.local.machines.base import Disk, Machine


@dataclass(frozen=True)
class BaseDisk:
    """A disk image that volumes begin as.

    Args:
        path: the image; it stays as it is.
        format: as QEMU names it: "raw", "qcow2", ...
    """

    path: Path
    format: str


Done = Callable[[Exception | None], None]
"""Is told that something is done, or what went wrong; perhaps from another thread."""

Freeze = Callable[[Machine | None, Done], None]
"""Takes a snapshot that was prepared; given the machine that has the volume, or None when none has."""


class VolumeStore(ABC):
    """The contents of all volumes and snapshots of a server."""

    @abstractmethod
    def offer(self, snapshot_id: str, base: BaseDisk) -> None:
        """Let an image's disk be a snapshot; one that is offered already is no error."""

    @abstractmethod
    def create(self, volume_id: str, size_gb: int, snapshot_id: str | None) -> None:
        """Take note of a volume; its file is made when it is first used.

        Args:
            volume_id: the volume.
            size_gb: its size in GiB.
            snapshot_id: what is on it; None for an empty one.

        Raises:
            ImageError: the snapshot is that of an image which was removed.
        """

    @abstractmethod
    def disk(self, volume_id: str) -> Disk:
        """Give a volume to a machine."""

    @abstractmethod
    def grow(self, volume_id: str, size_gb: int) -> None:
        """Make a volume larger that no machine has.

        Raises:
            LocalEC2Error: it cannot be.
        """

    @abstractmethod
    def delete(self, volume_id: str) -> None:
        """Forget a volume and what is on it alone; one that there is not is no error."""

    @abstractmethod
    def snapshot(self, snapshot_id: str, volume_id: str) -> Freeze:
        """Prepare a snapshot: the volume's contents stay until it is taken, even when the volume is deleted."""

    @abstractmethod
    def copy_snapshot(self, snapshot_id: str, source_id: str, done: Done) -> None:
        """Let a snapshot have the contents of another one.

        Raises:
            ImageError: the other one is that of an image which was removed.
        """

    @abstractmethod
    def progress(self, snapshot_id: str) -> int:
        """How much of a snapshot that is not done yet has been taken, in per cent."""

    @abstractmethod
    def delete_snapshot(self, snapshot_id: str) -> None:
        """Forget a snapshot, and what only it needed; one that there is not is no error."""


class Layer(ABC):
    """A disk that others stand on, for as long as somebody needs it.

    Args:
        path: its file.
        format: as QEMU names it.
    """

    _counting = threading.RLock()

    def __init__(self, path: Path, format: str) -> None:  # noqa: A002  (as everywhere)
        self.path = path
        self.format = format
        self._holders = 0

    def hold(self) -> None:
        """Need it.

        Raises:
            ImageError: it is an image's, and was removed.
        """
        with self._counting:
            if not self._holders:
                self._begin()
            self._holders += 1

    def let_go(self) -> None:
        """Need it no more."""
        with self._counting:
            self._holders -= 1
            if not self._holders:
                self._end()

    @abstractmethod
    def _begin(self) -> None:
        """Somebody needs it now."""

    @abstractmethod
    def _end(self) -> None:
        """Nobody needs it any more."""


class ImageLayer(Layer):
    """The disk of an image, which stays when nobody needs it; until then it cannot be removed.

    Args:
        base: the disk.
    """

    def __init__(self, base: BaseDisk) -> None:
        super().__init__(base.path, base.format)
        self._use = ExitStack()

    def _begin(self) -> None:
        self._use.enter_context(in_use(self.path))

    def _end(self) -> None:
        self._use.close()


class QcowLayer(Layer):
    """A qcow2 file, deleted when nobody needs it any more.

    Args:
        path: the file.
        below: what it stands on; None for nothing.
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
            self._below.let_go()


Frozen = Callable[[Layer | None, Exception | None], None]
"""Is given a layer that will not change any more (None: an empty one), held for it; or what went wrong."""


class QcowVolume(Disk):
    """A volume in qcow2 files: one that is written to, on those that its snapshots have.

    It lasts until it was released as often as it was held; it is held once from the start.

    Args:
        volume_id: the volume.
        directory: where its files are.
        size_gb: its size in GiB.
        base: what is on it in the beginning; None for nothing.
    """

    def __init__(self, volume_id: str, directory: Path, size_gb: int, base: Layer | None) -> None:
        super().__init__(volume_id)
        self._directory = directory
        self._size_gb = size_gb
        self._below = base
        self._top: QcowLayer | None = None
        self._files = 0
        self._holders = 1
        self._changing = threading.RLock()
        if base is not None:
            base.hold()

    def file(self) -> Path:
        """The qcow2 file that is written to now; made when it is first asked for."""
        with self._changing:
            return (self._top or self._make()).path

    def grow(self, size_gb: int) -> None:
        """Make it larger, while no machine has it."""
        with self._changing:
            if self._top is not None:
                disks.grow(self._top.path, size_gb)
            self._size_gb = size_gb

    def hold(self) -> None:
        """Need it, even when it is released otherwise."""
        with self._changing:
            self._holders += 1

    def release(self) -> None:
        """Need it no more."""
        with self._changing:
            self._holders -= 1
            layer = self._top or self._below
            if self._holders == 0 and layer is not None:
                layer.let_go()

    def freeze(self, machine: Machine | None, frozen: Frozen) -> None:
        """Let what is on it now stay as it is, and go on in another file.

        Args:
            machine: the machine that has it; None for none.
            frozen: is told.
        """
        with self._changing:
            if machine is None and self._top is None:
                if self._below is not None:
                    self._below.hold()
                frozen(self._below, None)
                return
            overlay = self._next_file()
        done = partial(self._go_on_in, overlay, frozen)
        if machine is not None:
            machine.freeze_disk(self, overlay, done)
            return
        try:
            disks.create_overlay(self.file(), overlay, base_format="qcow2")
        except PycloudlibError as error:
            done(error)
            return
        done(None)

    def _go_on_in(self, overlay: Path, frozen: Frozen, error: Exception | None) -> None:
        if error is not None:
            overlay.unlink(missing_ok=True)
            frozen(None, error)
            return
        with self._changing:
            layer = self._top
            if layer is not None:
                layer.hold()
            self._put_on_top(overlay)
        frozen(layer, None)

    def _put_on_top(self, path: Path) -> QcowLayer:
        stood_on = self._top or self._below
        top = QcowLayer(path, stood_on)
        top.hold()
        if stood_on is not None:
            stood_on.let_go()
        self._top = top
        return top

    def _next_file(self) -> Path:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files += 1
        return self._directory / f"{self.volume_id}-{self._files}.qcow2"

    def _make(self) -> QcowLayer:
        path = self._next_file()
        try:
            if self._below is None:
                disks.create_volume(path, self._size_gb)
            else:
                disks.create_overlay(self._below.path, path, base_format=self._below.format, size_gb=self._size_gb)
        except PycloudlibError:
            path.unlink(missing_ok=True)
            raise
        return self._put_on_top(path)


class QcowStore(VolumeStore):
    """Volumes and snapshots as layers of qcow2 files.

    Args:
        directory: where the files are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._volumes: dict[str, QcowVolume] = {}
        self._offered: dict[str, ImageLayer] = {}
        self._snapshots: dict[str, Layer | None] = {}
        self._under_way: set[str] = set()
        self._changing = threading.Lock()

    def offer(self, snapshot_id: str, base: BaseDisk) -> None:
        """Let an image's disk be a snapshot."""
        if snapshot_id not in self._offered:
            self._offered[snapshot_id] = ImageLayer(base)

    def create(self, volume_id: str, size_gb: int, snapshot_id: str | None) -> None:
        """Take note of a volume; its file is made when it is first used."""
        base = None if snapshot_id is None else self._contents(snapshot_id)
        self._volumes[volume_id] = QcowVolume(volume_id, self._directory, size_gb, base)

    def disk(self, volume_id: str) -> Disk:
        """Give a volume to a machine."""
        return self._volumes[volume_id]

    def grow(self, volume_id: str, size_gb: int) -> None:
        """Make a volume larger that no machine has."""
        self._volumes[volume_id].grow(size_gb)

    def delete(self, volume_id: str) -> None:
        """Forget a volume and what is on it alone."""
        volume = self._volumes.pop(volume_id, None)
        if volume is not None:
            volume.release()

    def snapshot(self, snapshot_id: str, volume_id: str) -> Freeze:
        """Prepare a snapshot."""
        volume = self._volumes[volume_id]
        volume.hold()
        with self._changing:
            self._under_way.add(snapshot_id)
        return partial(self._take, snapshot_id, volume)

    def copy_snapshot(self, snapshot_id: str, source_id: str, done: Done) -> None:
        """Let a snapshot have the contents of another one."""
        layer = self._contents(source_id)
        if layer is not None:
            layer.hold()
        self._snapshots[snapshot_id] = layer
        done(None)

    def progress(self, snapshot_id: str) -> int:
        """Nothing is copied, so there is nothing between the beginning and the end."""
        return 0

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Forget a snapshot, and what only it needed."""
        with self._changing:
            self._under_way.discard(snapshot_id)
            layer = self._snapshots.pop(snapshot_id, None)
        if layer is not None:
            layer.let_go()

    def _contents(self, snapshot_id: str) -> Layer | None:
        return self._offered.get(snapshot_id) or self._snapshots[snapshot_id]

    def _take(self, snapshot_id: str, volume: QcowVolume, machine: Machine | None, done: Done) -> None:
        volume.freeze(machine, partial(self._taken, snapshot_id, volume, done))

    def _taken(
        self, snapshot_id: str, volume: QcowVolume, done: Done, layer: Layer | None, error: Exception | None
    ) -> None:
        with self._changing:
            wanted = snapshot_id in self._under_way
            self._under_way.discard(snapshot_id)
            if wanted and error is None:
                self._snapshots[snapshot_id] = layer
        if not wanted and layer is not None:
            layer.let_go()
        volume.release()
        done(error)
