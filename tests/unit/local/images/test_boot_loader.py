from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pycloudlib.errors import ImageError
from pycloudlib.local import qemu_img
from pycloudlib.local.images import boot_loader
from pycloudlib.local.images.boot_loader import BIOS_BOOT, BOOT, EFI_SYSTEM, LOADERS, ROOT, SECTOR
from pycloudlib.local.images.boot_mode import boot_mode_of
from pycloudlib.local.prerequisites import find

PROGRAMS = ("qemu-img", "qemu-io", *boot_loader.PROGRAMS)

pytestmark = pytest.mark.skipif(
    any(find(name) is None for name in PROGRAMS), reason="needs fdisk, mtools, and qemu-utils to make and change a disk"
)

DISK_SIZE = ROOT.offset + 64 * qemu_img.MIB
FIRST = b"first".ljust(SECTOR, b"\x01")
CORE = b"core".ljust(SECTOR, b"\x02") + b"\x03" * (2 * SECTOR + 100)


def run(command: Sequence[str], *, what: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{what}: {done.stderr}"
    return done.stdout


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """The root directory and /boot, with what the packages of the loader bring."""
    root, boot = tmp_path / "root", tmp_path / "boot"
    files = {
        boot / "grub/i386-pc/boot.img": FIRST,
        boot / "grub/i386-pc/core.img": CORE,
        root / "usr/lib/shim/shimx64.efi.signed": b"shim",
        root / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed": b"signed GRUB",
        root / "usr/lib/grub/arm64-efi/monolithic/grubaa64.efi": b"GRUB for arm64",
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root, boot


@pytest.fixture
def built(tmp_path: Path, trees: tuple[Path, Path]) -> Path:
    """A disk with a partition table and a boot loader."""
    disk = tmp_path / "built.raw"
    with disk.open("wb") as file:
        file.truncate(DISK_SIZE)
    boot_loader.partition(disk, run)
    LOADERS["x86_64"].install(*trees, disk, run)
    return disk


@pytest.fixture
def overlay(tmp_path: Path, built: Path) -> Path:
    """The disk of a machine, on the built one."""
    disk = tmp_path / "overlay.qcow2"
    qemu_img.create_overlay(built, disk, base_format="raw", size_gb=1)
    return disk


def write(disk: Path, offset: int, *, pattern: int = 7) -> None:
    run(["qemu-io", "-f", "qcow2", "-c", f"write -P {pattern} {offset} {SECTOR}", str(disk)], what="cannot write")


def test_the_partition_table_has_the_partitions_of_a_cloud_image(built: Path) -> None:
    table = run(["sfdisk", "--dump", str(built)], what="cannot read the partition table")
    assert "label: gpt" in table
    for one in (ROOT, BIOS_BOOT, EFI_SYSTEM, BOOT):
        (line,) = [line for line in table.splitlines() if line.startswith(f"{built}{one.number} ")]
        assert f"start={one.start:>12}" in line
        assert f"type={one.kind}" in line


def test_root_is_the_last_partition_so_that_it_can_grow(built: Path) -> None:
    assert ROOT.start == max(one.start for one in boot_loader.PARTITIONS)


def test_the_bios_finds_the_first_sector_and_that_one_the_core(built: Path) -> None:
    disk = built.read_bytes()[: EFI_SYSTEM.offset]
    assert disk[:5] == b"first"
    assert struct.unpack_from("<Q", disk, 0x5C) == (BIOS_BOOT.start,)
    core = disk[BIOS_BOOT.offset :]
    assert core[:4] == b"core"
    assert struct.unpack_from("<QH", core, SECTOR - 12) == (BIOS_BOOT.start + 1, 3)
    assert core[SECTOR : SECTOR + 2 * SECTOR + 100] == b"\x03" * (2 * SECTOR + 100)


def test_uefi_finds_shim_and_grub(built: Path, tmp_path: Path) -> None:
    image = f"{built}@@{EFI_SYSTEM.offset}"
    for name, content in (("BOOT/BOOTX64.EFI", b"shim"), ("BOOT/grubx64.efi", b"signed GRUB")):
        run(["mcopy", "-i", image, f"::/EFI/{name}", str(tmp_path / "copy")], what="cannot read")
        assert (tmp_path / "copy").read_bytes() == content
        (tmp_path / "copy").unlink()
    menu = run(["mtype", "-i", image, "::/EFI/debian/grub.cfg"], what="cannot read")
    assert "--label boot" in menu


def test_arm64_boots_by_uefi_only(tmp_path: Path, trees: tuple[Path, Path]) -> None:
    disk = tmp_path / "arm64.raw"
    with disk.open("wb") as file:
        file.truncate(DISK_SIZE)
    boot_loader.partition(disk, run)
    LOADERS["arm64"].install(*trees, disk, run)
    assert boot_mode_of(disk, "raw") == "uefi"
    image = f"{disk}@@{EFI_SYSTEM.offset}"
    run(["mcopy", "-i", image, "::/EFI/BOOT/BOOTAA64.EFI", str(tmp_path / "copy")], what="cannot read")
    assert (tmp_path / "copy").read_bytes() == b"GRUB for arm64"
    assert "--label boot" in run(["mtype", "-i", image, "::/EFI/debian/grub.cfg"], what="cannot read")


def test_a_loader_that_does_not_fit_is_refused(built: Path, trees: tuple[Path, Path]) -> None:
    (trees[1] / "grub/i386-pc/core.img").write_bytes(bytes(BIOS_BOOT.size + 1))
    with pytest.raises(ImageError, match="does not fit into its partition"):
        LOADERS["x86_64"].install(*trees, built, run)


def test_an_untouched_disk_starts_the_kernel_of_the_build(overlay: Path, built: Path) -> None:
    assert boot_loader.starts_same_kernel(overlay, built)


def test_a_changed_root_file_system_leaves_the_kernel(overlay: Path, built: Path) -> None:
    write(overlay, ROOT.offset + qemu_img.MIB)
    assert boot_loader.starts_same_kernel(overlay, built)


def test_a_grown_root_partition_leaves_the_kernel(overlay: Path, built: Path) -> None:
    raw = overlay.with_name("grown.raw")
    run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(overlay), str(raw)], what="cannot convert")
    run(["sh", "-c", 'echo ", +" | sfdisk --quiet -N 1 "$0"', str(raw)], what="cannot grow")
    table = raw.read_bytes()[: 34 * SECTOR]
    assert table != built.read_bytes()[: 34 * SECTOR]
    part = overlay.with_name("table")
    part.write_bytes(table)
    run(["qemu-io", "-f", "qcow2", "-c", f"write -s {part} 0 {len(table)}", str(overlay)], what="cannot write")
    assert boot_loader.starts_same_kernel(overlay, built)


@pytest.mark.parametrize("offset", [0, BIOS_BOOT.offset, EFI_SYSTEM.offset + SECTOR, BOOT.offset, ROOT.offset - SECTOR])
def test_a_changed_loader_or_boot_partition_may_start_another_kernel(overlay: Path, built: Path, offset: int) -> None:
    write(overlay, offset)
    assert not boot_loader.starts_same_kernel(overlay, built)


def test_a_moved_boot_partition_may_start_another_kernel(overlay: Path, built: Path) -> None:
    write(overlay, 2 * SECTOR + 128 * (BOOT.number - 1) // SECTOR * SECTOR)
    assert not boot_loader.starts_same_kernel(overlay, built)


def test_zeros_over_a_boot_partition_count_as_a_change(overlay: Path, built: Path) -> None:
    run(["qemu-io", "-f", "qcow2", "-c", f"write -z {BOOT.offset} 65536", str(overlay)], what="cannot write")
    assert not boot_loader.starts_same_kernel(overlay, built)


def test_each_layer_counts(overlay: Path, built: Path, tmp_path: Path) -> None:
    write(overlay, BOOT.offset)
    later = tmp_path / "later.qcow2"
    qemu_img.create_overlay(overlay, later, base_format="qcow2")
    assert not boot_loader.starts_same_kernel(later, built)


def test_the_same_content_on_another_disk_is_not_known(overlay: Path, built: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.raw"
    qemu_img.copy(built, other)
    assert not boot_loader.starts_same_kernel(overlay, other)
