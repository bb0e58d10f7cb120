"""The file that `local start --write-config` writes: for its owner alone, and never over other settings."""

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
    """Refuse, before anything is started, a file that cannot or must not be written.

    Args:
        path: the file.
        name: of the local EC2 that is about to be started.

    Raises:
        LocalEC2Error: it is no file, is in no directory, or holds other settings: those of a user, or of another local
            EC2 that runs.
    """
    if path.exists() and not path.is_file():
        raise LocalEC2Error(f"cannot write {path}: it is no file")
    if not path.parent.is_dir():
        raise LocalEC2Error(f"cannot write {path}: there is no directory {path.parent}")
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            _refuse_other_settings(file.read(), path, name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LocalEC2Error(f"cannot write {path}: {error.strerror}") from error


def write(path: Path, name: str, info: ServerInfo) -> None:
    """Write the settings of a local EC2, readable by the user alone.

    Args:
        path: the file.
        name: of the local EC2.
        info: what it is.

    Raises:
        LocalEC2Error: as for check_writing(), also when another start has written it since; or there is no room.
    """
    try:
        # With --auth they are credentials; without, they look like some, so they are kept like some.
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8", errors="replace") as file:
            # Two starts that write the same file check and write it one after the other.
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
        # An empty file is nobody's: the next start may write it.
        file.truncate(0)
        raise


def _refuse_other_settings(text: str, path: Path, name: str) -> None:
    if text and not text.startswith(HEADER):
        raise LocalEC2Error(f"{path} holds other settings: name a file that does not exist yet")
    owner = _running_owner(text)
    if owner not in (None, name):
        raise LocalEC2Error(
            f"{path} holds the settings of the local EC2 {owner!r}, which is running: name another file, or stop that "
            f"one first: pycloudlib local stop --name {owner}"
        )


def _running_owner(text: str) -> str | None:
    """Return the name of the running local EC2 to which these settings lead; None when there is none."""
    from pycloudlib.local.daemon import running_servers

    lines = text.splitlines()
    leading = (name for name, info in running_servers().items() if _endpoint_line(info) in lines)
    return next(leading, None)


def _endpoint_line(info: ServerInfo) -> str:
    return f"endpoint_url = {json.dumps(info.endpoint_url)}"
