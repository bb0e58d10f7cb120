from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import DataNotFoundError
from botocore.loaders import Loader, create_loader

from pycloudlib.local.api.service_model_cache import share_service_models


@pytest.fixture(autouse=True)
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loader, "FILE_LOADER_CLASS", Loader.FILE_LOADER_CLASS)
    share_service_models()


def test_what_one_session_has_read_another_one_has(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"is": "this"}')
    first = create_loader(str(tmp_path)).load_data("mine")
    file.unlink()
    assert first == {"is": "this"}
    assert create_loader(str(tmp_path)).load_data("mine") is first


def test_missing_service_model_raises(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="mine"):
        create_loader(str(tmp_path)).load_data("mine")
