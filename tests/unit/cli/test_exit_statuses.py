"""The table of exit statuses in docs/command-line.md, held against every command that names something."""

from __future__ import annotations

import pytest

from pycloudlib.cli.exit_statuses import status_of
from pycloudlib.errors import (
    BootTimeoutError,
    CommandTimeoutError,
    FleetError,
    InstanceError,
    InstanceTimeoutError,
    NoResponseError,
    SSHConnectionError,
)
from support.cli_world import CliWorld

MACHINE, IMAGE = "i-00000000000000000", "ami-00000000000000000"

OF_EC2 = [
    ("ssh", MACHINE),
    ("exec", MACHINE, "--", "true"),
    ("push", MACHINE, __file__),
    ("pull", MACHINE, "/etc/hostname"),
    ("console", MACHINE),
    ("snapshot", MACHINE),
    ("timeline", MACHINE),
    ("delete", "--yes", MACHINE),
    ("delete", "--yes", IMAGE),
    ("launch", IMAGE),
    ("timeline", IMAGE),
    ("validate", IMAGE),
]
OF_LOCAL = [
    ("local", "image", "remove", IMAGE),
    ("local", "stop", "--name", "nobody"),
    ("local", "logs", "--name", "nobody"),
]


@pytest.mark.parametrize("words", OF_EC2, ids=" ".join)
def test_missing_resource_exits_with_3(words: tuple[str, ...], world: CliWorld) -> None:
    command, *others = words
    done = world.cli.run(command, "--config", str(world.settings), *others)
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert others[0] in done.stderr or others[1] in done.stderr


@pytest.mark.parametrize("words", OF_LOCAL, ids=" ".join)
def test_missing_local_resource_exits_with_3(words: tuple[str, ...], world: CliWorld) -> None:
    complaint = world.cli.complaint(*words, status=3)
    assert repr(words[-1]) in complaint


INPUTS = [
    ("launch", "noble", "--key", "{}"),
    ("launch", "noble", "--user-data", "{}"),
    ("list", "--config", "{}"),
    ("sweep", "--config", "{}"),
    ("push", MACHINE, "{}"),
    ("validate", "{}"),
    ("validate", "noble", "--kernel", "{}"),
    ("validate", "noble", "--checks", "{}"),
    ("timeline", "{}"),
    ("local", "image", "add", "--release", "x", "--file", "{}"),
    ("local", "image", "add", "--release", "x", "--file", __file__, "--kernel", "{}"),
    ("local", "image", "add", "--release", "x", "--file", __file__, "--kernel", __file__, "--initrd", "{}"),
    ("local", "image", "build", "--name", "x", "--customize", "{}"),
    ("local", "image", "pull", "noble", "--config", "{}"),
]
OUTPUTS = [
    ("validate", "noble", "--html", "{}"),
    ("validate", "noble", "--junit", "{}"),
    ("validate", "noble", "--save", "{}"),
    ("validate", "noble", "--save-facts", "{}"),
    ("timeline", __file__, "--html", "{}"),
    ("timeline", __file__, "--svg", "{}"),
    ("timeline", __file__, "--save", "{}"),
    ("pull", MACHINE, "/etc/hostname", "{}"),
    ("local", "start", "--write-config", "{}"),
    ("local", "image", "export", "x", "--file", "{}"),
    ("local", "capture", MACHINE, "{}"),
]


@pytest.mark.parametrize("words", INPUTS, ids=" ".join)
def test_missing_input_file_ends_with_2(words: tuple[str, ...], world: CliWorld) -> None:
    done = world.cli.run(*(word.format("/nowhere/file.json") for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere/file.json" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", OUTPUTS, ids=" ".join)
def test_missing_directory_of_an_output_file_ends_with_2(words: tuple[str, ...], world: CliWorld) -> None:
    done = world.cli.run(*(word.format("/nowhere/file") for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "Error: cannot write /nowhere/file: the directory /nowhere does not exist"


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ([BootTimeoutError("x"), CommandTimeoutError("x"), NoResponseError("x")], 124),
        ([InstanceTimeoutError("x")], 124),
        ([SSHConnectionError("x")], 255),
        ([BootTimeoutError("x"), SSHConnectionError("x")], 1),
        ([InstanceError("x")], 1),
    ],
    ids=lambda value: "+".join(type(one).__name__ for one in value) if isinstance(value, list) else "",
)
def test_several_machines_that_fail_alike_end_in_the_status_of_one(errors: list[Exception], status: int) -> None:
    failed = FleetError("x", errors={f"i-{at}": error for at, error in enumerate(errors)}, results={})
    assert status_of(failed) == status
