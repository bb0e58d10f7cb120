from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.local import prerequisites


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is the whole of where programs are looked for."""
    monkeypatch.setattr(prerequisites, "SYSTEM_DIRECTORIES", str(tmp_path / "sbin"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("bin", "sbin"):
        (tmp_path / name).mkdir()
    return tmp_path / "bin"


def program(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_program_in_the_path_is_found(bin_dir: Path) -> None:
    there = program(bin_dir / "socat")
    assert prerequisites.require("socat", "for the metadata service") == there


def test_a_program_is_found_where_the_administrators_programs_are(bin_dir: Path) -> None:
    there = program(bin_dir.parent / "sbin" / "mke2fs")
    assert prerequisites.require("mke2fs", "to build an image") == there


@pytest.mark.usefixtures("bin_dir")
def test_a_missing_program_is_named_with_its_purpose_and_package() -> None:
    with pytest.raises(MissingPrerequisiteError) as caught:
        prerequisites.require("qemu-img", "to make disks")
    assert "qemu-img is not installed, needed to make disks: " in str(caught.value)
    assert str(caught.value).endswith("apt-get install -y qemu-utils")


def test_all_that_is_missing_is_told_at_once(bin_dir: Path) -> None:
    program(bin_dir / "mmdebstrap")
    with pytest.raises(MissingPrerequisiteError) as caught:
        prerequisites.require_all(["mmdebstrap", "mke2fs", "debugfs", "socat"], "to build an image")
    assert str(caught.value).startswith("mke2fs, debugfs, socat are not installed")
    assert str(caught.value).endswith("apt-get install -y e2fsprogs socat")


def test_a_file_that_cannot_be_executed_is_no_program(bin_dir: Path) -> None:
    (bin_dir / "socat").write_text("")
    assert prerequisites.find("socat") is None


@pytest.mark.parametrize(
    ("user", "command"), [(0, "apt-get install -y socat"), (1000, "sudo apt-get install -y socat")]
)
def test_sudo_is_for_those_who_need_it(user: int, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert prerequisites.install_command(["socat"]) == command
