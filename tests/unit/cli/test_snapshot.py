"""`pycloudlib snapshot`, `images` of one's own, and `delete` of an image."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.cli_world import CliWorld


@pytest.fixture
def own(world: CliWorld) -> Iterator[str]:
    machine = world.launch("--tag", "captured")
    yield machine
    assert world.cli.run("delete", "--local", "--yes", machine).returncode == 0


def test_an_image_is_made_listed_launched_and_deleted(world: CliWorld, own: str) -> None:
    done = world.cli.run("snapshot", "--local", "--no-clean", "--name", "mine-1", "--json", own)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["name"], told["instance"]) == ("mine-1", own)
    assert world.states("--tag", "captured") == {own: "running"}
    (listed,) = json.loads(world.cli.run("images", "--local", "--json").stdout)
    assert (listed["id"], listed["name"]) == (told["id"], "mine-1")
    launched = world.cli.run("launch", "--local", told["id"], "--", "echo in")
    assert (launched.returncode, launched.stdout) == (0, "in\n"), launched.stderr
    deleted = world.cli.run("delete", "--local", "--yes", told["id"])
    assert (deleted.returncode, deleted.stdout) == (0, f"{told['id']}\n")
    assert world.cli.run("images", "--local").stdout == ""


def test_a_guest_that_cannot_be_cleaned_leaves_no_image(world: CliWorld, own: str) -> None:
    complaint = world.cli.complaint("snapshot", "--local", own)
    assert "could not be cleaned" in complaint
    assert world.cli.run("images", "--local").stderr == "No images found.\n"
