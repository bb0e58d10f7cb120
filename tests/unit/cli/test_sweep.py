from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pycloudlib.tags import Ownership, tag_specifications, utc_now
from support.command_line import CommandLine
from support.moto_server import REGION, moto_server

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

DAY = 24 * 3600
SOMEBODY = "somebody@elsewhere"


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def client(moto_url: str) -> Iterator[EC2Client]:
    client: Any = boto3.client(
        "ec2",
        region_name=REGION,
        endpoint_url=moto_url,
        aws_access_key_id="AKIAtest",
        aws_secret_access_key="secret",
    )
    yield client
    for pair in client.describe_key_pairs()["KeyPairs"]:
        client.delete_key_pair(KeyName=pair["KeyName"])


@pytest.fixture
def settings(tmp_path: Path, moto_url: str) -> Path:
    path = tmp_path / "pycloudlib.toml"
    path.write_text(
        f'[ec2]\nregion = "{REGION}"\nendpoint_url = "{moto_url}"\n'
        'access_key_id = "AKIAtest"\nsecret_access_key = "secret"\n'
    )
    path.chmod(0o600)
    return path


@pytest.fixture
def command(cli: CommandLine, settings: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("PYCLOUDLIB_CONFIG", str(settings))
    return cli


def leave(client: EC2Client, name: str, *, owner: str = SOMEBODY, run: str = "run-1", age: int = DAY) -> None:
    """Leave a key pair behind."""
    ownership = Ownership(run, owner, ttl=DAY, now=lambda: utc_now() - timedelta(seconds=age))
    specifications: Any = tag_specifications(["key-pair"], ownership.tags(f"[bold]{name}[/bold]"))
    client.create_key_pair(KeyName=name, TagSpecifications=specifications)


def names(client: EC2Client) -> set[str]:
    return {pair["KeyName"] for pair in client.describe_key_pairs()["KeyPairs"]}


def test_sweep_without_yes_lists_and_exits_with_a_status(command: CommandLine, client: EC2Client) -> None:
    leave(client, "forgotten", age=3 * DAY)
    done = command.run("sweep", "--owner", SOMEBODY)
    assert done.returncode == 1
    header, row, summary = done.stdout.splitlines()
    assert header.split() == ["kind", "id", "region", "name", "run", "owner", "age", "expires", "state"]
    for cell in ("key pair", "forgotten", REGION, "_bold_forgotten_/bold_", "run-1", SOMEBODY, "3d", "2d ago"):
        assert cell in row
    assert "1 found. Nothing was deleted: add --yes" in summary
    assert names(client) == {"forgotten"}


def test_with_yes_it_deletes_and_ends_with_nothing_left(command: CommandLine, client: EC2Client) -> None:
    leave(client, "forgotten")
    leave(client, "mine", owner="me@here")
    done = command.run("sweep", "--owner", SOMEBODY, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "deleted" in done.stdout.splitlines()[1]
    assert done.stdout.splitlines()[-1] == "1 deleted, 0 left."
    assert names(client) == {"mine"}


def test_json_contains_orphans_and_their_outcomes(command: CommandLine, client: EC2Client) -> None:
    leave(client, "forgotten")
    done = command.run("sweep", "--owner", SOMEBODY, "--json")
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)["found"]
    assert (found["kind"], found["id"], found["owner"], found["deleted"]) == ("key pair", "forgotten", SOMEBODY, False)
    done = command.run("sweep", "--owner", SOMEBODY, "--json", "--yes")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert [one["deleted"] for one in told["found"]] == [True]
    assert told["errors"] == []


def test_nothing_left_is_success(command: CommandLine, client: EC2Client) -> None:
    assert names(client) == set()
    done = command.run("sweep", "--owner", "any")
    assert (done.returncode, done.stdout) == (0, "Nothing found.\n")


@pytest.mark.parametrize(
    "options",
    [["--older-than", "36h"], ["--older-than", "1.5d"], ["--run", "old"], ["--expired"]],
    ids=["hours", "days", "run", "expired"],
)
def test_options_choose_what_is_deleted(command: CommandLine, client: EC2Client, options: list[str]) -> None:
    leave(client, "old", run="old-1", age=2 * DAY)
    leave(client, "new", run="new-1", age=60)
    assert command.run("sweep", "--owner", "any", "--yes", *options).returncode == 0
    assert names(client) == {"new"}


def test_undeletable_resource_is_reported_with_a_command(command: CommandLine, client: EC2Client) -> None:
    ownership = Ownership("run-1", SOMEBODY)
    specifications: Any = tag_specifications(["instance"], ownership.tags("x"))
    launched = client.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, TagSpecifications=specifications)
    instance_id = launched["Instances"][0]["InstanceId"]
    client.modify_instance_attribute(InstanceId=instance_id, DisableApiTermination={"Value": True})
    done = command.run("sweep", "--owner", SOMEBODY, "--yes")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "0 deleted, 1 left."
    assert f"pycloudlib: instance {instance_id}: " in done.stderr
    assert f"terminate-instances --region {REGION}" in done.stderr
    client.modify_instance_attribute(InstanceId=instance_id, DisableApiTermination={"Value": False})
    assert command.run("sweep", "--owner", SOMEBODY, "--yes").returncode == 0


def test_several_regions_are_searched(command: CommandLine, client: EC2Client, moto_url: str) -> None:
    elsewhere: Any = boto3.client(
        "ec2",
        region_name="eu-west-1",
        endpoint_url=moto_url,
        aws_access_key_id="AKIAtest",
        aws_secret_access_key="secret",
    )
    leave(client, "here")
    leave(elsewhere, "there")
    assert "there" not in command.run("sweep", "--owner", "any").stdout
    both = ("--region", REGION, "--region", "eu-west-1")
    listed = command.run("sweep", "--owner", "any", *both).stdout
    assert "here" in listed
    assert "there" in listed
    assert command.run("sweep", "--owner", "any", *both, "--yes").returncode == 0
    assert names(client) | names(elsewhere) == set()


def test_the_settings_may_be_named(cli: CommandLine, settings: Path, client: EC2Client) -> None:
    leave(client, "forgotten")
    assert "forgotten" in cli.run("sweep", "--owner", "any", "--config-file", str(settings)).stdout


@pytest.mark.parametrize(
    "options",
    [["--older-than", "soon"], ["--older-than", "-1h"], ["--run", ""], ["--what"], ["--region", "nowhere", "--region"]],
    ids=str,
)
def test_wrong_usage_exits_with_2_and_a_reason(command: CommandLine, options: list[str]) -> None:
    done = command.run("sweep", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr


def test_an_endpoint_that_is_not_there_is_an_error_in_one_line(command: CommandLine) -> None:
    assert "cannot reach EC2" in command.complaint("sweep", "--endpoint-url", "http://127.0.0.1:9")
