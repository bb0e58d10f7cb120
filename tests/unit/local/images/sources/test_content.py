from __future__ import annotations

import errno
import fcntl
import lzma
import os
import subprocess
import threading
from pathlib import Path

import pytest

from pycloudlib.errors import ImageError
from pycloudlib.local.images.sources.content import Content, ContentStore, share
from pycloudlib.local.images.sources.published import Checksum
from pycloudlib.local.images.sources.unpack import make_disk
from pycloudlib.local.images.sources.web import Stopped
from support.image_server import MIB, qcow2_disk, raw_disk, tar_xz, xz

CHECKSUM = Checksum("sha256", "0" * 64)
DISK = raw_disk(4 * MIB, b"a disk")


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path)


@pytest.fixture
def content(tmp_path: Path) -> Content:
    (tmp_path / "content").mkdir()
    return Content(tmp_path / "content")


def refuse_to_wait() -> None:
    pytest.fail("another one holds the lock")


@pytest.mark.parametrize(
    ("name", "packed"),
    [("disk.raw", DISK), ("disk.raw.xz", xz(DISK)), ("disk.tar.xz", tar_xz("disk.raw", DISK))],
    ids=["raw", "raw.xz", "tar.xz"],
)
def test_make_disk_writes_raw_disks_sparsely(content: Content, name: str, packed: bytes) -> None:
    content.download.write_bytes(packed)
    disk = make_disk(content, name)
    assert disk == content.disk
    assert disk.read_bytes() == DISK
    assert [*content.directory.iterdir()] == [content.directory / "disk.raw"]
    if name.endswith(".xz"):
        assert disk.stat().st_blocks * 512 < MIB


@pytest.mark.parametrize("tar_format", ["gnu", "pax"])
def test_make_disk_unpacks_sparse_archives(content: Content, tmp_path: Path, tar_format: str) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.write(DISK[:512])
        file.seek(3 * MIB)
        file.write(b"data after a hole")
        file.truncate(8 * MIB)
    packed = tmp_path / "disk.tar"
    command = ["tar", "-C", str(tmp_path), f"--format={tar_format}", "--sparse", "-cf", str(packed), disk.name]
    subprocess.run(command, check=True)
    content.download.write_bytes(lzma.compress(packed.read_bytes()))
    made = make_disk(content, "debian-12-ec2-amd64.tar.xz")
    assert made.read_bytes() == disk.read_bytes()
    assert made.stat().st_blocks * 512 < MIB


def test_make_disk_takes_qcow2_disks_as_they_are(content: Content, tmp_path: Path) -> None:
    packed = qcow2_disk(tmp_path, DISK)
    content.download.write_bytes(packed)
    disk = make_disk(content, "noble-server-cloudimg-amd64.img")
    assert (disk.name, disk.read_bytes()) == ("disk.qcow2", packed)


def test_make_disk_converts_other_formats(content: Content, tmp_path: Path) -> None:
    raw = tmp_path / "disk"
    raw.write_bytes(DISK)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vpc", str(raw), str(content.download)]
    subprocess.run(command, check=True)
    assert make_disk(content, "disk.vhd").name == "disk.qcow2"
    assert [*content.directory.iterdir()] == [content.directory / "disk.qcow2"]


@pytest.mark.parametrize(
    ("name", "packed", "complaint"),
    [
        ("disk.tar.xz", tar_xz("README", b"no disk"), "disk.tar.xz has no disk"),
        ("disk.raw.xz", xz(DISK)[:-50], "disk.raw.xz cannot be unpacked"),
        ("disk.raw.xz", b"no archive", "disk.raw.xz cannot be unpacked"),
        ("disk.tar.xz", b"no archive", "disk.tar.xz cannot be unpacked"),
        ("disk.tar.xz", tar_xz("disk.raw", DISK, {"GNU.sparse.map": "a,b"}), "disk.tar.xz cannot be unpacked"),
        ("disk.raw.xz", xz(b"a text" * 1000), "neither a partition table nor a known file system"),
    ],
)
def test_make_disk_refuses_what_is_no_disk(content: Content, name: str, packed: bytes, complaint: str) -> None:
    content.download.write_bytes(packed)
    with pytest.raises(ImageError, match=complaint):
        make_disk(content, name)
    assert [*content.directory.iterdir()] == []


def test_make_disk_refuses_a_disk_that_reads_another_file(content: Content, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(DISK)
    overlay = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(secret), str(content.download)]
    subprocess.run(overlay, check=True)
    with pytest.raises(ImageError, match=f"is an overlay on {secret}: only standalone disks can be pulled"):
        make_disk(content, "disk.img")
    external = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={secret},data_file_raw=on"]
    subprocess.run([*external, str(content.download), "4M"], check=True)
    with pytest.raises(ImageError, match=f"its data is in another file, {secret}"):
        make_disk(content, "disk.img")
    assert [*content.directory.iterdir()] == []


def test_make_disk_refuses_a_vmdk_disk_with_an_extent_of_another_file(content: Content, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(DISK)
    content.download.write_text(
        '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        f'RW {len(DISK) // 512} FLAT "{secret}" 0\n'
        'ddb.geometry.cylinders = "8"\nddb.geometry.heads = "16"\nddb.geometry.sectors = "63"\n'
    )
    with pytest.raises(ImageError, match=f"its data is in another file, {secret}"):
        make_disk(content, "disk.img")
    assert [*content.directory.iterdir()] == []


def test_make_disk_can_be_stopped(content: Content) -> None:
    content.download.write_bytes(xz(DISK))

    def check_stopped() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        make_disk(content, "disk.raw.xz", check_stopped)
    assert [*content.directory.iterdir()] == [content.download]


def test_share_copies_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").write_bytes(DISK)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    share(tmp_path / "disk", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DISK


def test_a_content_that_failed_leaves_no_directory(store: ContentStore) -> None:
    with store.locked(CHECKSUM, refuse_to_wait) as content:
        assert content.directory.is_dir()
    assert [*store.directory.iterdir()] == []


def test_a_second_pull_waits_for_the_first(store: ContentStore) -> None:
    waits, order = threading.Event(), []

    def second() -> None:
        with store.locked(CHECKSUM, waits.set) as content:
            order.append(content.directory.is_dir())

    with store.locked(CHECKSUM, refuse_to_wait):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30)
        assert order == []
    # The first one has removed the empty directory under the second one, which creates it again.
    thread.join(30)
    assert order == [True]


def test_a_waiting_pull_can_be_stopped(store: ContentStore) -> None:
    waits, stop, ended = threading.Event(), threading.Event(), threading.Event()

    def check_stopped() -> None:
        if stop.is_set():
            raise Stopped

    def second() -> None:
        with pytest.raises(Stopped), store.locked(CHECKSUM, waits.set, check_stopped):
            pytest.fail("the first one holds the lock")
        ended.set()

    with store.locked(CHECKSUM, refuse_to_wait):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30)
        stop.set()
        assert ended.wait(30)
    thread.join()


def test_prune_leaves_a_directory_that_another_pull_created_again(
    store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = store.directory / str(CHECKSUM)
    directory.mkdir(parents=True)
    locked = store.locked(CHECKSUM, refuse_to_wait)
    flock = fcntl.flock

    def replaced(descriptor: int, operation: int) -> None:
        """Another pull fails, and a third one begins, between opening and locking."""
        monkeypatch.setattr(fcntl, "flock", flock)
        directory.rmdir()
        locked.__enter__().partial.write_bytes(b"a part")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replaced)
    assert store.prune() == 0
    assert (directory / "partial").read_bytes() == b"a part"
    locked.__exit__(None, None, None)


def test_prune_removes_what_nothing_uses(store: ContentStore, tmp_path: Path) -> None:
    used, unused = (Checksum("sha256", digit * 64) for digit in "12")
    for one in (used, unused):
        with store.locked(one, refuse_to_wait) as content:
            (content.directory / "disk.raw").write_bytes(b"x" * MIB)
    (tmp_path / "image.raw").hardlink_to(store.directory / str(used) / "disk.raw")
    with store.locked(CHECKSUM, refuse_to_wait) as downloading:
        downloading.partial.write_bytes(b"a part")
        assert store.prune() >= MIB
        assert sorted(path.name for path in store.directory.iterdir()) == sorted(map(str, (used, CHECKSUM)))
    assert store.prune() > 0
    (tmp_path / "image.raw").unlink()
    assert store.prune() >= MIB
    assert os.listdir(store.directory) == []  # noqa: PTH208
