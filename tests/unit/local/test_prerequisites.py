from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest

from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.installation import install_extras
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
    assert "qemu-img is required to make disks, but not installed: " in str(caught.value)
    assert str(caught.value).endswith("apt-get install -y qemu-utils")


def test_all_missing_programs_are_reported_together(bin_dir: Path) -> None:
    program(bin_dir / "mmdebstrap")
    with pytest.raises(MissingPrerequisiteError) as caught:
        prerequisites.require_all(["mmdebstrap", "mke2fs", "debugfs", "socat"], "to build an image")
    assert str(caught.value).startswith("mke2fs, debugfs, socat are required to build an image, but not installed")
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


def test_moto_is_the_release_that_pyproject_requires() -> None:
    assert any(re.fullmatch(rf"moto\[.*\]=={prerequisites.MOTO_VERSION}.*", one) for one in requires("pycloudlib-ec2"))
    prerequisites.require_moto()


def test_another_release_of_moto_is_refused_naming_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "version", lambda _name: "6.0.0")
    with pytest.raises(MissingPrerequisiteError) as caught:
        prerequisites.require_moto()
    assert str(caught.value) == (
        f"the local EC2 works with moto {prerequisites.MOTO_VERSION} only, and moto 6.0.0 is installed: "
        f"{install_extras('local')}"
    )


def test_missing_moto_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(prerequisites, "version", absent)
    with pytest.raises(MissingPrerequisiteError, match=f"needs moto .*{re.escape(install_extras('local'))}"):
        prerequisites.require_moto()


def test_a_missing_package_of_motos_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "MOTO_SERVER_MODULES", ("flask", "no_such_module"))
    with pytest.raises(MissingPrerequisiteError, match="needs no_such_module"):
        prerequisites.require_moto()
