"""`pycloudlib list`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cli_world import CliWorld, QuickCommandLine
from support.command_line import CommandLine


def test_what_this_library_launched_is_listed(world: CliWorld, machine: str) -> None:
    foreign = world.client().run_instances(ImageId="ami-623115117c377ba75", MinCount=1, MaxCount=1)
    foreign_id = foreign["Instances"][0]["InstanceId"]
    try:
        assert set(world.states("--tag", "shared")) == {machine}
        assert foreign_id not in world.states()
        assert foreign_id in world.states("--all")
        assert world.states("--state", "stopped") == {}
    finally:
        world.client().terminate_instances(InstanceIds=[foreign_id])


def test_each_is_a_line_with_tabs_where_there_is_no_terminal(world: CliWorld, machine: str) -> None:
    done = world.cli.run("list", "--local", "--tag", "shared")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    instance_id, state, address, kind, age, name = line.split("\t")
    assert (instance_id, state, kind) == (machine, "running", "t3.micro")
    assert address.startswith("127.")
    assert age[-1] in "smhd"
    assert name.startswith("shared-")


def test_json_contains_all_attributes(world: CliWorld, machine: str) -> None:
    (one,) = json.loads(world.cli.run("list", "--local", "--json", "--tag", "shared").stdout)
    assert one["id"] == machine
    assert list(one) == [
        "id", "name", "state", "type", "image", "address", "private_address", "zone", "run", "owner", "created",
        "expires",
    ]  # fmt: skip
    by_run = json.loads(world.cli.run("list", "--local", "--json", "--run", one["run"]).stdout)
    assert [two["id"] for two in by_run] == [machine]


def test_empty_list_succeeds_with_a_message(world: CliWorld) -> None:
    done = world.cli.run("list", "--local", "--tag", "nobodys")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "No machines found.\n")
    assert world.cli.run("list", "--local", "--json", "--tag", "nobodys").stdout == "[]\n"


def test_the_settings_file_leads_there_as_well(world: CliWorld, machine: str) -> None:
    done = world.cli.run("list", "--config", str(world.settings), "--tag", "shared")
    assert done.stdout.startswith(machine)


def test_missing_credentials_error_lists_the_sources(world: CliWorld) -> None:
    complaint = world.cli.complaint("list", "--region", "eu-central-1")
    assert complaint.startswith("no AWS credentials: set access_key_id and secret_access_key, or profile, in [ec2]")
    assert world.cli.complaint("list").startswith("no AWS region: ")


def test_missing_local_ec2_error_names_the_start_command(world: CliWorld) -> None:
    elsewhere = {**(world.cli.environment or {}), "XDG_STATE_HOME": str(world.cli.home / "nothing")}
    complaint = QuickCommandLine(world.cli.home, elsewhere).complaint("list", "--local", status=3)
    assert complaint == "no local EC2 is running: start one with `pycloudlib local start`"


def test_several_local_ec2s_are_distinguished_by_name(world: CliWorld) -> None:
    elsewhere = {**(world.cli.environment or {}), "XDG_STATE_HOME": str(world.cli.home / "elsewhere")}
    cli = QuickCommandLine(world.cli.home, elsewhere)
    try:
        for name in ("one", "two"):
            assert cli.run("local", "start", "--driver", "simulated", "--name", name).returncode == 0
            if name == "one":
                assert cli.run("list", "--local").returncode == 0
        complaint = cli.complaint("list", "--local")
        assert complaint.startswith("several local EC2s are running (one, two) and none is named 'default'")
    finally:
        for name in ("one", "two"):
            cli.run("local", "stop", "--name", name)


def test_a_pipe_that_nobody_reads_ends_it_without_a_word(world: CliWorld, machine: str) -> None:
    with world.cli.start("list", "--local") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (1, "")


SSO_PROFILE = """
[sso-session work]
sso_start_url = https://example.awsapps.com/start
sso_region = eu-central-1

[profile testing]
sso_session = work
sso_account_id = 111122223333
sso_role_name = IntegrationTests
region = eu-central-1
"""


def test_missing_single_sign_on_session_is_one_line(
    process: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "aws.config"
    config.write_text(SSO_PROFILE)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("HOME", str(tmp_path))
    complaint = process.complaint("list", "--profile", "testing")
    assert complaint.startswith("no usable AWS credentials: Error loading SSO Token: ")
    assert complaint.endswith("; run `aws sso login` for the profile")
