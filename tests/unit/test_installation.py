from __future__ import annotations

import shlex
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from pycloudlib import installation
from pycloudlib.installation import install_command, install_extras

REPOSITORY = "https://git.example/pycloudlib-ec2.git"


def test_package_of_a_registry_is_named() -> None:
    assert install_command({}, ("local", "cli")) == "pip install 'pycloudlib-ec2[local,cli]'"


def test_clone_is_named_by_its_path(tmp_path: Path) -> None:
    origin = {"url": tmp_path.as_uri(), "dir_info": {}}
    assert install_command(origin, ("local",)) == f"pip install '{tmp_path}[local]'"


def test_editable_clone_stays_editable(tmp_path: Path) -> None:
    origin = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    assert install_command(origin, ("local",)) == f"pip install --editable '{tmp_path}[local]'"


def test_path_with_a_space_is_one_word(tmp_path: Path) -> None:
    clone = tmp_path / "my clone"
    clone.mkdir()
    command = install_command({"url": clone.as_uri(), "dir_info": {}}, ("local",))
    assert shlex.split(command) == ["pip", "install", f"{clone}[local]"]


def test_wheel_is_named_by_its_path(tmp_path: Path) -> None:
    wheel = tmp_path / "pycloudlib_ec2-0.1.0-py3-none-any.whl"
    wheel.touch()
    assert install_command({"url": wheel.as_uri(), "archive_info": {}}, ("cli",)) == f"pip install '{wheel}[cli]'"


def test_clone_that_is_deleted_is_not_named(tmp_path: Path) -> None:
    origin = {"url": (tmp_path / "gone").as_uri(), "dir_info": {}}
    assert install_command(origin, ("local",)) == "pip install 'pycloudlib-ec2[local]'"


def test_commit_of_a_repository_is_named() -> None:
    origin = {"url": REPOSITORY, "vcs_info": {"vcs": "git", "commit_id": "0123abc"}}
    assert install_command(origin, ("local",)) == f"pip install 'pycloudlib-ec2[local] @ git+{REPOSITORY}@0123abc'"


def test_downloaded_archive_is_named_by_its_url() -> None:
    origin = {"url": "https://files.example/pycloudlib-ec2.zip", "archive_info": {}}
    assert install_command(origin, ("local",)) == f"pip install 'pycloudlib-ec2[local] @ {origin['url']}'"


@pytest.mark.parametrize("text", [None, "not JSON", "[]"])
def test_unreadable_origin_counts_as_a_registry(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Distribution:
        def read_text(self, _name: str) -> Any:
            return text

    monkeypatch.setattr(installation, "distribution", lambda _name: Distribution())
    assert install_extras("local") == "pip install 'pycloudlib-ec2[local]'"


def test_extra_of_every_message_exists() -> None:
    provided = distribution("pycloudlib-ec2").metadata.get_all("Provides-Extra") or []
    assert {"local", "cli", "pytest", "report"} <= set(provided)
