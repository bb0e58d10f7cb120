"""What an instance tells when a test has failed: its console, cloud-init's logs, its journal, and EC2's API calls."""

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
"""What could not be had, and why."""

GUEST_LOGS = {
    "cloud-init-status.txt": "cloud-init status --long",
    "cloud-init.log": "cat /var/log/cloud-init.log",
    "cloud-init-output.log": "cat /var/log/cloud-init-output.log",
    "journal.log": "journalctl --no-pager --boot --output=short-precise --lines=50000",
}
"""The commands that print them, as root."""

COMMAND_TIMEOUT = 60.0
"""Seconds for one of these."""

MAX_NAME = 100
"""Characters of a directory's name that are a test's own."""


def directory_of(nodeid: str) -> str:
    """Name the directory of a test.

    Args:
        nodeid: as pytest names the test.
    """
    plain = nodeid.replace("::", "-").replace("/", "-")
    name = re.sub(r"[^\w.-]+", "-", plain)[:MAX_NAME].strip("-")
    if name == plain:
        return name
    # Another test may differ in nothing but what was replaced or cut off.
    return f"{name}-{hashlib.sha256(nodeid.encode()).hexdigest()[:8]}"


def collect(launched: Launched, directory: Path, calls: Sequence[str]) -> list[str]:
    """Write what an instance tells into files; whatever cannot be had is noted, and nothing is raised.

    Args:
        launched: the instance.
        directory: where to; made if need be.
        calls: the API calls that name it.

    Returns:
        What could not be had, and why, one line each.
    """
    notes: list[str] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory / API_CALLS, "".join(f"{line}\n" for line in calls))
        _note(notes, CONSOLE, lambda: _write(directory / CONSOLE, launched.instance.console_log(timeout=0)))
        if launched.is_reachable:
            launched.is_reachable = _collect_from_guest(launched.instance, directory, notes)
        else:
            notes.append("logs of the guest: it could not be reached before")
        if notes:
            _write(directory / NOT_COLLECTED, "".join(f"{note}\n" for note in notes))
    except OSError as error:
        notes.append(f"{directory}: {error.strerror}")
    return notes


def _collect_from_guest(instance: EC2Instance, directory: Path, notes: list[str]) -> bool:
    """Whether the guest could be reached."""
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
        # Whatever it is, it must not hide why the test failed.
        notes.append(f"{name}: {' '.join(str(error).splitlines()[:1]) or type(error).__name__}")
        return error
    return None


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace")
