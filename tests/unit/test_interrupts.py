"""Programs that are told to end while they have something in EC2."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.interrupts import Terminated, cleaning_up_once, sweep_command
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until
from support.command_line import PROGRAM
from support.leftovers import leftovers
from support.plain_ec2 import connect, simulated_ec2

USER = """
import sys, signal
from pycloudlib import EC2
from pycloudlib.interrupts import cleaning_up_once
with cleaning_up_once():
    with EC2("user", config_file=sys.argv[1]) as ec2:
        ec2.use_key(sys.argv[2])
        ec2.launch(ec2.released_image("bookworm"), wait=False)
        print("launched", flush=True)
        if sys.argv[3] == "pause":
            signal.pause()
"""
SIGNALS = [(signal.SIGINT, -signal.SIGINT, 130), (signal.SIGTERM, 143, 143)]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEC2]:
    with simulated_ec2(tmp_path_factory.mktemp("state")) as local:
        yield local


@pytest.fixture(scope="module")
def undying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEC2]:
    """Instances take an hour to end."""
    with simulated_ec2(tmp_path_factory.mktemp("state"), terminate_seconds=3600) as local:
        yield local


def states(local: LocalEC2) -> set[str]:
    found = connect(local).describe_instances()["Reservations"]
    return {instance["State"]["Name"] for reservation in found for instance in reservation["Instances"]}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def started(local: LocalEC2, settings: Path, then: str = "pause") -> subprocess.Popen[str]:
    from pycloudlib.key import KeyPair

    key_pair = KeyPair.generate(settings.parent / "key")
    settings.write_text(local.info.settings_toml())
    settings.chmod(0o600)
    command = [sys.executable, "-c", USER, str(settings), str(key_pair.public_key_path), then]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "launched\n"
    return process


def until_shutting_down(local: LocalEC2) -> None:
    wait_until(lambda: "shutting-down" in states(local), what="the clean-up to begin", deadline=Deadline.after(60))


@pytest.mark.parametrize(("number", "status", "_"), SIGNALS)
def test_the_first_signal_cleans_up_and_ends(number: int, status: int, _: int, local: LocalEC2, settings: Path) -> None:
    with started(local, settings) as process:
        process.send_signal(number)
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == status
    assert leftovers(connect(local)) == []
    assert ("Traceback" in complaints) is (number == signal.SIGINT)  # Python's own, for Ctrl-C


@pytest.mark.parametrize(("number", "_", "status"), SIGNALS)
def test_second_signal_exits_immediately_and_names_the_cleanup_command(
    number: int, _: int, status: int, undying: LocalEC2, settings: Path
) -> None:
    with started(undying, settings) as process:
        process.send_signal(number)
        until_shutting_down(undying)
        process.send_signal(number)
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == status
    said = next(line for line in complaints.splitlines() if "aborted" in line)
    command = shlex.split(said.partition(" resources: ")[2])
    assert command[:2] == ["pycloudlib", "sweep"]
    # Without --yes it lists what is left.
    swept = [sys.executable, "-c", PROGRAM, *command[1:-1], "--config-file", str(settings)]
    listed = subprocess.run(swept, check=False, capture_output=True, text=True, timeout=60)
    assert listed.returncode == 1
    assert "key pair" in listed.stdout


@pytest.mark.parametrize(("number", "status", "_"), SIGNALS)
def test_a_signal_while_things_are_deleted_does_not_stop_that(
    number: int, status: int, _: int, tmp_path: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with LocalEC2(driver="simulated", terminate_seconds=3) as local:
        with started(local, settings, "end") as process:
            until_shutting_down(local)
            process.send_signal(number)
            process.communicate(timeout=60)
        assert process.returncode == status
        assert leftovers(connect(local)) == []


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit), cleaning_up_once():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with cleaning_up_once():
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_it_does_nothing() -> None:
    seen: list[bool] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with cleaning_up_once():
            seen.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


def test_whatever_heeds_ctrl_c_heeds_sigterm() -> None:
    assert issubclass(Terminated, KeyboardInterrupt)


def test_the_command_names_this_run() -> None:
    from pycloudlib.tags import Ownership

    assert f"--run {Ownership.of_this_process().run} " in sweep_command()


def test_while_there_is_nothing_to_clean_up_signals_do_what_they_did() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with cleaning_up_once(is_needed=lambda: False):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM] * 2


def test_without_a_handler_before_sigterm_ends_as_ever_while_nothing_is_to_be_cleaned_up() -> None:
    program = """
import os, signal
from pycloudlib.interrupts import cleaning_up_once
with cleaning_up_once(is_needed=lambda: False):
    os.kill(os.getpid(), signal.SIGTERM)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == -signal.SIGTERM


def test_the_advice_is_printed_where_it_is_seen(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pycloudlib.interrupts import cleaning_up_once
advice = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
with cleaning_up_once("a sweep", stderr=advice):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "seen")], check=False, timeout=60)
    assert done.returncode == 128 + signal.SIGINT
    assert "deletes the remaining resources: a sweep" in (tmp_path / "seen").read_text()


def test_sweep_command_names_the_given_run() -> None:
    assert sweep_command("abc") == "pycloudlib sweep --owner any --run abc --yes"
