"""Commands of a container's user: a number without a name, without a home directory."""

from __future__ import annotations

import json

import pytest

from support.cli_world import CliWorld, QuickCommandLine


@pytest.fixture
def cli(world: CliWorld, homeless: None) -> QuickCommandLine:
    """The command line of such a user."""
    kept = {name: value for name, value in (world.cli.environment or {}).items() if name not in ("HOME", "USER")}
    environment = {name: value for name, value in kept.items() if not name.startswith("XDG_")}
    return QuickCommandLine(world.cli.home, {**environment, "PYCLOUDLIB_CONFIG": str(world.settings)})


def test_doctor_names_what_is_missing(cli: QuickCommandLine) -> None:
    done = cli.run("doctor", "--json")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["EC2"]["state"] == "ok"
    assert checks["SSH key"]["found"] == "no SSH key"
    assert checks["local EC2"]["remedy"] == "set XDG_STATE_HOME, or HOME"


def test_launch_without_a_key_is_an_error(cli: QuickCommandLine) -> None:
    complaint = cli.complaint("launch", "bookworm")
    assert complaint.startswith("no SSH key: this user has no home directory")


def test_launch_runs_a_command_and_deletes_the_machine(cli: QuickCommandLine, world: CliWorld) -> None:
    key = ("--key", str(world.guest.key_pair.private_key_path), "--username", world.guest.sshd.username)
    done = cli.run("launch", "bookworm", *key, "--", "echo", "here")
    assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr


def test_a_kept_machine_is_reached_without_a_file_of_host_keys(cli: QuickCommandLine, world: CliWorld) -> None:
    key = ("--key", str(world.guest.key_pair.private_key_path), "--username", world.guest.sshd.username)
    done = cli.run("launch", "bookworm", "--keep", "--json", *key)
    assert done.returncode == 0, done.stderr
    (machine,) = json.loads(done.stdout)
    assert machine["ssh"] == ""
    assert "cannot print the ssh command: this user has no home directory: set XDG_CACHE_HOME, or HOME" in done.stderr
    assert cli.run("exec", *key, machine["id"], "--", "echo", "here").stdout == "here\n"
    deleted = cli.run("delete", "--yes", machine["id"])
    assert (deleted.returncode, deleted.stdout) == (0, f"{machine['id']}\n"), deleted.stderr
