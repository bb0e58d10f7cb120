"""Commands to which this computer seems to lack files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path


def without(hidden: Iterable[Path], command: Sequence[str]) -> list[str]:
    """Return a command for which files are empty, and directories too.

    Args:
        hidden: existing files and directories.
        command: the command.
    """
    mounts = [
        f"mount -t tmpfs none {shlex.quote(str(path))}"
        if path.is_dir()
        else f"mount --bind /dev/null {shlex.quote(str(path))}"
        for path in hidden
    ]
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    script = " && ".join([*mounts, 'exec "$@"'])
    return ["unshare", "--mount", *as_root, "sh", "-c", script, "sh", *command]
