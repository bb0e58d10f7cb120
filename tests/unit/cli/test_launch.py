"""`pycloudlib launch`, at a simulated local EC2 whose guests are one real sshd."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.waiting import wait_until
from support.cli_world import CliWorld
from support.guest import CLOUD_INIT_DONE

HANGS = "exec sleep 600"


def test_a_command_runs_in_it_and_then_it_is_gone(world: CliWorld) -> None:
    done = world.cli.run("launch", "bookworm", "--local", "--tag", "once", "--", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "err\n" in done.stderr
    assert world.states("--tag", "once") == {}


def test_kept_instance_is_printed_with_login_and_delete_commands(world: CliWorld) -> None:
    done = world.cli.run("launch", "bookworm", "--local", "--keep", "--tag", "kept", "--ttl", "2h")
    assert done.returncode == 0
    told = dict(line.split("\t") for line in done.stdout.splitlines())
    assert list(told) == ["instance", "address", "expires", "reach", "ssh", "delete"]
    assert world.states("--tag", "kept") == {told["instance"]: "running"}
    by_openssh = subprocess.run(
        ["sh", "-c", f"{told['ssh']} echo reached"], capture_output=True, text=True, check=False
    )
    assert by_openssh.stdout == "reached\n"
    assert told["reach"] == f"pycloudlib ssh --local {told['instance']}"
    assert told["delete"] == f"pycloudlib delete --local {told['instance']}"
    # A key pair that was uploaded for it is not left.
    names = {pair["KeyName"] for pair in world.client().describe_key_pairs()["KeyPairs"]}
    assert {name for name in names if name.startswith("kept")} == set()
    assert world.cli.run(*told["delete"].split()[1:], "--yes").returncode == 0


def test_several_instances_are_printed_as_json(world: CliWorld) -> None:
    request = ("--count", "2", "--tag", "two", "--type", "t3.small", "--disk-size", "20")
    done = world.cli.run("launch", "24.04", "--local", "--keep", "--json", *request)
    machines = json.loads(done.stdout)
    assert [(one["type"], one["state"]) for one in machines] == [("t3.small", "running")] * 2
    ids = [one["id"] for one in machines]
    assert set(world.states("--tag", "two")) == set(ids)
    assert world.cli.run("delete", "--local", "--yes", *ids).returncode == 0


def test_image_is_named_by_its_name(world: CliWorld) -> None:
    instance_id = world.launch("--tag", "source")
    snapshot = world.cli.run("snapshot", "--local", "--no-clean", "--name", "of-my-own", instance_id)
    assert snapshot.returncode == 0, snapshot.stderr
    image_id = snapshot.stdout.strip()
    launched = world.cli.run("launch", "of-my-own", "--local", "--keep", "--json", "--tag", "named")
    (instance,) = json.loads(launched.stdout)
    assert instance["image"] == image_id
    assert world.cli.run("delete", "--local", "--yes", instance_id, instance["id"], image_id).returncode == 0


def test_user_data_reaches_it(world: CliWorld, tmp_path: Path) -> None:
    given = tmp_path / "user-data"
    given.write_bytes(b"#!/bin/sh\necho hello\n")
    machine = world.launch("--user-data", str(given), "--tag", "data")
    told = world.client().describe_instance_attribute(InstanceId=machine, Attribute="userData")
    assert "UserData" in told
    assert told["UserData"]["Value"]
    assert world.cli.run("delete", "--local", "--yes", machine).returncode == 0


def test_a_vpc_that_is_made_for_it_goes_with_it(world: CliWorld) -> None:
    # A process is a run, and all of that run is deleted.
    done = world.process.run("launch", "bookworm", "--local", "--keep", "--json", "--vpc", "made", "--tag", "in-vpc")
    (machine,) = json.loads(done.stdout)
    assert machine["delete"].startswith("pycloudlib sweep --owner any --run ")
    assert world.cli.run(*machine["delete"].split()[1:]).returncode == 0
    assert world.states("--tag", "in-vpc") == {}
    assert [one for one in world.client().describe_vpcs()["Vpcs"] if not one["IsDefault"]] == []


@pytest.mark.parametrize(
    ("number", "status", "last_word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_instance_lives_until_the_command_is_terminated(
    number: signal.Signals, status: int, last_word: str, world: CliWorld
) -> None:
    tag = f"until-{last_word}"
    with world.cli.start("launch", "bookworm", "--local", "--tag", tag) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        instance_id = process.stdout.readline().split()[1]
        wait_for_line(process.stderr, "Press Ctrl-C to delete it.")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == status
    assert stderr.splitlines()[-1] == f"pycloudlib: {last_word}"
    assert world.states("--tag", tag) == {}
    state = world.client().describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]["State"]
    assert state["Name"] == "terminated"


def wait_for_line(stream: object, wanted: str) -> None:
    for line in stream:  # type: ignore[attr-defined]
        if line.rstrip() == wanted:
            return
    raise AssertionError(f"it ended without {wanted!r}")


def test_one_that_ends_by_itself_ends_the_command(world: CliWorld) -> None:
    with world.cli.start("launch", "bookworm", "--local", "--tag", "by-itself") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        instance_id = process.stdout.readline().split()[1]
        wait_for_line(process.stderr, "Press Ctrl-C to delete it.")
        world.client().terminate_instances(InstanceIds=[instance_id])
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "The instance has terminated itself." in stderr


def test_interrupted_while_it_boots_nothing_is_left(world: CliWorld) -> None:
    mark = world.guest.programs / "asked"
    world.guest.program("cloud-init", f"touch {mark}; {HANGS}")
    try:
        with world.cli.start("launch", "bookworm", "--local", "--keep", "--tag", "booting") as process:
            wait_until(mark.exists, what="the boot to be under way", deadline=Deadline.after(120))
            process.send_signal(signal.SIGINT)
            stdout, _ = process.communicate(timeout=120)
    finally:
        world.guest.program("cloud-init", CLOUD_INIT_DONE)
    assert (process.returncode, stdout) == (130, "")
    assert world.states("--tag", "booting") == {}


def test_one_that_is_not_ready_in_time_is_deleted(world: CliWorld) -> None:
    world.guest.program("cloud-init", HANGS)
    try:
        done = world.cli.run("launch", "bookworm", "--local", "--keep", "--tag", "slow", "--timeout", "2s")
    finally:
        world.guest.program("cloud-init", CLOUD_INIT_DONE)
    assert (done.returncode, done.stdout) == (124, "")
    assert "pycloudlib: waited 2 s for " in done.stderr
    assert world.states("--tag", "slow") == {}


def test_when_nobody_reads_where_it_is_it_does_not_stay(world: CliWorld) -> None:
    with world.cli.start("launch", "bookworm", "--local", "--keep", "--tag", "unread") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        process.communicate(timeout=120)
    assert process.returncode == 1
    assert world.states("--tag", "unread") == {}


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (("nobel",), 2, "did you mean 'noble'?"),
        (("my-own",), 2, "there is no image of this name either"),
        (("ami-00000000000000000",), 3, "does not exist (InvalidAMIID.NotFound)"),
        (("bookworm", "--type", "t9.huge"), 1, "t9.huge"),
        (("bookworm", "--region", "mars-1"), 1, "There is no region 'mars-1'"),
        (("bookworm", "--tag", "No Tag"), 2, "failed the following rules"),
    ],
    ids=str,
)
def test_failed_launch_is_reported_in_one_line(
    words: tuple[str, ...], status: int, complaint: str, world: CliWorld
) -> None:
    assert complaint in world.cli.complaint("launch", *words, "--local", "--keep", status=status)


def test_missing_key_error_explains_how_to_create_one(world: CliWorld, tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text("[ec2]\n")
    complaint = world.cli.complaint("launch", "bookworm", "--local", "--config", str(empty))
    assert complaint.startswith("no SSH key: create one with `ssh-keygen")


def test_a_key_may_be_named_by_either_half(world: CliWorld, tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text("[ec2]\n")
    key = world.guest.key_pair.private_key_path
    for half in (key, key.with_suffix(".pub")):
        words = ("--config", str(empty), "--key", str(half), "--username", world.guest.sshd.username)
        done = world.cli.run("launch", "bookworm", "--local", *words, "--", "echo in")
        assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
