"""Where the local EC2 keeps its files: the XDG base directories, read from the environment on each call.

Images are data, running servers are state, and what can be made again is cache, as
https://specifications.freedesktop.org/basedir-spec/latest/ has it.
"""

from __future__ import annotations

import os
from pathlib import Path

from pycloudlib.errors import LocalEC2Error

PRIVATE = 0o700
"""Who may look into these directories: nobody else, since sockets, logs and user data lie in them."""


def images_dir() -> Path:
    """The directory of the image catalogue, made when it is missing.

    Raises:
        LocalEC2Error: it cannot be made.
    """
    return _private_directory("XDG_DATA_HOME", ".local/share", "pycloudlib/images")


def state_dir() -> Path:
    """The directory of the running servers, made when it is missing.

    Raises:
        LocalEC2Error: it cannot be made.
    """
    return _private_directory("XDG_STATE_HOME", ".local/state", "pycloudlib/local")


def cache_dir() -> Path:
    """The directory of what can be made again, made when it is missing.

    Raises:
        LocalEC2Error: it cannot be made.
    """
    return _private_directory("XDG_CACHE_HOME", ".cache", "pycloudlib")


def _base(variable: str, default: str) -> Path:
    """One base directory; a relative value is to be ignored, says the specification."""
    value = Path(os.environ.get(variable, ""))
    if value.is_absolute():
        return value
    try:
        return Path.home() / default
    except RuntimeError as error:
        raise LocalEC2Error(f"this user has no home directory: set {variable}, or HOME") from error


def _private_directory(variable: str, default: str, name: str) -> Path:
    """Make a directory with its parents, each for this user alone; leave those that exist as they are."""
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
