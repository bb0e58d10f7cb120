"""Submodules as attributes of their package, imported on first use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType


def lazy_submodules(package: str) -> Callable[[str], ModuleType]:
    """Return a module's `__getattr__` that imports the submodule of the requested name.

    Args:
        package: the package's `__name__`.
    """

    def get_submodule(name: str) -> ModuleType:
        if not name.startswith("_"):
            submodule = f"{package}.{name}"
            try:
                return import_module(submodule)
            except ModuleNotFoundError as error:
                # Another name means a missing dependency.
                if error.name != submodule:
                    raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get_submodule
