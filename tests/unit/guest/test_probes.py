"""Probes in one command, run by a real shell."""

from __future__ import annotations

import subprocess

import pytest

from pycloudlib.errors import SSHError
from pycloudlib.guest.probes import ProbeResult, run_probes
from pycloudlib.result import Result


def run(
    command: list[str],
    stdin: str | None = None,
    description: str | None = None,
    *,
    use_sudo: bool = False,
    timeout: float | None = None,
) -> Result:
    """Run it here."""
    assert use_sudo
    done = subprocess.run(command, input=(stdin or "").encode(), capture_output=True, timeout=timeout, check=False)
    return Result(done.stdout, done.stderr, done.returncode)


def test_each_probe_has_its_output_and_status() -> None:
    results = run_probes(
        run,
        {
            "plain": "echo one; echo two",
            "no_end": "printf 'without a line end'",
            "fails": "echo wrong >&2; exit 3",
            "silent": "true",
            "unknown": "no-such-program-anywhere",
        },
        timeout=60,
    )
    assert results["plain"] == ProbeResult("one\ntwo", 0)
    assert results["no_end"] == ProbeResult("without a line end", 0)
    assert results["fails"] == ProbeResult("wrong", 3)
    assert results["silent"] == ProbeResult("", 0)
    assert results["unknown"].status == 127
    assert results["plain"].ok
    assert not results["fails"].ok


def test_output_may_contain_any_bytes() -> None:
    results = run_probes(
        run,
        {"quotes": """printf '%s' "it's \\"quoted\\" \\$HOME"; printf '\\n\\377\\n'""", "long": "seq 20000"},
        timeout=60,
    )
    assert results["quotes"].text == 'it\'s "quoted" $HOME\n\ufffd'
    assert results["long"].lines[-1] == "20000"
    assert len(results["long"].lines) == 20000


def test_empty_lines_are_ignored() -> None:
    assert ProbeResult("a\n\n  \nb").lines == ["a", "b"]


def test_standard_input_of_a_probe_is_empty() -> None:
    assert run_probes(run, {"reads": "cat; echo end"}, timeout=60)["reads"].text == "end"


def test_failed_sudo_is_reported_with_its_reason() -> None:
    def refuse(*_: object, **__: object) -> Result:
        return Result(b"", b"sudo: a password is required\n", 1)

    with pytest.raises(SSHError, match="as root, such as of the probe 'first': sudo: a password is required"):
        run_probes(refuse, {"first": "true"}, timeout=1)
