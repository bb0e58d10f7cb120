"""`pycloudlib exec`, against a real sshd."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from support.cli_world import CliWorld


@pytest.fixture(scope="module")
def two(world: CliWorld) -> Iterator[list[str]]:
    done = world.cli.run("launch", "bookworm", "--local", "--keep", "--json", "--count", "2", "--tag", "exec")
    ids = [one["id"] for one in json.loads(done.stdout)]
    yield ids
    assert world.cli.run("delete", "--local", "--yes", *ids).returncode == 0


def test_both_streams_and_the_exit_status_are_the_commands_own(world: CliWorld, machine: str) -> None:
    done = world.cli.run("exec", "--local", machine, "--", "echo out; echo err >&2; exit 9")
    assert (done.returncode, done.stdout, done.stderr) == (9, "out\n", "err\n")


def test_several_words_are_passed_on_as_they_are(world: CliWorld, machine: str) -> None:
    done = world.cli.run("exec", "--local", machine, "--", "printf", "%s|", "a b", "$HOME", "--local", "--")
    assert done.stdout == "a b|$HOME|--local|--|"


def test_output_comes_as_it_is_printed(world: CliWorld, machine: str) -> None:
    with world.cli.start("exec", "--local", "-i", machine, "--", "echo first; cat", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        # It is read to its end before anything is run.
        process.stdin.write("second\n")
        process.stdin.close()
        process.stdin = None
        stdout, _ = process.communicate(timeout=120)
    assert stdout == "first\nsecond\n"


def test_a_line_is_there_before_the_command_ends(world: CliWorld, machine: str) -> None:
    fifo = world.cli.home / "go"
    os.mkfifo(fifo)
    with world.cli.start("exec", "--local", machine, "--", f"echo waiting; cat {fifo}") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        fifo.write_text("went on\n")
        stdout, _ = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (0, "went on\n")


def test_output_of_several_machines_is_prefixed(world: CliWorld, two: list[str]) -> None:
    done = world.cli.run("exec", "--local", *two, "--", "echo one; printf two")
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == sorted(f"{one}: {word}" for one in two for word in ("one", "two"))
    assert [line.partition(" after ")[0] for line in done.stderr.splitlines()] == [
        f"{one}: exit status 0" for one in two
    ]


def test_several_fail_when_one_does(world: CliWorld, two: list[str]) -> None:
    done = world.cli.run("exec", "--local", "--timeout", "60s", *two, "--", "exit 4")
    assert done.returncode == 1
    assert done.stderr.count("exit status 4") == 2


def test_json_contains_the_complete_result(world: CliWorld, two: list[str]) -> None:
    done = world.cli.run("exec", "--local", "--json", *two, "--", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert [one["id"] for one in told] == two
    assert {(one["exit_status"], one["stdout"], one["stderr"], one["error"]) for one in told} == {
        (3, "out\n", "err\n", None)
    }


def test_a_command_that_takes_too_long_is_given_up(world: CliWorld, machine: str) -> None:
    complaint = world.cli.complaint("exec", "--local", "--timeout", "1s", machine, "--", "sleep", "60", status=124)
    assert complaint.startswith("the command did not end within 1 s: sleep 60")


def test_sudo_applies_to_the_whole_command(world: CliWorld, machine: str) -> None:
    done = world.cli.run("exec", "--local", "--sudo", machine, "--", "id")
    assert (done.returncode, done.stderr) == (1, "nothing is done as root in a stand-in for a guest\n")


def test_bytes_that_are_no_text_arrive(world: CliWorld, machine: str) -> None:
    done = subprocess.run(
        [*world.cli.command, "exec", "--local", machine, "--", r"printf '\377\000\n'"],
        capture_output=True,
        check=True,
        env=world.cli.environment,
    )
    assert done.stdout == b"\xff\x00\n"


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_when_nobody_reads_it_ends_without_a_word(several: bool, world: CliWorld, two: list[str]) -> None:
    ids = two if several else two[:1]
    with world.cli.start("exec", "--local", *ids, "--", "yes") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (1, "")


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_exec_exits_on_signals(number: signal.Signals, status: int, word: str, world: CliWorld, machine: str) -> None:
    with world.cli.start("exec", "--local", machine, "--", "echo begun; exec sleep 600") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr.strip()) == (status, f"pycloudlib: {word}")


def test_a_machine_that_is_not_there_is_not_found(world: CliWorld) -> None:
    complaint = world.cli.complaint("exec", "--local", "i-00000000000000000", "--", "true", status=3)
    assert complaint == "no instance 'i-00000000000000000' in us-east-1"
