"""`pycloudlib local network` and `reach`."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest

from pycloudlib.cli.local_network import _warn
from pycloudlib.config import load_settings
from pycloudlib.local import ServerInfo
from support.cli_world import CliWorld
from support.command_line import CommandLine

SIMULATED = ("local", "start", "--driver", "simulated", "--host-port", "3128", "--host-port", "8000")


@pytest.fixture
def vpc_id(cli: CommandLine) -> str:
    """A local EC2 with a VPC with two interfaces named "web" and "database"."""
    path = cli.home / "local.toml"
    assert cli.run(*SIMULATED, "--write-config", str(path)).returncode == 0
    client = _client(path)
    vpc_id = client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    client.create_tags(Resources=[vpc_id], Tags=[{"Key": "Name", "Value": "lab"}])
    subnet_id = client.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    for name in ("web", "database"):
        client.create_network_interface(
            SubnetId=subnet_id,
            TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "Name", "Value": name}]}],
        )
    return str(vpc_id)


def _client(path: Path):  # type: ignore[no-untyped-def]
    settings = load_settings(path)
    return boto3.client(
        "ec2",
        endpoint_url=settings.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
    )


def test_network_is_drawn(cli: CommandLine, vpc_id: str) -> None:
    drawn = cli.run("local", "network")
    assert f"VPC {vpc_id} (lab)  10.0.0.0/16\n" in drawn.stdout
    assert "(database)  10.0.1." in drawn.stdout
    assert "simulated" in drawn.stderr
    document = json.loads(cli.run("local", "network", "--json").stdout)
    assert document["names"][vpc_id] == "lab"
    assert document["topology"]["vpcs"][vpc_id]["cidrs"] == ["10.0.0.0/16"]
    assert document["host_ports"] == [3128, 8000]


def test_reach_answers_by_names(cli: CommandLine, vpc_id: str) -> None:
    done = cli.run("local", "reach", "web", "database", "tcp/5432")
    assert done.returncode == 1
    assert done.stdout.startswith("no: eni-")
    assert "is not attached to an instance" in done.stdout
    answer = json.loads(cli.run("local", "reach", "web", "database", "icmp", "--json").stdout)
    assert (answer["reachable"], answer["component"][:4]) == (False, "eni-")


def test_reach_refuses_what_it_cannot_answer(cli: CommandLine, vpc_id: str) -> None:
    assert "unknown interface or instance 'nobody'" in cli.complaint(
        "local", "reach", "nobody", "web", "tcp/22", status=3
    )
    assert "tcp needs a port" in cli.complaint("local", "reach", "web", "database", "tcp")
    assert cli.run("local", "reach", "web", "database", "tcp/70000").returncode == 2
    assert "no local EC2 named 'other'" in cli.complaint("local", "network", "--name", "other", status=3)


def test_instances_are_found_by_the_tag_of_their_launch(world: CliWorld) -> None:
    first = world.launch("--tag", "reached")
    (name,) = (one["name"] for one in world.listed("--tag", "reached"))
    try:
        for text in ("reached", name, first):
            assert world.cli.run("local", "reach", text, "internet", "tcp/443").stdout.startswith("yes: "), text
        second = world.launch("--tag", "reached")
        several = world.cli.complaint("local", "reach", "reached", "internet", "tcp/443")
        assert several == f"several resources are named 'reached': {', '.join(sorted((first, second)))}; give an id"
        assert world.cli.run("delete", "--local", "--yes", second).returncode == 0
        assert world.cli.run("local", "reach", "reached", "internet", "tcp/443").returncode == 0
    finally:
        world.cli.run("delete", "--local", "--yes", *world.states("--tag", "reached"))


def test_names_of_several_are_refused(cli: CommandLine, vpc_id: str) -> None:
    client = _client(cli.home / "local.toml")
    for one in client.describe_network_interfaces()["NetworkInterfaces"]:
        client.create_tags(Resources=[one["NetworkInterfaceId"]], Tags=[{"Key": "Name", "Value": "web"}])
    assert "several resources are named 'web': eni-" in cli.complaint("local", "reach", "web", "internet", "tcp/80")


def test_user_networking_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    _warn(ServerInfo(1, "http://127.0.0.1:1", "us-east-1", "a", "b", 22, "qemu", "tcg", ""))
    assert "Machines have user networking" in capsys.readouterr().err
