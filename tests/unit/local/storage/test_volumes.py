"""The store of volumes and snapshots, on real disk images: what is on them is written and read with qemu-io."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.errors import ImageError
from pycloudlib.local import qemu_img
from pycloudlib.local.images.usage import unused
from pycloudlib.local.machines.base import Disk
from pycloudlib.local.machines.commands import DONE, Command, End, Ended, Freeze, Outcome
from pycloudlib.local.machines.simulated import SimulatedDriver, SimulatedTimes
from pycloudlib.local.storage.simulated import SimulatedStore
from pycloudlib.local.storage.volumes import BaseDisk, QcowStore
from pycloudlib.waiting import wait_until


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "volumes"


@pytest.fixture
def store(directory: Path) -> QcowStore:
    return QcowStore(directory)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The disk of an image: a GiB that begins with 0x11."""
    disk = tmp_path / "image" / "disk.raw"
    disk.parent.mkdir()
    with disk.open("wb") as file:
        file.write(b"\x11" * 4096)
        file.truncate(qemu_img.GIB)
    return disk


def write(disk: Disk, pattern: int) -> None:
    qemu_io(disk.file(), f"write -P {pattern} 0 4k")


def begins_with(disk: Disk, pattern: int) -> bool:
    return "Pattern verification failed" not in qemu_io(disk.file(), f"read -P {pattern} 0 4k")


def qemu_io(path: Path, command: str) -> str:
    done = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", command, str(path)], capture_output=True, text=True, check=False
    )
    assert "4096/4096" in done.stdout or "Pattern" in done.stdout, done.stdout + done.stderr
    return done.stdout


def take(store: QcowStore, snapshot_id: str, volume_id: str) -> None:
    told: list[Exception | None] = []
    store.snapshot(snapshot_id, volume_id)(None, told.append)
    assert told == [None]


def files(directory: Path) -> int:
    return len(list(directory.glob("*"))) if directory.exists() else 0


def test_a_volume_has_no_file_until_it_is_used(store: QcowStore, directory: Path) -> None:
    store.create("vol-1", 1, None)
    assert files(directory) == 0
    assert qemu_img.inspect(store.disk("vol-1").file()).virtual_size == qemu_img.GIB


def test_a_snapshot_keeps_what_was_on_the_volume(store: QcowStore) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    take(store, "snap-1", "vol-1")
    write(store.disk("vol-1"), 0x22)
    take(store, "snap-2", "vol-1")
    write(store.disk("vol-1"), 0x23)
    store.create("vol-2", 1, "snap-1")
    store.create("vol-3", 1, "snap-2")
    assert begins_with(store.disk("vol-1"), 0x23)
    assert begins_with(store.disk("vol-2"), 0x21)
    assert begins_with(store.disk("vol-3"), 0x22)


def test_volumes_of_one_snapshot_do_not_see_each_other(store: QcowStore) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    take(store, "snap-1", "vol-1")
    for volume_id, pattern in (("vol-2", 0x31), ("vol-3", 0x32)):
        store.create(volume_id, 1, "snap-1")
        write(store.disk(volume_id), pattern)
    assert begins_with(store.disk("vol-1"), 0x21)
    assert begins_with(store.disk("vol-2"), 0x31)
    assert begins_with(store.disk("vol-3"), 0x32)


def test_a_volume_can_be_larger_than_its_snapshot(store: QcowStore) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    take(store, "snap-1", "vol-1")
    store.create("vol-2", 3, "snap-1")
    assert qemu_img.inspect(store.disk("vol-2").file()).virtual_size == 3 * qemu_img.GIB
    assert begins_with(store.disk("vol-2"), 0x21)


def test_a_snapshot_of_a_volume_that_was_never_written_needs_no_file(store: QcowStore, directory: Path) -> None:
    store.create("vol-1", 1, None)
    take(store, "snap-1", "vol-1")
    store.create("vol-2", 1, "snap-1")
    assert files(directory) == 0
    assert begins_with(store.disk("vol-2"), 0)


def test_a_snapshot_outlives_its_volume(store: QcowStore, directory: Path) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    take(store, "snap-1", "vol-1")
    store.delete("vol-1")
    assert files(directory) == 1
    store.create("vol-2", 1, "snap-1")
    assert begins_with(store.disk("vol-2"), 0x21)


def test_a_volume_outlives_its_snapshot(store: QcowStore) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    take(store, "snap-1", "vol-1")
    store.create("vol-2", 1, "snap-1")
    store.delete_snapshot("snap-1")
    store.delete("vol-1")
    assert begins_with(store.disk("vol-2"), 0x21)


def test_a_copy_outlives_what_it_is_of(store: QcowStore) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    take(store, "snap-1", "vol-1")
    store.copy_snapshot("snap-2", "snap-1", lambda error: None)
    store.delete_snapshot("snap-1")
    store.delete("vol-1")
    store.create("vol-2", 1, "snap-2")
    assert begins_with(store.disk("vol-2"), 0x21)


def test_no_file_is_left_when_nobody_needs_it(store: QcowStore, directory: Path) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    for number in range(3):
        take(store, f"snap-{number}", "vol-1")
    store.create("vol-2", 1, "snap-1")
    store.disk("vol-2").file()
    store.copy_snapshot("snap-3", "snap-0", lambda error: None)
    assert files(directory) == 5
    for snapshot_id in ("snap-2", "snap-0", "snap-1", "snap-3"):
        store.delete_snapshot(snapshot_id)
    store.delete("vol-1")
    assert files(directory) == 3  # what the other volume stands on
    store.delete("vol-2")
    assert files(directory) == 0


def test_an_image_is_in_use_while_anything_stands_on_it(store: QcowStore, image: Path) -> None:
    store.offer("snap-0", BaseDisk(image, "raw"))
    with unused(image.parent, "image"):
        pass
    store.create("vol-1", 2, "snap-0")
    assert begins_with(store.disk("vol-1"), 0x11)
    take(store, "snap-1", "vol-1")
    store.delete("vol-1")
    with pytest.raises(ImageError, match="in use"), unused(image.parent, "image"):
        pass
    store.delete_snapshot("snap-1")
    with unused(image.parent, "image"):
        pass


def test_the_image_of_a_volume_has_to_be_there_still(store: QcowStore, image: Path) -> None:
    store.offer("snap-0", BaseDisk(image, "raw"))
    image.unlink()
    with pytest.raises(ImageError, match="was removed"):
        store.create("vol-1", 2, "snap-0")


def test_a_snapshot_that_is_deleted_before_it_was_taken_leaves_nothing(store: QcowStore, directory: Path) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    freeze = store.snapshot("snap-1", "vol-1")
    store.delete_snapshot("snap-1")
    store.delete("vol-1")
    assert files(directory) == 1
    freeze(None, lambda error: None)
    assert files(directory) == 0


def test_a_volume_that_is_deleted_before_its_snapshot_was_taken_is_in_it(store: QcowStore) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    freeze = store.snapshot("snap-1", "vol-1")
    store.delete("vol-1")
    freeze(None, lambda error: None)
    store.create("vol-2", 1, "snap-1")
    assert begins_with(store.disk("vol-2"), 0x21)


class FreezingMachine:
    """A machine that freezes disks when it is told to, as QEMU does in its own time."""

    def __init__(self, end: End = DONE) -> None:
        self.end = end
        self.waiting: list[Callable[[], None]] = []

    def submit(self, command: Command, ended: Ended) -> None:
        assert isinstance(command, Freeze)

        def freeze() -> None:
            qemu_img.create_overlay(command.disk.file(), command.overlay, base_format="qcow2")
            ended(self.end)

        self.waiting.append(freeze)


def test_a_machine_freezes_its_volume_itself_and_goes_on_in_another_file(store: QcowStore) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    machine = FreezingMachine()
    told: list[Exception | None] = []
    before = store.disk("vol-1").file()
    store.snapshot("snap-1", "vol-1")(machine.submit, told.append)
    assert (told, store.disk("vol-1").file()) == ([], before)
    machine.waiting.pop()()
    assert told == [None]
    assert store.disk("vol-1").file() != before
    write(store.disk("vol-1"), 0x22)
    store.create("vol-2", 1, "snap-1")
    assert begins_with(store.disk("vol-2"), 0x21)


def test_two_snapshots_under_way_at_once_are_both_taken(store: QcowStore, directory: Path) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    machine = FreezingMachine()
    for name in ("snap-1", "snap-2"):
        store.snapshot(name, "vol-1")(machine.submit, lambda error: None)
    machine.waiting.pop(0)()
    write(store.disk("vol-1"), 0x22)
    machine.waiting.pop(0)()
    for number, pattern in ((1, 0x21), (2, 0x22)):
        store.create(f"vol-of-{number}", 1, f"snap-{number}")
        assert begins_with(store.disk(f"vol-of-{number}"), pattern)


def test_a_snapshot_that_fails_changes_nothing(store: QcowStore, directory: Path) -> None:
    store.create("vol-1", 1, None)
    write(store.disk("vol-1"), 0x21)
    before = store.disk("vol-1").file()
    machine = FreezingMachine(End(Outcome.FAILED, "no room left"))
    told: list[Exception | None] = []
    store.snapshot("snap-1", "vol-1")(machine.submit, told.append)
    machine.waiting.pop()()
    assert [str(error) for error in told] == ["no room left"]
    assert store.disk("vol-1").file() == before
    assert files(directory) == 1
    store.delete("vol-1")
    assert files(directory) == 0


@pytest.mark.parametrize("used", [True, False])
def test_a_volume_can_grow(store: QcowStore, *, used: bool) -> None:
    store.create("vol-1", 1, None)
    if used:
        write(store.disk("vol-1"), 0x21)
    store.grow("vol-1", 2)
    assert qemu_img.inspect(store.disk("vol-1").file()).virtual_size == 2 * qemu_img.GIB
    assert begins_with(store.disk("vol-1"), 0x21 if used else 0)


def test_a_simulated_snapshot_takes_its_time() -> None:
    driver = SimulatedDriver(SimulatedTimes(image=0.2))
    try:
        store = SimulatedStore(driver)
        told: list[Exception | None] = []
        seen = [store.progress("snap-1")]
        store.snapshot("snap-1", "vol-1")(None, told.append)
        wait_until(
            lambda: seen.append(store.progress("snap-1")) or told,
            what="the snapshot",
            deadline=Deadline.after(60),
            interval=0.01,
        )
        assert told == [None]
        assert seen == sorted(seen)
        assert seen[0] == 0
        assert max(seen) > 0
    finally:
        driver.close()
