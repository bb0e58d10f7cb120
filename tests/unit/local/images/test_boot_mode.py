from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pycloudlib.errors import ImageError
from pycloudlib.local import qemu_img
from pycloudlib.local.images.boot_mode import boot_mode_of
from pycloudlib.local.prerequisites import find

pytestmark = pytest.mark.skipif(
    find("sfdisk") is None or find("qemu-img") is None, reason="needs fdisk and qemu-img to make a disk"
)

EFI_SYSTEM = {"gpt": "type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "dos": "type=ef"}
LINUX = {"gpt": "type=0FC63DAF-8483-4772-8E79-3D69D8477DE4", "dos": "type=83"}


def disk(path: Path, label: str, *partitions: str, boot_code: bytes = b"") -> Path:
    with path.open("wb") as file:
        file.truncate(16 * qemu_img.MIB)
    script = "\n".join([f"label: {label}", *(f"size=4M, {partition}" for partition in partitions)])
    subprocess.run([str(find("sfdisk")), "--quiet", str(path)], input=script.encode(), check=True)
    with path.open("r+b") as file:
        file.write(boot_code)
    return path


@pytest.mark.parametrize("label", ["gpt", "dos"])
@pytest.mark.parametrize(
    ("boot_code", "kind", "boot_mode"),
    [
        (b"\xeb", LINUX, "legacy-bios"),
        (b"", EFI_SYSTEM, "uefi"),
        (b"\xeb", EFI_SYSTEM, "uefi-preferred"),
    ],
)
def test_boot_code_and_the_efi_system_partition_decide(
    tmp_path: Path, label: str, boot_code: bytes, kind: dict[str, str], boot_mode: str
) -> None:
    path = disk(tmp_path / "disk.raw", label, LINUX[label], kind[label], boot_code=boot_code)
    assert boot_mode_of(path, "raw") == boot_mode


def test_a_qcow2_disk_is_read_as_its_guest_sees_it(tmp_path: Path) -> None:
    copy = tmp_path / "disk.qcow2"
    qemu_img.convert(disk(tmp_path / "disk.raw", "gpt", EFI_SYSTEM["gpt"]), copy, source_format="raw")
    assert boot_mode_of(copy, "qcow2") == "uefi"


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_a_disk_without_a_loader_is_refused_with_the_remedy(tmp_path: Path, label: str) -> None:
    path = disk(tmp_path / "disk.raw", label, LINUX[label])
    with pytest.raises(ImageError, match=r"disk\.raw has no boot loader: pass its kernel with --kernel"):
        boot_mode_of(path, "raw")
