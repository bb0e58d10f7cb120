"""A cache of botocore's service models: moto opens several sessions, and each would read EC2's again."""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.loaders import JSONFileLoader, Loader


class _CachedFiles(JSONFileLoader):
    """Reads files for botocore, and caches their contents."""

    def load_file(self, file_path: str) -> Any:
        """Return the contents of a file; None if it does not exist."""
        return _read(file_path)


@cache
def _read(file_path: str) -> Any:
    return JSONFileLoader().load_file(file_path)


def share_service_models() -> None:
    """Share one cache between all botocore sessions of this process. Call it before importing moto."""
    Loader.FILE_LOADER_CLASS = _CachedFiles
