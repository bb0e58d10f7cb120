"""botocore's descriptions of services, each read once: moto opens several sessions, and each would read EC2's anew."""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.loaders import JSONFileLoader, Loader


class _KeptFiles(JSONFileLoader):
    """Reads files for botocore, and keeps what is in them."""

    def load_file(self, file_path: str) -> Any:
        """What is in a file; None where there is none."""
        return _read(file_path)


@cache
def _read(file_path: str) -> Any:
    return JSONFileLoader().load_file(file_path)


def share_service_models() -> None:
    """Let all of botocore's sessions in this process share what they read; to be called before moto is imported."""
    Loader.FILE_LOADER_CLASS = _KeptFiles
