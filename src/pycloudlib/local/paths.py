"""The directories of the local EC2: XDG base directories, read from the environment on each call.

Images are data, running servers are state, and reproducible files are cache.
https://specifications.freedesktop.org/basedir-spec/latest/
"""

from __future__ import annotations

import os
from pathlib import Path

from pycloudlib.errors import LocalEC2Error

PRIVATE = 0o700
"""The mode of these directories: private, since they contain sockets, logs, and user data."""


def images_dir() -> Path:
    """Return the directory of the image catalog; create it if it is missing.

    Raises:
        LocalEC2Error: the directory cannot be created.
    """
    return _private_directory("XDG_DATA_HOME", ".local/share", "pycloudlib/images")


def state_dir() -> Path:
    """Return the directory of the running servers; create it if it is missing.

    Raises:
        LocalEC2Error: the directory cannot be created.
    """
    return _private_directory("XDG_STATE_HOME", ".local/state", "pycloudlib/local")


def cache_dir() -> Path:
    """Return the directory of reproducible files; create it if it is missing.

    Raises:
        LocalEC2Error: the directory cannot be created.
    """
    return _private_directory("XDG_CACHE_HOME", ".cache", "pycloudlib")


def _base(variable: str, default: str) -> Path:
    """Return a base directory, ignoring a relative value as the specification requires."""
    value = Path(os.environ.get(variable, ""))
    if value.is_absolute():
        return value
    try:
        return Path.home() / default
    except RuntimeError as error:
        raise LocalEC2Error(f"this user has no home directory: set {variable}, or HOME") from error


def _private_directory(variable: str, default: str, name: str) -> Path:
    """Create a private directory with its parents; existing directories keep their modes."""
    path = _base(variable, default) / name
    try:
        missing = [directory for directory in (path, *path.parents) if not directory.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=PRIVATE, exist_ok=True)
        is_directory = path.is_dir()
    except OSError as error:
        raise LocalEC2Error(
            f"cannot create the directory {path} ({error.strerror}): set {variable} to a writable directory"
        ) from error
    if not is_directory:
        raise LocalEC2Error(f"{path} is not a directory: move it away")
    return path
