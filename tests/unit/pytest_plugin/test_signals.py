"""Ctrl-C and SIGTERM while a suite runs: cleaned up once; the second one ends it at once."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.waiting import wait_until
from support.command_line import PROGRAM
from support.suite_ec2 import Cloud, suite_ec2

SUITE = """
    import signal
    from pathlib import Path

    def test_it(cloud, instance):
        cloud.create_volume(8)
        (Path(__file__).parent / "ready").touch()
        while True:
            signal.pause()
"""


@pytest.fixture(scope="module")
def undying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Instances take an hour to end."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with suite_ec2(tmp_path_factory.mktemp("ec2"), terminate_seconds=3600) as cloud:
            yield cloud


def started(pytester: pytest.Pytester, *arguments: str) -> subprocess.Popen[str]:
    """A run whose test has its instance."""
    pytester.makepyfile(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    # A process group of its own: only what is told gets a signal.
    process = subprocess.Popen(
        command, cwd=pytester.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    ready: Path = pytester.path / "ready"
    wait_until(
        lambda: ready.exists() or process.poll() is not None, what="the test to run", deadline=Deadline.after(240)
    )
    assert ready.exists(), process.communicate()[0]
    return process


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_the_first_signal_cleans_up_and_ends(workers: tuple[str, ...], pytester: pytest.Pytester, ec2: Cloud) -> None:
    with started(pytester, *workers) as process:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=240)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "interrupts.py" not in output, "what was interrupted is shown, not what did it"
    assert ec2.leftovers == []


def test_ctrl_c_at_a_terminal_reaches_the_workers_too(pytester: pytest.Pytester, ec2: Cloud) -> None:
    with started(pytester, "-n", "2") as process:
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=240)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert ec2.leftovers == []


@pytest.mark.parametrize("workers", [(), ("-n", "1", "--testrunuid", "given-up")], ids=["alone", "workers"])
def test_second_signal_exits_immediately_and_names_the_sweep_command(
    workers: tuple[str, ...], pytester: pytest.Pytester, undying: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCLOUDLIB_CONFIG", str(undying.settings))
    before = len(undying.instances("shutting-down"))
    with started(pytester, *workers) as process:
        process.send_signal(signal.SIGINT)
        wait_until(
            lambda: len(undying.instances("shutting-down")) > before,
            what="the clean-up to begin",
            deadline=Deadline.after(240),
        )
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM, output
    said = [line for line in output.splitlines() if "aborted" in line and " resources: pycloudlib" in line]
    command = shlex.split(said[0].partition(" resources: ")[2])
    # Without --yes it lists what is left.
    swept = [sys.executable, "-c", PROGRAM, *(word for word in command[1:] if word != "--yes")]
    listed = subprocess.run(swept, check=False, capture_output=True, text=True, timeout=120)
    assert listed.returncode == 1
    assert "volume" in listed.stdout
