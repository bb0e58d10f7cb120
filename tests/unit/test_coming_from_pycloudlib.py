"""The page for pycloudlib's users: its settings are valid, and the names that it promises exist."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest

import pycloudlib
from pycloudlib.config import Settings, load_settings
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.vpc import VPC

PAGE = Path(__file__).parents[2] / "docs/coming-from-pycloudlib.md"

SAME = PAGE.read_text().split("## Compatible names and behavior\n")[1].split("\n## ")[0]
SETTINGS = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    for name in ("id_ed25519", "id_ed25519.pub"):
        (tmp_path / ".ssh" / name).write_text("a key")


@pytest.mark.parametrize("text", SETTINGS)
def test_settings_of_every_suite_are_valid(text: str) -> None:
    settings = load_settings(StringIO(text))
    assert (settings.wait_on_launch, settings.boot_timeout) == (False, 2400)


def test_settings_table_names_settings() -> None:
    keys = re.findall(r"\| `(\w+) = [^`]+` \|", PAGE.read_text())
    assert keys == ["wait_on_launch", "cloud_init_failure", "boot_timeout", "host_keys"]
    assert all(hasattr(Settings(), key) for key in keys)


@pytest.mark.parametrize("name", re.findall(r"`(pycloudlib(?:\.\w+)+)`", SAME))
def test_names_of_the_page_exist(name: str) -> None:
    found: object = pycloudlib
    for part in name.split(".")[1:]:
        found = getattr(found, part)


@pytest.mark.parametrize("name", sorted({*re.findall(r"`instance\.(\w+)(?:\(\))?`", SAME), "_type"}))
def test_attributes_of_instances_exist(name: str) -> None:
    # The only one that is set in __init__.
    assert hasattr(EC2Instance, name) or name == "created_interfaces"


def test_attributes_of_clouds_and_vpcs_exist() -> None:
    for name in ("created_instances", "created_images", "created_vpcs", "created_keys", "_type"):
        assert hasattr(EC2, name)
    assert hasattr(VPC, "vpc")
