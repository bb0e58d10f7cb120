"""`pycloudlib delete`: it asks, and refuses what is not ours."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.cli_world import CliWorld
from support.terminal import Terminal


@pytest.fixture
def foreign(world: CliWorld) -> Iterator[str]:
    launched = world.client().run_instances(ImageId="ami-623115117c377ba75", MinCount=1, MaxCount=1)
    instance_id = str(launched["Instances"][0]["InstanceId"])
    yield instance_id
    world.client().terminate_instances(InstanceIds=[instance_id])


def test_without_a_terminal_and_without_yes_nothing_is_deleted(world: CliWorld, machine: str) -> None:
    done = world.cli.run("delete", "--local", machine, stdin="y\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "without a terminal: add --yes" in done.stderr
    assert world.states("--tag", "shared") == {machine: "running"}


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("y", 0)])
def test_on_a_terminal_it_asks(answer: str, status: int, world: CliWorld) -> None:
    machine = world.launch("--tag", "asked")
    with Terminal([*world.cli.command, "delete", "--local", machine], world.cli.environment) as terminal:
        shown = terminal.read_until("Delete? [y/N]:")
        assert machine in shown
        terminal.type(f"{answer}\n")
        terminal.read_to_end()
    assert terminal.returncode == status
    assert bool(world.states("--tag", "asked")) == (answer == "n")
    world.cli.run("delete", "--local", "--yes", machine)


def test_what_this_library_did_not_create_is_refused_together_with_all_others(
    world: CliWorld, machine: str, foreign: str
) -> None:
    complaint = world.cli.complaint("delete", "--local", "--yes", machine, foreign)
    assert complaint.startswith(f"not created by this library: {foreign} ")
    assert world.states("--tag", "shared") == {machine: "running"}
    assert world.cli.run("delete", "--local", "--yes", "--force", foreign).stdout == f"{foreign}\n"


def test_protected_instance_is_reported_and_the_others_are_deleted(world: CliWorld) -> None:
    one, other = (world.launch("--tag", "guarded") for _ in range(2))
    world.client().modify_instance_attribute(InstanceId=one, DisableApiTermination={"Value": True})
    done = world.cli.run("delete", "--local", "--yes", "--json", one, other)
    assert done.returncode == 1
    told = {each["id"]: each for each in json.loads(done.stdout)}
    assert told[other] == {"id": other, "deleted": True, "errors": []}
    assert "has termination protection" in told[one]["errors"][0]
    world.client().modify_instance_attribute(InstanceId=one, DisableApiTermination={"Value": False})
    assert world.cli.run("delete", "--local", "--yes", "--no-wait", one).returncode == 0


@pytest.mark.parametrize(
    ("resource_id", "status", "complaint"),
    [
        ("i-00000000000000000", 3, "no instance 'i-00000000000000000'"),
        ("ami-00000000000000000", 3, "InvalidAMIID.NotFound"),
        ("vol-00000000000000000", 2, "give the id of an instance (i-...) or an image (ami-...)"),
        ("i-none", 3, "no instance 'i-none'"),
    ],
)
def test_what_there_is_not_is_not_found(resource_id: str, status: int, complaint: str, world: CliWorld) -> None:
    assert complaint in world.cli.complaint("delete", "--local", "--yes", resource_id, status=status)
