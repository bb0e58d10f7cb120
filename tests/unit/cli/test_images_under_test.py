from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.cli.images_under_test import is_disk, require_extras
from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.installation import install_extras


def test_an_image_is_an_ami_a_release_or_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noble.img").touch()
    assert is_disk("noble.img")
    assert is_disk("images/missing.img")
    assert is_disk("missing.img")
    assert is_disk("missing.QCOW2")
    assert is_disk(str(tmp_path / "noble.img"))
    assert not is_disk("noble")
    assert not is_disk("24.04")
    assert not is_disk("ami-0123456789abcdef0")


def test_missing_extra_names_the_install_command() -> None:
    require_extras("validate", {"json": "report"})
    with pytest.raises(MissingPrerequisiteError) as caught:
        require_extras("validate", {"no_such": "report"})
    assert str(caught.value) == f"validate needs no_such: {install_extras('report')}"
