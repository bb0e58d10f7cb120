"""The logs of an instance after a failed test: console, cloud-init's logs, journal, and EC2 API calls."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pycloudlib.errors import SSHError

if TYPE_CHECKING:
    from pycloudlib.ec2.instance import EC2Instance
    from pycloudlib.pytest_plugin.instances import Launched

CONSOLE = "console.log"
API_CALLS = "api-calls.log"
NOT_COLLECTED = "not-collected.txt"
"""The logs that could not be collected, and why."""

GUEST_LOGS = {
    "cloud-init-status.txt": "cloud-init status --long",
    "cloud-init.log": "cat /var/log/cloud-init.log",
    "cloud-init-output.log": "cat /var/log/cloud-init-output.log",
    "journal.log": "journalctl --no-pager --boot --output=short-precise --lines=50000",
}
"""The commands that print the logs, as root."""

COMMAND_TIMEOUT = 60.0
"""Seconds for one of these commands."""

MAX_NAME = 100
"""Maximum characters of a test's name in a directory name."""


def directory_of(nodeid: str) -> str:
    """Return the name of a test's directory.

    Args:
        nodeid: pytest's name of the test.
    """
    plain = nodeid.replace("::", "-").replace("/", "-")
    name = re.sub(r"[^\w.-]+", "-", plain)[:MAX_NAME].strip("-")
    if name == plain:
        return name
    # Other tests may differ only in replaced or truncated characters.
    return f"{name}-{hashlib.sha256(nodeid.encode()).hexdigest()[:8]}"


def collect(launched: Launched, directory: Path, calls: Sequence[str]) -> list[str]:
    """Write the logs of an instance to files. Missing logs are noted, without an exception.

    Args:
        launched: the instance.
        directory: the directory, which is created if missing.
        calls: the API calls for the instance.

    Returns:
        The missing logs, with the reasons, one line each.
    """
    notes: list[str] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory / API_CALLS, "".join(f"{line}\n" for line in calls))
        _note(notes, CONSOLE, lambda: _write(directory / CONSOLE, launched.instance.console_log(timeout=0)))
        if launched.is_reachable:
            launched.is_reachable = _collect_from_guest(launched.instance, directory, notes)
        else:
            notes.append("logs of the guest: it was unreachable earlier")
        if notes:
            _write(directory / NOT_COLLECTED, "".join(f"{note}\n" for note in notes))
    except OSError as error:
        notes.append(f"{directory}: {error.strerror}")
    return notes


def _collect_from_guest(instance: EC2Instance, directory: Path, notes: list[str]) -> bool:
    """Return whether the guest is reachable."""
    for name, command in GUEST_LOGS.items():
        error = _note(notes, name, partial(_pull, instance, command, directory / name))
        if isinstance(error, SSHError):
            return False
    return True


def _pull(instance: EC2Instance, command: str, path: Path) -> None:
    result = instance.execute(command, use_sudo=True, timeout=COMMAND_TIMEOUT)
    path.write_bytes(result.raw_stdout)
    if result.failed:
        raise RuntimeError(result.stderr.strip() or f"exit status {result.return_code}")


def _note(notes: list[str], name: str, step: Callable[[], None]) -> Exception | None:
    try:
        step()
    except Exception as error:
        # No exception may hide why the test failed.
        notes.append(f"{name}: {' '.join(str(error).splitlines()[:1]) or type(error).__name__}")
        return error
    return None


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace")
