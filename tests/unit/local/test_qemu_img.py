from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pycloudlib.errors import ImageError, InvalidArgumentError, LocalEC2Error
from pycloudlib.local import qemu_img
from pycloudlib.local.prerequisites import find

pytestmark = pytest.mark.skipif(
    find("qemu-img") is None or find("mke2fs") is None, reason="needs qemu-img and mke2fs to make disks"
)

MIB = 2**20
BOOT_SECTOR = b"\0" * 510 + b"\x55\xaa"


def raw_disk(path: Path, *, size: int = 4 * MIB) -> Path:
    path.write_bytes(BOOT_SECTOR)
    os.truncate(path, size)
    return path


def run_qemu_img(*arguments: str) -> None:
    subprocess.run([str(find("qemu-img")), *arguments], check=True, capture_output=True)


def qcow2_disk(path: Path, *, size: str = "64M") -> Path:
    """A qcow2 disk with data in its first MiB, so that cutting it short loses some."""
    data = path.with_suffix(".data")
    data.write_bytes(os.urandom(MIB))
    run_qemu_img("convert", "-f", "raw", "-O", "qcow2", str(data), str(path))
    run_qemu_img("resize", "-f", "qcow2", str(path), size)
    return path


def ext4_disk(path: Path) -> Path:
    path.write_bytes(b"")
    os.truncate(path, 4 * MIB)
    subprocess.run([str(find("mke2fs")), "-q", "-t", "ext4", str(path)], check=True, capture_output=True)
    return path


def test_a_raw_disk_with_a_partition_table_is_a_disk(tmp_path: Path) -> None:
    assert qemu_img.inspect(raw_disk(tmp_path / "disk")) == qemu_img.DiskInfo("raw", 4 * MIB, None)


def test_a_raw_disk_with_a_file_system_is_a_disk(tmp_path: Path) -> None:
    assert qemu_img.inspect(ext4_disk(tmp_path / "disk")).format == "raw"


def test_qcow2_is_detected_by_content(tmp_path: Path) -> None:
    assert qemu_img.inspect(qcow2_disk(tmp_path / "disk.raw")) == qemu_img.DiskInfo("qcow2", 64 * MIB, None)


def test_an_overlay_names_what_it_is_on(tmp_path: Path) -> None:
    base = raw_disk(tmp_path / "base")
    qemu_img.create_overlay(base, tmp_path / "overlay", base_format="raw")
    assert qemu_img.inspect(tmp_path / "overlay").backing == base


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"I am a text, and not short of a disk's first sector. " * 200, "neither a partition", id="text"),
        pytest.param(b"short", "neither a partition", id="shorter than a sector"),
    ],
)
def test_what_is_no_disk_is_refused_in_one_line(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=complaint) as caught:
        qemu_img.inspect(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not a file"):
        qemu_img.inspect(tmp_path)
    with pytest.raises(ImageError, match="there is no file"):
        qemu_img.inspect(tmp_path / "missing")


def test_a_qcow2_disk_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    disk = qcow2_disk(tmp_path / "disk")
    os.truncate(disk, disk.stat().st_size // 2)
    with pytest.raises(ImageError, match="damaged"):
        qemu_img.inspect(disk)


def test_a_qcow2_header_alone_is_refused(tmp_path: Path) -> None:
    disk = qcow2_disk(tmp_path / "disk")
    os.truncate(disk, 40)
    with pytest.raises(ImageError) as caught:
        qemu_img.inspect(disk)
    assert "\n" not in str(caught.value)


def test_a_disk_of_another_format_is_refused_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    run_qemu_img("create", "-f", "qed", str(path), "1M")
    with pytest.raises(ImageError, match="it is qed"):
        qemu_img.inspect(path)


def test_an_overlay_has_its_bases_size_by_default(tmp_path: Path) -> None:
    qemu_img.create_overlay(raw_disk(tmp_path / "base"), tmp_path / "overlay", base_format="raw")
    assert qemu_img.inspect(tmp_path / "overlay").virtual_size == 4 * MIB


def test_an_overlay_can_be_bigger_than_its_base(tmp_path: Path) -> None:
    qemu_img.create_overlay(raw_disk(tmp_path / "base"), tmp_path / "overlay", base_format="raw", size_gb=10)
    assert qemu_img.inspect(tmp_path / "overlay").virtual_size == 10 * qemu_img.GIB


def test_an_overlay_smaller_than_its_base_is_refused_and_not_made(tmp_path: Path) -> None:
    base = raw_disk(tmp_path / "base", size=2 * qemu_img.GIB)
    with pytest.raises(InvalidArgumentError, match=r"1 GiB is too small for its image, which has 2 GiB"):
        qemu_img.create_overlay(base, tmp_path / "overlay", base_format="raw", size_gb=1)
    assert not (tmp_path / "overlay").exists()


def test_an_overlay_trusts_no_header_in_a_raw_base(tmp_path: Path) -> None:
    base = qcow2_disk(tmp_path / "base")
    qemu_img.create_overlay(base, tmp_path / "overlay", base_format="raw")
    assert qemu_img.inspect(tmp_path / "overlay").virtual_size == base.stat().st_size


def test_an_overlay_in_a_missing_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file or directory") as caught:
        qemu_img.create_overlay(raw_disk(tmp_path / "base"), tmp_path / "missing" / "overlay", base_format="raw")
    assert "\n" not in str(caught.value)


def test_volume_has_the_requested_size_and_is_sparse(tmp_path: Path) -> None:
    qemu_img.create_volume(tmp_path / "volume", 8)
    assert qemu_img.inspect(tmp_path / "volume").virtual_size == 8 * qemu_img.GIB
    assert qemu_img.used_bytes(tmp_path / "volume") < MIB


@pytest.mark.parametrize("size", [0, -1])
def test_a_volume_without_a_size_is_refused(size: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="above 0"):
        qemu_img.create_volume(tmp_path / "volume", size)


def test_a_converted_overlay_stands_alone(tmp_path: Path) -> None:
    base = ext4_disk(tmp_path / "base")
    qemu_img.create_overlay(base, tmp_path / "overlay", base_format="raw")
    qemu_img.convert(tmp_path / "overlay", tmp_path / "alone", source_format="qcow2")
    base.unlink()
    assert qemu_img.inspect(tmp_path / "alone").backing is None


def test_a_copy_has_the_same_content_and_keeps_holes(tmp_path: Path) -> None:
    original = raw_disk(tmp_path / "original", size=256 * MIB)
    qemu_img.copy(original, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == original.read_bytes()
    assert qemu_img.used_bytes(tmp_path / "copy") < MIB


def test_full_disk_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocalEC2Error, match="no space left on the disk") as caught:
        qemu_img.copy(raw_disk(tmp_path / "original"), Path("/dev/full"))
    assert "\n" not in str(caught.value)


def test_free_bytes_accepts_a_missing_directory(tmp_path: Path) -> None:
    assert qemu_img.free_bytes(tmp_path / "not" / "yet") > 0


def test_enough_room_is_silent(tmp_path: Path) -> None:
    qemu_img.ensure_space(tmp_path, 1)


def test_too_little_room_is_refused_with_both_figures(tmp_path: Path) -> None:
    with pytest.raises(
        LocalEC2Error, match=r"no space left on the disk: .* has \d+ MiB free, 1099511627776 MiB are needed"
    ):
        qemu_img.ensure_space(tmp_path, 2**60)


def export(source: Path, destination: Path) -> str:
    """Export a raw disk; the complaint, or "" on success."""
    try:
        qemu_img.export(source, destination, source_format="raw", destination_format="qcow2")
    except ImageError as error:
        return str(error)
    return ""


def test_concurrent_exports_to_one_file_succeed_once(tmp_path: Path) -> None:
    disk, destination = raw_disk(tmp_path / "disk"), tmp_path / "exports" / "copy.qcow2"
    destination.parent.mkdir()
    with ThreadPoolExecutor(8) as pool:
        complaints = list(pool.map(lambda _: export(disk, destination), range(8)))
    assert complaints.count("") == 1
    assert {one for one in complaints if one} == {f"{destination} exists already: remove it, or choose another name"}
    assert qemu_img.inspect(destination).format == "qcow2"
    assert list(destination.parent.iterdir()) == [destination]


def test_a_failed_export_leaves_no_file(tmp_path: Path) -> None:
    destination = tmp_path / "exports" / "copy.qcow2"
    destination.parent.mkdir()
    assert "cannot write" in export(tmp_path / "missing", destination)
    assert list(destination.parent.iterdir()) == []
