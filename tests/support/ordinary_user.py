"""An ordinary user, where the tests run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.cli_world import home_environment

NOBODY = 65534
AS_NOBODY: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
"""Arguments of subprocess for a process of the user's."""

WITH_TUN = """
mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 || exit 99
exec setpriv --reuid {user} --regid {user} --clear-groups -- "$@"
"""


@contextmanager
def ordinary_home() -> Iterator[Path]:
    """Make a directory of an ordinary user's, who may create user namespaces; skip the test if that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("the other tests have shown it")
    directory = Path(tempfile.mkdtemp())
    os.chown(directory, NOBODY, NOBODY)
    try:
        able = "from pycloudlib.local.network.namespaces import syscalls as s; s.unshare(s.CLONE_NEWUSER)"
        try:
            subprocess.run([sys.executable, "-c", able], **AS_NOBODY, check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("ordinary users cannot create user namespaces, or cannot read this package")
        yield directory
    finally:
        shutil.rmtree(directory)


def ordinary_environment(home: Path) -> dict[str, str]:
    """The environment of the user, who cannot write to root's coverage data."""
    return {name: value for name, value in home_environment(home).items() if not name.startswith("COVERAGE_")}


def with_tun(command: Sequence[str]) -> list[str]:
    """Return a command that root gives, and that the user runs with a /dev/net/tun for everybody, as udev makes it.

    Args:
        command: the command.
    """
    return ["unshare", "--mount", "sh", "-c", WITH_TUN.format(user=NOBODY), "sh", *command]
