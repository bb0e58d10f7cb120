"""`pycloudlib local image`: what its users see, above all when something is wrong."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
from pathlib import Path

import pytest

from pycloudlib.local import paths, qemu_img
from pycloudlib.local.images.builder import KEYRINGS
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.images.guest_file import GuestFile
from pycloudlib.local.images.guest_files import write_archive
from pycloudlib.local.machines.platforms import X86_64
from pycloudlib.local.prerequisites import find
from support.built_root import LOADER_FILES
from support.command_line import CommandLine
from support.small_disk import fill, small_disk
from support.uefi import key_names

pytestmark = pytest.mark.skipif(find("qemu-img") is None, reason="needs qemu-img to look at disks")

needs_debians_tools = pytest.mark.skipif(
    find("mke2fs") is None or find("unshare") is None or not any(keyring.exists() for keyring in KEYRINGS),
    reason="needs mke2fs, unshare and Debian's archive keys",
)

# In a namespace of its own it has process id 1, which no signal ends that it does not catch.
INSTALLS_FOR_EVER = """#!/bin/sh
trap 'kill $!; exit 1' INT
echo 'I: installing essential packages...' >&2
sleep 600 &
wait
"""

BOOT_FILES = (GuestFile("boot/vmlinuz-6.1.0", "kernel"), GuestFile("boot/initrd.img-6.1.0", "initrd"))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "my.img"
    path.write_bytes(b"\xeb" * 440 + b"\0" * 70 + b"\x55\xaa")
    os.truncate(path, 2**20)
    return path


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in mmdebstrap's place, for the test to write."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    path = programs / "mmdebstrap"
    path.touch(mode=0o755)
    return path


def left() -> list[str]:
    return [path.name for path in paths.images_dir().iterdir() if path.name != ".lock"]


def test_an_added_disk_is_listed_and_removed(cli: CommandLine, disk: Path) -> None:
    image_id, name = cli.run("local", "image", "add", "--release", "noble", "--file", str(disk)).stdout.split()
    rows = json.loads(cli.run("local", "image", "list", "--json").stdout)
    assert (image_id, name) in [(row["image_id"], row["name"]) for row in rows]
    assert name in cli.run("local", "image", "list").stdout
    assert cli.run("local", "image", "remove", image_id).stdout == f"Removed {image_id}.\n"
    assert left() == []
    assert cli.run("local", "image", "list").stderr.startswith("There is no image yet")


def test_a_disk_is_added_as_an_image_type(cli: CommandLine, disk: Path) -> None:
    add = ("local", "image", "add", "--release", "noble", "--file", str(disk), "--image-type")
    assert "  ubuntu-minimal/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-" in cli.run(*add, "minimal").stdout
    assert cli.complaint(*add, "tiny", status=2).startswith(
        "noble has no tiny images; allowed: generic, minimal, pro, "
    )


@pytest.mark.parametrize(("release", "similar"), [("bookwrm", "bookworm"), ("nobel", "noble"), ("24.4", "24.04")])
def test_mistyped_release_is_refused_unless_the_image_has_a_name(
    cli: CommandLine, disk: Path, release: str, similar: str
) -> None:
    add = ("local", "image", "add", "--release", release, "--file", str(disk))
    complaint = cli.complaint(*add, status=2)
    assert complaint.startswith(f"unknown release '{release}'; did you mean '{similar}'?")
    assert left() == []
    assert cli.run(*add, "--name", "mine").stdout.endswith("  mine\n")


def test_recipe_is_printed_for_caches(cli: CommandLine) -> None:
    default = cli.run("local", "image", "build", "--print-recipe").stdout
    assert re.fullmatch(r"[0-9a-f]{16}\n", default)
    assert cli.run("local", "image", "build", "--print-recipe").stdout == default
    changed = cli.run("local", "image", "build", "--print-recipe", "--name", "x", "--include", "nginx").stdout
    assert changed != default
    assert left() == []


def test_build_of_a_mistyped_release_is_refused(cli: CommandLine) -> None:
    complaint = cli.complaint("local", "image", "build", "--release", "bookwrm", status=2)
    assert complaint == "unknown release 'bookwrm'; did you mean 'bookworm'?"


def test_add_and_list_print_the_same_json(cli: CommandLine, disk: Path) -> None:
    added = json.loads(cli.run("local", "image", "add", "--release", "noble", "--file", str(disk), "--json").stdout)
    assert added in json.loads(cli.run("local", "image", "list", "--json").stdout)


def test_a_disk_is_added_with_secure_boot(cli: CommandLine, tmp_path: Path) -> None:
    disk = tmp_path / "efi.img"
    partition = b"\0" * 4 + b"\xef" + b"\0" * 11  # an EFI system partition
    disk.write_bytes(b"\xeb" * 440 + b"\0" * 6 + partition + b"\0" * 48 + b"\x55\xaa")
    os.truncate(disk, 2**20)
    add = ("local", "image", "add", "--release", "noble", "--secure-boot", "--file", str(disk))
    if X86_64.find_secure_uefi() is None:
        assert "UEFI with Secure Boot is required" in cli.complaint(*add)
        return
    added = json.loads(cli.run(*add, "--name", "secure", "--json").stdout)
    assert added["boot_mode"] == "uefi"
    (image,) = [image for image in Catalog(paths.images_dir()).images() if image.name == "secure"]
    assert key_names(image.uefi_data) == {"PK", "KEK", "db", "dbx"}


def test_secure_boot_requires_a_boot_loader_of_uefi(cli: CommandLine, disk: Path) -> None:
    add = ("local", "image", "add", "--release", "noble", "--secure-boot", "--file", str(disk))
    assert "needs a disk with a boot loader" in cli.run(*add, "--kernel", str(disk)).stderr
    assert "no Secure Boot for arm64" in cli.complaint(*add, "--arch", "arm64")
    if X86_64.find_secure_uefi() is not None:
        assert "has no EFI system partition" in cli.complaint(*add)


def test_an_image_for_arm64_is_built_and_exported_and_added(cli: CommandLine, mmdebstrap: Path) -> None:
    archive = cli.home / "root.tar"
    write_archive(archive, [*BOOT_FILES, *LOADER_FILES])
    mmdebstrap.write_text(f'#!/bin/sh\nfor word; do case "$word" in */root.tar) cp "{archive}" "$word";; esac; done\n')
    (mmdebstrap.parent / "arch-test").write_text("#!/bin/sh\n")
    (mmdebstrap.parent / "arch-test").chmod(0o755)
    image = json.loads(cli.run("local", "image", "build", "--arch", "arm64", "--json").stdout)
    assert (image["architecture"], image["boot_mode"]) == ("arm64", "uefi")
    copy = cli.home / "copy.qcow2"
    cli.run("local", "image", "export", image["image_id"], "--file", str(copy))
    add = ("local", "image", "add", "--release", "12", "--name", "mine", "--arch", "arm64", "--file", str(copy))
    added = json.loads(cli.run(*add, "--json").stdout)
    assert (added["name"], added["architecture"], added["boot_mode"]) == ("mine", "arm64", "uefi")


def test_build_prints_json_apart_from_its_log(cli: CommandLine, mmdebstrap: Path) -> None:
    archive = cli.home / "root.tar"
    write_archive(archive, [*BOOT_FILES, *LOADER_FILES])
    mmdebstrap.write_text(f'#!/bin/sh\nfor word; do case "$word" in */root.tar) cp "{archive}" "$word";; esac; done\n')
    done = cli.run("local", "image", "build", "--json")
    assert json.loads(done.stdout) in json.loads(cli.run("local", "image", "list", "--json").stdout)
    assert "writing the disk" in done.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "it is empty"), (b"a text, and no disk\n" * 99, "it has neither a partition table nor a known file system")],
)
def test_a_file_that_is_no_disk_is_refused(content: bytes, complaint: str, cli: CommandLine) -> None:
    path = cli.home / "file"
    path.write_bytes(content)
    told = cli.complaint("local", "image", "add", "--release", "noble", "--file", str(path))
    assert told == f"{path} is not a disk image: {complaint}"
    assert left() == []


@pytest.mark.parametrize(("name", "format_name"), [("copy.qcow2", "qcow2"), ("copy.raw", "raw"), ("copy.img", "raw")])
def test_exported_disk_can_be_added_again(cli: CommandLine, disk: Path, name: str, format_name: str) -> None:
    cli.run("local", "image", "add", "--release", "x", "--file", str(disk))
    copy = cli.home / name
    assert cli.run("local", "image", "export", "x", "--file", str(copy)).stdout == f"{copy}\n"
    assert qemu_img.inspect(copy).format == format_name
    assert cli.run("local", "image", "add", "--release", "y", "--file", str(copy)).returncode == 0
    assert "exists already" in cli.complaint("local", "image", "export", "x", "--file", str(copy))


def test_export_reports_an_unknown_image(cli: CommandLine) -> None:
    export = ("local", "image", "export", "x", "--file")
    assert "no image 'x'" in cli.complaint(*export, str(cli.home / "copy"), status=3)


@pytest.mark.parametrize("option", [("--include", "nginx"), ("--customize", __file__)])
def test_changed_build_needs_a_name(cli: CommandLine, option: tuple[str, str]) -> None:
    done = cli.run("local", "image", "build", *option)
    assert (done.returncode, "need --name" in done.stderr) == (2, True)


@pytest.mark.parametrize("option", [("--initrd", __file__), ("--append", "root=/dev/vda")])
def test_options_of_the_kernel_need_one(cli: CommandLine, disk: Path, option: tuple[str, str]) -> None:
    done = cli.run("local", "image", "add", "--release", "x", "--file", str(disk), *option)
    assert (done.returncode, "need --kernel" in done.stderr) == (2, True)


def test_disk_without_a_loader_needs_a_kernel(cli: CommandLine, disk: Path) -> None:
    disk.write_bytes(b"\0" * 510 + b"\x55\xaa" + b"\0" * 2**20)
    add = ("local", "image", "add", "--release", "x", "--file", str(disk))
    assert "has no boot loader: pass its kernel with --kernel" in cli.complaint(*add)
    kernel = cli.home / "vmlinuz"
    kernel.write_bytes(b"kernel")
    cli.run(*add, "--kernel", str(kernel), "--append", "root=/dev/vda console=ttyS0")
    (image,) = Catalog(paths.images_dir()).images()
    assert image.kernel is not None
    assert (image.kernel.read_bytes(), image.kernel_arguments) == (b"kernel", "root=/dev/vda console=ttyS0")


def test_what_is_no_file_is_refused(cli: CommandLine) -> None:
    add = ("local", "image", "add", "--release", "noble", "--file")
    done = cli.run(*add, str(cli.home))
    assert (done.returncode, f"File '{cli.home}' is a directory." in done.stderr) == (2, True)


def test_an_image_without_a_release_is_refused(cli: CommandLine, disk: Path) -> None:
    complaint = cli.complaint("local", "image", "add", "--release", " ", "--file", str(disk))
    assert complaint.startswith("an image needs a release")


def test_an_image_that_is_not_there_cannot_be_removed(cli: CommandLine) -> None:
    assert cli.complaint("local", "image", "remove", "ami-0", status=3).startswith("no image 'ami-0' in ")


def test_an_image_in_use_cannot_be_removed(cli: CommandLine, disk: Path) -> None:
    image = Catalog(paths.images_dir()).add(disk, release="noble")
    entry = os.open(image.disk.parent, os.O_RDONLY)
    fcntl.flock(entry, fcntl.LOCK_SH)
    complaint = cli.complaint("local", "image", "remove", image.image_id)
    assert complaint == f"image '{image.image_id}' is in use: delete the instances that were launched from it first"
    assert image.disk.exists()
    os.close(entry)
    assert cli.run("local", "image", "remove", image.image_id).returncode == 0


def test_full_disk_is_reported_before_copying(cli: CommandLine, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.write_bytes(disk.read_bytes()[:512] + os.urandom(2**20))
    with small_disk(cli.home / "small", "64k") as small:
        monkeypatch.setenv("XDG_DATA_HOME", str(small))
        complaint = cli.complaint("local", "image", "add", "--release", "noble", "--file", str(disk))
        assert complaint.startswith(f"no space left on the disk: {small}/pycloudlib/images has 0 MiB free")
        assert left() == []


def test_on_a_full_disk_an_image_can_still_be_removed(
    cli: CommandLine, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(cli.home / "small", "64k") as small:
        monkeypatch.setenv("XDG_DATA_HOME", str(small))
        cli.run("local", "image", "add", "--release", "x", "--file", str(disk))
        fill(small)
        disk_file = cli.complaint("local", "image", "add", "--release", "y", "--file", str(disk))
        assert disk_file.startswith("no space left on the disk: ")
        assert cli.run("local", "image", "remove", "x").returncode == 0
        assert left() == []


@needs_debians_tools
def test_full_disk_is_reported_before_building(
    cli: CommandLine, mmdebstrap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(cli.home / "small", "1m") as small:
        monkeypatch.setenv("XDG_DATA_HOME", str(small))
        complaint = cli.complaint("local", "image", "build")
        assert complaint.startswith("no space left on the disk: ")
        assert complaint.endswith(" MiB are needed")


def test_missing_mmdebstrap_names_the_package(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cli.home))
    complaint = cli.complaint("local", "image", "build")
    assert complaint.startswith("mmdebstrap, ")
    assert "required to build an image, but not installed: " in complaint
    assert "mmdebstrap" in complaint.partition("apt-get install -y ")[2].split()


@needs_debians_tools
@pytest.mark.parametrize(
    ("number", "status", "complaint"),
    [(signal.SIGINT, 130, "pycloudlib: interrupted"), (signal.SIGTERM, 143, "pycloudlib: terminated")],
)
def test_a_build_that_is_cut_off_leaves_nothing(
    number: signal.Signals, status: int, complaint: str, cli: CommandLine, mmdebstrap: Path
) -> None:
    mmdebstrap.write_text(INSTALLS_FOR_EVER)
    with cli.start("local", "image", "build") as process:
        assert process.stdout is not None
        assert "installing essential packages" in process.stdout.readline()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.strip()) == (status, complaint)
    assert left() == []


@needs_debians_tools
def test_a_build_whose_progress_nobody_reads_ends_without_a_word(cli: CommandLine, mmdebstrap: Path) -> None:
    mmdebstrap.write_text(INSTALLS_FOR_EVER)
    with cli.start("local", "image", "build") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (1, "")
    assert left() == []


@needs_debians_tools
def test_two_builds_at_once_make_two_images(cli: CommandLine, mmdebstrap: Path) -> None:
    archive = cli.home / "root.tar"
    write_archive(archive, [*BOOT_FILES, *LOADER_FILES])
    met = cli.home / "met"
    # Each waits until both are there.
    meet = f'mkdir "{met}.$$" && until [ "$(ls -d "{met}".* | wc -l)" -ge 2 ]; do :; done'
    copy = f'for word; do case "$word" in */root.tar) cp "{archive}" "$word";; esac; done'
    mmdebstrap.write_text(f"#!/bin/bash\n{meet.replace('$$', '$RANDOM$RANDOM')}\n{copy}\n")
    with cli.start("local", "image", "build") as one, cli.start("local", "image", "build") as other:
        told = [process.communicate(timeout=120) for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], told
    images = {stdout.splitlines()[-1].split()[0] for stdout, _ in told}
    assert len(images) == 2
    assert images < {image.image_id for image in Catalog(paths.images_dir()).images()}
    assert len(left()) == 2
