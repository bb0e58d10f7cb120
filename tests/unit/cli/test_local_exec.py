"""`pycloudlib local exec`: commands inside a VPC."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from pycloudlib.cli.local_exec import _require_namespaces
from pycloudlib.config import load_settings
from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import ServerInfo
from pycloudlib.local.prerequisites import find
from support.cli_world import home_environment
from support.command_line import CommandLine
from support.namespaces import require_namespaces
from support.terminal import Terminal

EXEC = ("local", "exec")
PROGRAMS = ("qemu-system-x86_64", "qemu-img", "socat", "setpriv")

DESCRIBE = """
import boto3, sys
client = boto3.client(
    "ec2", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
)
print(*sorted(vpc["VpcId"] for vpc in client.describe_vpcs()["Vpcs"]))
"""


class Home(CommandLine):
    """The command line with a local EC2 with the namespaces network, and no machines."""

    settings: Path

    def client(self) -> Any:
        settings = load_settings(self.settings)
        return boto3.client(
            "ec2",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
        )

    def namespace(self, *options: str) -> str:
        """The network namespace that a command is in."""
        return self.run(*EXEC, *options, "--", "readlink", "/proc/self/ns/net").stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    require_namespaces()
    if None in map(find, PROGRAMS):
        pytest.skip("needs QEMU's programs")
    directory = tmp_path_factory.mktemp("exec")
    home = Home(directory, home_environment(directory))
    home.settings = directory / "local.toml"
    options = ("--network", "namespaces", "--accelerator", "tcg", "--write-config", str(home.settings))
    started = home.run("local", "start", *options)
    assert started.returncode == 0, started.stderr
    try:
        yield home
    finally:
        home.run("local", "stop")


def test_command_ends_with_its_own_status_and_streams(home: Home) -> None:
    done = home.run(*EXEC, "--", "sh", "-c", "cat; echo trouble >&2; exit 9", stdin="typed")
    assert (done.returncode, done.stdout, done.stderr) == (9, "typed", "trouble\n")


def test_command_gets_the_signal_itself(home: Home) -> None:
    script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do read -r line; done"
    with home.start(*EXEC, "--", "sh", "-c", script, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        # A shell runs the trap between two commands.
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "caught\n"
    assert process.returncode == 5


def test_command_that_a_signal_ends_is_ended_by_it(home: Home) -> None:
    assert home.run(*EXEC, "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_command_has_the_terminal(home: Home) -> None:
    command = [*home.command, *EXEC, "--", "sh", "-c", "test -t 0 && test -t 1 && tty"]
    with Terminal(command, home.environment) as terminal:
        assert "/dev/pts/" in terminal.read_to_end()
    assert terminal.returncode == 0


def test_words_after_a_second_pair_of_hyphens_are_the_commands(home: Home) -> None:
    assert home.run(*EXEC, "--", "echo", "--name", "--", "x").stdout == "--name -- x\n"


def test_api_and_metadata_are_reached_inside(home: Home) -> None:
    endpoint_url = str(load_settings(home.settings).endpoint_url)
    vpcs = sorted(vpc["VpcId"] for vpc in home.client().describe_vpcs()["Vpcs"])
    assert home.run(*EXEC, "--", sys.executable, "-c", DESCRIBE, endpoint_url).stdout.split() == vpcs
    answer = "import http.client as h; c = h.HTTPConnection('169.254.169.254'); c.request('GET', '/latest/')"
    # The host is no instance.
    status = home.run(*EXEC, "--", sys.executable, "-c", f"{answer}; print(c.getresponse().status)")
    assert status.stdout == "404\n", status.stderr


def test_command_line_works_inside(home: Home) -> None:
    inside = home.run(*EXEC, "--", *home.command, "list", "--local", "--json")
    assert json.loads(inside.stdout) == [], inside.stderr


def test_vpc_is_named_by_id_or_tag(home: Home) -> None:
    client = home.client()
    vpc_id = client.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    client.create_tags(Resources=[vpc_id], Tags=[{"Key": "Name", "Value": "lab"}])
    assert "nameserver 10.7.0.2\n" in home.run(*EXEC, "--vpc", "lab", "--", "cat", "/etc/resolv.conf").stdout
    by_name, by_id, default = home.namespace("--vpc", "lab"), home.namespace("--vpc", vpc_id), home.namespace()
    assert by_name == by_id != default
    assert default.startswith("net:[")


def test_program_becomes_a_command_inside(home: Home) -> None:
    """`LocalEC2.exec_inside()`, also of a process with threads."""
    program = (
        "import sys, threading; from pycloudlib.local import LocalEC2; "
        "threading.Thread(target=threading.Event().wait, daemon=True).start(); "
        "LocalEC2('default').exec_inside(sys.argv[1:])"
    )

    def become(*command: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-c", program, *command]
        return subprocess.run(arguments, env=home.environment, capture_output=True, text=True, check=False)

    inside = become("readlink", "/proc/self/ns/net")
    assert (inside.stdout, inside.stderr) == (home.namespace(), "")
    unknown = become("no-such-command")
    assert (unknown.returncode, unknown.stderr) == (1, "cannot run 'no-such-command': No such file or directory\n")


def test_name_of_several_vpcs_is_refused(home: Home) -> None:
    client = home.client()
    for block in ("10.8.0.0/16", "10.9.0.0/16"):
        vpc_id = client.create_vpc(CidrBlock=block)["Vpc"]["VpcId"]
        client.create_tags(Resources=[vpc_id], Tags=[{"Key": "Name", "Value": "twin"}])
    assert "several resources are named 'twin': vpc-" in home.complaint(*EXEC, "--vpc", "twin", "--", "true")


def test_unknown_vpc_is_refused(home: Home) -> None:
    complaint = "unknown VPC 'vpc-1': `pycloudlib local network` lists them"
    assert home.complaint(*EXEC, "--vpc", "vpc-1", "--", "true", status=3) == complaint


def test_region_without_default_vpc_needs_a_name(home: Home) -> None:
    client = home.client()
    (vpc,) = client.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    gateways = client.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc["VpcId"]]}])
    for gateway in gateways["InternetGateways"]:
        client.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc["VpcId"])
    for subnet in client.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]:
        client.delete_subnet(SubnetId=subnet["SubnetId"])
    client.delete_vpc(VpcId=vpc["VpcId"])
    try:
        assert "no default VPC in us-east-1 any more: name another" in home.complaint(*EXEC, "--", "true")
    finally:
        client.create_default_vpc()


def test_command_that_there_is_not_is_named(home: Home) -> None:
    assert "cannot run 'no-such-command': " in home.complaint(*EXEC, "--", "no-such-command")


def test_command_goes_after_hyphens(process: CommandLine) -> None:
    done = process.run(*EXEC)
    assert done.returncode == 2
    assert "no command to run: write it after --" in done.stderr


def test_missing_local_ec2_is_an_error(process: CommandLine) -> None:
    complaint = process.complaint(*EXEC, "--name", "other", "--", "true", status=3)
    assert complaint == "no local EC2 named 'other' is running"


def test_simulated_machines_have_no_network(process: CommandLine) -> None:
    assert process.run("local", "start", "--driver", "simulated", "--name", "fake").returncode == 0
    assert process.complaint(*EXEC, "--name", "fake", "--", "true") == (
        "local exec requires the namespaces network, and the local EC2 'fake' has simulated machines: stop it, and run "
        "`pycloudlib local start --name fake --network namespaces`"
    )


def test_user_networking_is_refused() -> None:
    info = ServerInfo(1, "http://127.0.0.1:1", "us-east-1", "a", "b", 22, "qemu", "tcg", "", "user", "as requested")
    with pytest.raises(
        LocalEC2Error, match=r"'default' has user networking .as requested.: .* `pycloudlib local start --network name"
    ):
        _require_namespaces("default", info)
