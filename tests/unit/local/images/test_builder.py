from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pycloudlib.errors import ImageError, InvalidArgumentError, LocalEC2Error, MissingPrerequisiteError
from pycloudlib.local import prerequisites, qemu_img
from pycloudlib.local.images import apt_sources, boot_loader, builder
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.images.distributions import DEBIAN_DAILIES, DEBIAN_RELEASES, SELF
from pycloudlib.local.images.guest_file import GuestFile
from pycloudlib.local.images.guest_files import GUEST_FILES, masked, write_archive
from pycloudlib.local.prerequisites import find
from support.built_root import LOADER_FILES

needs_mke2fs = pytest.mark.skipif(
    any(find(name) is None for name in ("mke2fs", "debugfs", "qemu-img", *boot_loader.PROGRAMS)),
    reason="needs e2fsprogs, fdisk, mtools, and qemu-img to make and read a disk",
)

BOOT_FILES = ("vmlinuz-6.1.0-1-cloud-amd64", "initrd.img-6.1.0-1-cloud-amd64")


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "images")


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of programs that come before the system's, and a keyring that is there."""
    directory = tmp_path / "bin"
    directory.mkdir()
    (tmp_path / "keyring.gpg").write_text("")
    monkeypatch.setattr(builder, "KEYRINGS", (tmp_path / "keyring.gpg",))
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory


def stand_in(bin_dir: Path, script: str) -> None:
    """Put a script in mmdebstrap's place, which takes a mirror, half a minute and 500 MB."""
    program(bin_dir, "mmdebstrap", script)


def program(bin_dir: Path, name: str, script: str) -> None:
    (bin_dir / name).write_text(f"#!/bin/sh\n{script}\n")
    (bin_dir / name).chmod(0o755)


def root_archive(path: Path, boot_files: tuple[str, ...] = BOOT_FILES) -> Path:
    boot = [GuestFile(f"boot/{name}", f"content of {name}") for name in boot_files]
    write_archive(path, [*GUEST_FILES, *boot, *LOADER_FILES, GuestFile("etc/shadow", "root:*:::::::\n", mode=0o640)])
    return path


def that_gives(archive: Path) -> str:
    """A stand-in that copies an archive to the file that mmdebstrap is asked to write."""
    return f'for word; do case "$word" in */root.tar) cp "{archive}" "$word";; esac; done'


def leftovers(catalogue: Catalog) -> list[str]:
    return [path.name for path in catalogue.directory.glob(".partial-*")]


def debugfs(disk: Path, request: str, partition: boot_loader.Partition = boot_loader.ROOT) -> str:
    file_system = f"{disk}?offset={partition.offset}"
    done = subprocess.run(
        [str(find("debugfs")), "-R", request, file_system], capture_output=True, text=True, check=True
    )
    return done.stdout


@needs_mke2fs
def test_image_has_disk_kernel_and_initrd(catalogue: Catalog, bin_dir: Path, tmp_path: Path) -> None:
    stand_in(bin_dir, that_gives(root_archive(tmp_path / "root.tar")))
    image = builder.build(catalogue)
    assert image.kernel is not None
    assert image.initrd is not None
    assert image.kernel.read_text() == f"content of {BOOT_FILES[0]}"
    assert image.initrd.read_text() == f"content of {BOOT_FILES[1]}"
    assert image.kernel_arguments.startswith(f"BOOT_IMAGE=/{BOOT_FILES[0]} root=LABEL=root ro ")
    assert image.has_boot_loader
    assert "console=ttyS0" in image.kernel_arguments
    assert image.user_mode_arguments == ""
    assert qemu_img.inspect(image.disk) == qemu_img.DiskInfo("raw", builder.DISK_SIZE, None)
    assert leftovers(catalogue) == []
    assert sorted(path.name for path in image.disk.parent.iterdir()) == ["disk.raw", "image.json", "initrd", "vmlinuz"]


@needs_mke2fs
def test_disk_has_files_of_root_with_their_permissions(catalogue: Catalog, bin_dir: Path, tmp_path: Path) -> None:
    stand_in(bin_dir, that_gives(root_archive(tmp_path / "root.tar")))
    disk = builder.build(catalogue).disk
    assert "name: admin" in debugfs(disk, "cat /etc/cloud/cloud.cfg.d/10_pycloudlib.cfg")
    shadow = debugfs(disk, "stat /etc/shadow")
    assert "Mode:  0640" in shadow
    assert "User:     0   Group:     0" in shadow
    assert debugfs(disk, f"cat /{BOOT_FILES[0]}", boot_loader.BOOT) == f"content of {BOOT_FILES[0]}"
    assert f"linux /{BOOT_FILES[0]} root=LABEL=root" in debugfs(disk, "cat /grub/grub.cfg", boot_loader.BOOT)
    assert 'Fast link dest: "/dev/null"' in debugfs(disk, "stat /etc/systemd/system/apt-daily.timer")


@needs_mke2fs
def test_image_is_a_daily_and_a_released_one(catalogue: Catalog, bin_dir: Path, tmp_path: Path) -> None:
    stand_in(bin_dir, that_gives(root_archive(tmp_path / "root.tar")))
    image = builder.build(catalogue)
    assert {image.owner_id for image in catalogue.images()} == {DEBIAN_DAILIES, DEBIAN_RELEASES}
    assert (image.owner_id, image.username, image.source) == (DEBIAN_DAILIES, "admin", "built")


@needs_mke2fs
def test_image_is_built_once_unless_forced(catalogue: Catalog, bin_dir: Path, tmp_path: Path) -> None:
    stand_in(bin_dir, that_gives(root_archive(tmp_path / "root.tar")))
    first = builder.build(catalogue)
    steps: list[str] = []
    assert builder.build(catalogue, release="13", progress=steps.append) == first
    assert steps == [f"{first.name} exists already"]
    assert builder.build(catalogue, force=True) != first


@needs_mke2fs
def test_image_of_another_version_is_built_again(catalogue: Catalog, bin_dir: Path, tmp_path: Path) -> None:
    stand_in(bin_dir, that_gives(root_archive(tmp_path / "root.tar")))
    with pytest.MonkeyPatch.context() as earlier:
        earlier.setattr(builder, "PACKAGES", ("another-package",))
        first = builder.build(catalogue)
    steps: list[str] = []
    assert builder.build(catalogue, progress=steps.append) != first
    assert steps[0] == f"{first.name} exists, but was built by another version"


@needs_mke2fs
def test_progress_has_each_step_with_its_time(catalogue: Catalog, bin_dir: Path, tmp_path: Path) -> None:
    said = "echo 'I: installing essential packages...' >&2; echo 'I: automatically chosen mode: root' >&2"
    stand_in(bin_dir, f"{said}; {that_gives(root_archive(tmp_path / 'root.tar'))}")
    steps: list[str] = []
    image = builder.build(catalogue, progress=steps.append)
    assert [step.split(" s  ")[1] for step in steps] == [
        "installing essential packages",
        "writing the disk",
        f"{image.name} is ready",
    ]
    assert all(float(step.split(" s  ")[0]) >= 0 for step in steps)


@pytest.mark.usefixtures("bin_dir")
def test_packages_without_a_kernel_are_rejected(catalogue: Catalog, bin_dir: Path, tmp_path: Path) -> None:
    stand_in(bin_dir, that_gives(root_archive(tmp_path / "root.tar", boot_files=())))
    with pytest.raises(ImageError, match=r"no vmlinuz-\*"):
        builder.build(catalogue)
    assert leftovers(catalogue) == []


def test_failed_mmdebstrap_is_quoted_without_passwords_and_leaves_nothing(catalogue: Catalog, bin_dir: Path) -> None:
    lines = "I: running apt-get update...\nE: Failed to fetch http://me:hush@mirror.example/debian\nE: apt-get failed"
    stand_in(bin_dir, f"cat >&2 <<'END'\n{lines}\nEND\nexit 25")
    with pytest.raises(ImageError) as caught:
        builder.build(catalogue)
    expected = "mmdebstrap failed: E: Failed to fetch http://***@mirror.example/debian; E: apt-get failed"
    assert str(caught.value) == expected
    assert leftovers(catalogue) == []
    assert catalogue.images() == []


def test_mmdebstrap_without_output_is_reported_by_its_status(catalogue: Catalog, bin_dir: Path) -> None:
    stand_in(bin_dir, "exit 25")
    with pytest.raises(ImageError, match="mmdebstrap failed: exit status 25"):
        builder.build(catalogue)


def test_error_of_an_ordinary_user_names_packages(catalogue: Catalog, bin_dir: Path) -> None:
    stand_in(bin_dir, "echo 'E: unable to pick chroot mode automatically' >&2; exit 1")
    with pytest.raises(ImageError, match=r"this user cannot build.*apt-get install -y uidmap fakechroot fakeroot"):
        builder.build(catalogue)


def test_cancellation_ends_mmdebstrap_and_leaves_nothing(catalogue: Catalog, bin_dir: Path, tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    stand_in(
        bin_dir,
        f"trap 'touch {tidied}; kill $!; exit 1' INT; sleep 600 2>/dev/null & "
        "echo 'I: installing essential packages...' >&2; wait",
    )

    def cancel(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        builder.build(catalogue, progress=cancel)
    assert tidied.exists()
    assert leftovers(catalogue) == []


@pytest.mark.skipif(find("fakeroot") is None, reason="needs fakeroot")
def test_cancellation_ends_the_daemon_of_fakeroot(
    catalogue: Catalog, bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARK_OF_THIS_TEST", str(tmp_path))
    stand_in(bin_dir, "exec fakeroot sh -c 'echo \"I: installing essential packages...\" >&2; exec sleep 600'")

    def cancel(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        builder.build(catalogue, progress=cancel)
    assert processes_with(f"MARK_OF_THIS_TEST={tmp_path}") == []


def processes_with(variable: str) -> list[str]:
    """The command lines of the other processes that have a variable in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if variable.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text())
    return found


@needs_mke2fs
def test_debian_13_has_netplan_and_no_program_for_its_network(
    catalogue: Catalog, bin_dir: Path, tmp_path: Path
) -> None:
    archive, words = root_archive(tmp_path / "root.tar"), tmp_path / "words"
    files = tmp_path / "files.tar"
    keep = f'echo "$@" >{words}; cp "$(echo "$@" | grep -o "/[^ ]*guest-files.tar" | head -1)" {files}'
    stand_in(bin_dir, f"{keep}; {that_gives(archive)}")
    image = builder.build(catalogue, release="13")
    assert (image.release, image.user_mode_arguments) == ("trixie", "")
    assert image.has_boot_loader
    assert "netplan.io" in words.read_text()
    assert "ifupdown" not in words.read_text()
    with tarfile.open(files) as archived:
        assert [name for name in archived.getnames() if "ec2-interface" in name] == []


def test_sid_enables_networkd_without_netplan() -> None:
    trixie, sid = builder.recipe_of("trixie"), builder.recipe_of("sid")
    assert set(sid.packages) == set(trixie.packages)
    added = {file.path: (file.text, file.link) for file in set(sid.files) - set(trixie.files)}
    assert added["etc/systemd/system/multi-user.target.wants/systemd-networkd.service"] == (
        "/usr/lib/systemd/system/systemd-networkd.service",
        True,
    )


@needs_mke2fs
def test_debian_12_leaves_the_network_to_its_own_program_on_user_networking(
    catalogue: Catalog, bin_dir: Path, tmp_path: Path
) -> None:
    stand_in(bin_dir, that_gives(root_archive(tmp_path / "root.tar")))
    image = builder.build(catalogue, release="12")
    assert (image.release, image.user_mode_arguments) == ("bookworm", "network-config=disabled")


@needs_mke2fs
def test_an_image_for_arm64_boots_by_uefi_on_its_own_console(catalogue: Catalog, bin_dir: Path, tmp_path: Path) -> None:
    words = tmp_path / "words"
    stand_in(bin_dir, f"""echo "$@" >{words}; {that_gives(root_archive(tmp_path / "root.tar"))}""")
    program(bin_dir, "arch-test", "exit 0")
    image = builder.build(catalogue, architecture="arm64")
    assert (image.architecture, image.boot_mode, image.warm_initrd) == ("arm64", "uefi", None)
    assert image.name.startswith("debian-13-arm64-daily-")
    assert "console=ttyAMA0" in image.kernel_arguments
    assert {"--architectures=arm64"} < set(words.read_text().split())
    assert "linux-image-cloud-arm64" in words.read_text()
    assert "amd64" not in words.read_text()
    assert "console=ttyAMA0" in debugfs(image.disk, "cat /grub/grub.cfg", boot_loader.BOOT)
    of_x86_64 = builder.build(catalogue)
    assert (of_x86_64.architecture, of_x86_64.boot_mode) == ("x86_64", "legacy-bios")
    assert builder.build(catalogue, architecture="arm64") == image


def test_host_that_cannot_run_package_scripts_gets_a_remedy(bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "HOST_ARCHITECTURES", {})
    program(bin_dir, "arch-test", "exit 1")
    with pytest.raises(MissingPrerequisiteError, match=r"cannot run programs for arm64.*qemu-user-static.*binfmt_misc"):
        builder.require_emulation("arm64")
    monkeypatch.setenv("PATH", str(bin_dir / "empty"))
    with pytest.raises(MissingPrerequisiteError, match=r"to build an image for arm64.*apt-get install -y arch-test"):
        builder.require_emulation("arm64")


def test_the_hosts_own_architecture_needs_no_emulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(builder, "HOST_ARCHITECTURES", {os.uname().machine: "arm64"})
    builder.require_emulation("arm64")


def test_an_unknown_architecture_is_refused_with_the_known(catalogue: Catalog) -> None:
    with pytest.raises(InvalidArgumentError, match="unknown architecture 'riscv64'; allowed: x86_64, arm64"):
        builder.build(catalogue, architecture="riscv64")


@needs_mke2fs
def test_an_image_of_ones_own_has_further_packages_and_runs_the_program_last(
    catalogue: Catalog, bin_dir: Path, tmp_path: Path
) -> None:
    program, words = tmp_path / "program", tmp_path / "words"
    program.write_text("#!/bin/sh\necho customized >/etc/motd\n")
    stand_in(bin_dir, f'printf "%s\\n" "$@" >{words}; {that_gives(root_archive(tmp_path / "root.tar"))}')
    options = {"name": "with-nginx", "include": ["nginx", "curl"], "customize": program}
    image = builder.build(catalogue, **options)
    assert (image.name, image.owner_id, image.release) == ("with-nginx", SELF, "trixie")
    assert [one.name for one in catalogue.images()] == ["with-nginx"]
    given = words.read_text().splitlines()
    assert {"nginx", "curl"} < set(given[given.index("--include") + 1].split(","))
    hooks = [word for before, word in pairwise(given) if before == "--customize-hook"]
    assert "chroot" in hooks[1]
    assert "rm " in hooks[1]

    steps: list[str] = []
    assert builder.build(catalogue, progress=steps.append, **options) == image
    assert steps == ["with-nginx exists already"]
    assert builder.build(catalogue).name.startswith("debian-13-")


@needs_mke2fs
def test_another_program_needs_another_name(catalogue: Catalog, bin_dir: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    stand_in(bin_dir, that_gives(root_archive(tmp_path / "root.tar")))
    program.write_text("one")
    builder.build(catalogue, name="mine", customize=program)
    program.write_text("another")
    with pytest.raises(ImageError, match="'mine'"):
        builder.build(catalogue, name="mine", customize=program)
    assert leftovers(catalogue) == []


@pytest.mark.parametrize("options", [{"include": ["nginx"]}, {"customize": Path("program")}])
def test_a_changed_image_needs_a_name_of_its_own(catalogue: Catalog, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="needs a name of its own"):
        builder.build(catalogue, **options)


@pytest.mark.parametrize(("content", "complaint"), [(None, "No such file"), (b"\xff\xfe", "it is not text")])
def test_a_program_that_cannot_be_read_is_named(
    catalogue: Catalog, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    program = tmp_path / "program"
    if content is not None:
        program.write_bytes(content)
    with pytest.raises(ImageError, match=f"cannot read the program {program}: {complaint}"):
        builder.build(catalogue, name="mine", customize=program)


@pytest.mark.parametrize("release", ["noble", "bullseye", "my-own"])
def test_unsupported_release_is_rejected_with_the_supported_ones(catalogue: Catalog, release: str) -> None:
    with pytest.raises(ImageError, match=f"cannot build '{release}': only trixie, bookworm, sid can be built"):
        builder.build(catalogue, release=release)
    assert not catalogue.directory.exists()


def test_all_missing_programs_are_reported_first(
    catalogue: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prerequisites, "SYSTEM_DIRECTORIES", str(tmp_path))
    with pytest.raises(MissingPrerequisiteError, match=r"mmdebstrap, mke2fs.*to build an image.*e2fsprogs.*mmdebstrap"):
        builder.build(catalogue)
    assert not catalogue.directory.exists()


def test_missing_archive_keys_are_reported(bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mmdebstrap", "mke2fs", "tar", "fakeroot", *boot_loader.PROGRAMS):
        (bin_dir / name).write_text("#!/bin/sh\n")
        (bin_dir / name).chmod(0o755)
    monkeypatch.setattr(builder, "KEYRINGS", (tmp_path / "missing.gpg",))
    with pytest.raises(MissingPrerequisiteError, match="apt-get install -y debian-archive-keyring"):
        builder.require_programs()


def test_full_disk_is_reported_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "ROOM_FOR_IMAGE", 2**60)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(LocalEC2Error, match="no space left on the disk"):
        builder.require_room(tmp_path / "images")


def test_guest_files_belong_to_root(tmp_path: Path) -> None:
    write_archive(tmp_path / "files.tar", [GuestFile("etc/a", "text", mode=0o755), masked("b.timer")])
    with tarfile.open(tmp_path / "files.tar") as archive:
        file, link = archive.getmembers()
        content = archive.extractfile(file)
        assert content is not None
        assert content.read() == b"text"
    assert (file.uid, file.gid, file.mode) == (0, 0, 0o755)
    assert (link.name, link.linkname, link.issym()) == ("etc/systemd/system/b.timer", "/dev/null", True)


DEB822 = """\
# The system's own.
Types: deb
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: trixie-security
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""

EXPECTED = """\
deb http://mirror.example/debian bookworm main
deb http://mirror.example/debian bookworm-updates main
deb http://mirror.example/debian-security bookworm-security main
"""


@pytest.fixture
def apt_dir(tmp_path: Path) -> Path:
    (tmp_path / "apt" / "sources.list.d").mkdir(parents=True)
    return tmp_path / "apt"


def test_mirror_of_the_host_is_used_for_any_release(apt_dir: Path) -> None:
    (apt_dir / "sources.list.d" / "debian.sources").write_text(DEB822)
    assert apt_sources.host_mirrors("bookworm", apt_dir) == EXPECTED


def test_sid_has_no_archives_of_updates(apt_dir: Path) -> None:
    (apt_dir / "sources.list.d" / "debian.sources").write_text(DEB822)
    assert apt_sources.host_mirrors("sid", apt_dir) == "deb http://mirror.example/debian sid main\n"


def test_one_line_format_is_parsed(apt_dir: Path) -> None:
    (apt_dir / "sources.list").write_text(
        "# deb http://old.example/debian trixie main\n"
        "deb-src http://source.example/debian trixie main\n"
        "deb [arch=amd64] http://mirror.example/debian trixie main  # ours\n"
        "deb http://mirror.example/debian-security trixie-security main\n"
    )
    assert apt_sources.host_mirrors("bookworm", apt_dir) == EXPECTED


@pytest.mark.parametrize(
    "foreign",
    [
        "Types: deb\nURIs: https://docker.example/linux/debian\nSuites: bookworm\nComponents: stable\n",
        "Types: deb\nURIs: https://vendor.example/apt\nSuites: bookworm\nComponents: main\n",
        "Types: deb\nURIs: https://x.example/debian\nSuites: bookworm\nComponents: main\nSigned-By: /etc/x.gpg\n",
        "Types: deb-src\nURIs: https://x.example/debian\nSuites: bookworm\nComponents: main\n",
        "Enabled: no\nTypes: deb\nURIs: https://x.example/debian\nSuites: bookworm\nComponents: main\n",
    ],
    ids=["another component", "another archive", "another key", "sources only", "disabled"],
)
def test_archive_of_another_distribution_is_not_used(foreign: str, apt_dir: Path) -> None:
    (apt_dir / "sources.list.d" / "other.sources").write_text(foreign)
    assert apt_sources.host_mirrors("bookworm", apt_dir) is None


def test_host_without_sources_has_no_mirror(tmp_path: Path) -> None:
    assert apt_sources.host_mirrors("bookworm", tmp_path / "missing") is None
