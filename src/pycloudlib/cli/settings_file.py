"""The file of `local start --write-config`: readable only by its owner, and never replacing other settings."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pycloudlib.errors import LocalEC2Error

if TYPE_CHECKING:
    from pycloudlib.local import ServerInfo

HEADER = "# Written by: pycloudlib local start"


def check_writing(path: Path, name: str) -> None:
    """Raise, before starting anything, if the file cannot be written or must not be replaced.

    Args:
        path: the file.
        name: the name of the local EC2 that is about to start.

    Raises:
        LocalEC2Error: it is not a file, its directory does not exist, or it has other settings: a user's, or those of
            another running local EC2.
    """
    if path.exists() and not path.is_file():
        raise LocalEC2Error(f"cannot write {path}: it is not a regular file")
    if not path.parent.is_dir():
        raise LocalEC2Error(f"cannot write {path}: the directory {path.parent} does not exist")
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            _refuse_other_settings(file.read(), path, name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LocalEC2Error(f"cannot write {path}: {error.strerror}") from error


def write(path: Path, name: str, info: ServerInfo) -> None:
    """Write the settings of a local EC2 to a file that only the user can read.

    Args:
        path: the file.
        name: the name of the local EC2.
        info: the server's endpoint and settings.

    Raises:
        LocalEC2Error: see `check_writing()`; also if another start has written the file since, or the disk is full.
    """
    try:
        # With --auth these are credentials; without, they look like some, so protect them as well.
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8", errors="replace") as file:
            # Serialize concurrent starts with the same file.
            fcntl.flock(file, fcntl.LOCK_EX)
            _refuse_other_settings(file.read(), path, name)
            os.fchmod(file.fileno(), 0o600)
            _replace(file, f"{HEADER}\n{info.settings_toml()}")
    except OSError as error:
        raise LocalEC2Error(f"cannot write {path}: {error.strerror}") from error


def _replace(file: TextIO, text: str) -> None:
    file.seek(0)
    file.truncate()
    try:
        os.write(file.fileno(), text.encode())
    except OSError:
        # An empty file has no owner, so the next start may write it.
        file.truncate(0)
        raise


def _refuse_other_settings(text: str, path: Path, name: str) -> None:
    if text and not text.startswith(HEADER):
        raise LocalEC2Error(f"{path} contains other settings: give a file that does not exist")
    owner = _running_owner(text)
    if owner not in (None, name):
        raise LocalEC2Error(
            f"{path} contains the settings of the local EC2 {owner!r}, which is running: give another file, or stop it "
            f"first: pycloudlib local stop --name {owner}"
        )


def _running_owner(text: str) -> str | None:
    """Return the name of the running local EC2 with these settings; None without one."""
    from pycloudlib.local.daemon import running_servers

    lines = text.splitlines()
    leading = (name for name, info in running_servers().items() if _endpoint_line(info) in lines)
    return next(leading, None)


def _endpoint_line(info: ServerInfo) -> str:
    return f"endpoint_url = {json.dumps(info.endpoint_url)}"
