"""Run many probes in the guest with one command, because logins and program starts cost more than most probes."""

from __future__ import annotations

import base64
import binascii
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from pycloudlib.errors import SSHError
from pycloudlib.guest.run import Run

SECONDS_PER_PROBE = 120
"""Seconds after which the guest itself aborts a probe, so that one that hangs does not block the others."""

TIMED_OUT = 124
"""The exit status of timeout(1)."""


@dataclass(frozen=True)
class ProbeResult:
    """The result of a probe.

    Args:
        text: both output streams, interleaved, without the final newline.
        status: the exit status; default 0.
    """

    text: str
    status: int = 0

    @property
    def ok(self) -> bool:
        """Whether the exit status was 0."""
        return self.status == 0

    @property
    def lines(self) -> list[str]:
        """The nonempty lines."""
        return [line for line in self.text.splitlines() if line.strip()]


def run_probes(run: Run, probes: Mapping[str, str], *, timeout: float) -> dict[str, ProbeResult]:
    """Run all probes as root in one command.

    Args:
        run: runs a command in the guest.
        probes: shell commands by name, without standard input; each is aborted after two minutes.
        timeout: seconds for all of them.

    Returns:
        The result of each probe, by name.

    Raises:
        CommandTimeoutError: the probes did not end in time.
        SSHError: the connection failed or was lost, or the user cannot become root.
    """
    mark = secrets.token_hex(8)
    completed = run(
        ["sh"],
        stdin=_script(probes, mark),
        description="probe the guest",
        use_sudo=True,
        timeout=timeout,
    )
    results = dict(_result(line) for line in completed.stdout.splitlines() if line.startswith(f"{mark} "))
    missing = [name for name in probes if name not in results]
    if missing:
        last = (completed.stderr.strip().splitlines() or [f"exit status {completed.return_code}"])[-1]
        raise SSHError(f"the guest returned no results as root, such as of the probe {missing[0]!r}: {last}")
    return results


def _script(probes: Mapping[str, str], mark: str) -> str:
    """Return the script. Each result is encoded on one line, so that no output can be mistaken for another result.

    The first line is empty, because a login shell may print text without a newline.
    """
    head = f"""\
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin"
echo
probe() {{
    output=$(timeout {SECONDS_PER_PROBE} sh -c "$2" </dev/null 2>&1; printf '\\n%s' "$?")
    printf '{mark} %s %s\\n' "$1" "$(printf %s "$output" | base64 | tr -d '\\n')"
}}
"""
    return head + "".join(f"probe {name} {shlex.quote(command)}\n" for name, command in probes.items())


def _result(line: str) -> tuple[str, ProbeResult]:
    _, name, encoded = line.split(" ", 2)
    try:
        output = base64.b64decode(encoded).decode(errors="replace")
    except binascii.Error as error:
        raise SSHError(f"the guest's result of the probe {name!r} cannot be read: {error}") from error
    text, _, status = output.rpartition("\n")
    return name, ProbeResult(text.rstrip("\n"), int(status))
