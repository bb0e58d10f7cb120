"""get_or_create_vpc() of one name, by several processes at one endpoint."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.cloud import EC2
from pycloudlib.errors import IllegalStateError
from pycloudlib.waiting import wait_until
from support.faulty_ec2 import FaultyEC2
from support.moto_server import REGION

PATIENCE = 60.0
"""Seconds after which a test that would hang fails."""

PROGRAM = """
import sys
from io import StringIO
from pycloudlib import EC2

ec2 = EC2("several", config_file=StringIO(sys.argv[1]))
print(ec2.get_or_create_vpc(sys.argv[2]).id, len(ec2.created_vpcs), flush=True)
"""


@pytest.fixture
def name() -> str:
    return f"several-{secrets.token_hex(4)}"


def start(gate: FaultyEC2, name: str, directory: Path) -> subprocess.Popen[str]:
    settings = f"""[ec2]
region = "{REGION}"
access_key_id = "AKIAtest"
secret_access_key = "secret"
endpoint_url = "{gate.url}"
"""
    command = [sys.executable, "-c", PROGRAM, settings, name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=directory, text=True)


def named(ec2: EC2, name: str) -> list[str]:
    """The ids of everything of that name."""
    filters: Any = [{"Name": "tag:Name", "Values": [name]}]
    client = ec2.client
    return [
        *(one["VpcId"] for one in client.describe_vpcs(Filters=filters)["Vpcs"]),
        *(one["SubnetId"] for one in client.describe_subnets(Filters=filters)["Subnets"]),
        *(one["RouteTableId"] for one in client.describe_route_tables(Filters=filters)["RouteTables"]),
        *(one["InternetGatewayId"] for one in client.describe_internet_gateways(Filters=filters)["InternetGateways"]),
        *(one["GroupId"] for one in client.describe_security_groups(Filters=filters)["SecurityGroups"]),
    ]


def kinds(ids: list[str]) -> list[str]:
    return sorted(one.split("-")[0] for one in ids)


COMPLETE_VPC = ["igw", "rtb", "sg", "subnet", "vpc"]


def test_two_processes_create_one_vpc(gate: FaultyEC2, gated_ec2: EC2, name: str, tmp_path: Path) -> None:
    gate.meet_at("CreateVpc", 2)
    processes = [start(gate, name, tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=PATIENCE)[0].split() for process in processes]
    (one_id, one_created), (other_id, other_created) = outputs
    assert one_id == other_id
    assert sorted([one_created, other_created]) == ["0", "1"]
    assert kinds(named(gated_ec2, name)) == COMPLETE_VPC
    assert gate.asked.count("CreateVpc") == 2
    assert gated_ec2.get_or_create_vpc(name).delete() == []


def test_a_vpc_that_another_process_creates_is_waited_for(gate: FaultyEC2, gated_ec2: EC2, name: str) -> None:
    vpc = gated_ec2.get_or_create_vpc(name)
    set_state(gated_ec2, vpc.id, "incomplete")
    gate.on("DescribeVpcs", after=lambda: set_state(gated_ec2, vpc.id, "complete"))
    gated_ec2.leave_to_sweep(vpc.id)
    found = gated_ec2.get_or_create_vpc(name)
    assert (found.id, found.subnets) == (vpc.id, vpc.subnets)
    assert gate.asked.count("CreateVpc") == 1
    assert vpc.delete() == []


def test_a_vpc_whose_creator_gives_up_is_created_anew(gate: FaultyEC2, gated_ec2: EC2, name: str) -> None:
    left = incomplete_vpc(gated_ec2, name)
    gate.on("DescribeVpcs", after=lambda: gated_ec2.client.delete_vpc(VpcId=left))
    vpc = gated_ec2.get_or_create_vpc(name)
    assert vpc.id != left
    assert kinds(named(gated_ec2, name)) == COMPLETE_VPC


def test_a_vpc_left_by_a_killed_process_is_reported_and_swept(
    gate: FaultyEC2, gated_ec2: EC2, name: str, tmp_path: Path
) -> None:
    processes: list[subprocess.Popen[str]] = []

    def kill() -> None:
        wait_until(lambda: processes, what="the process", deadline=Deadline.after(PATIENCE))
        processes[0].send_signal(signal.SIGKILL)
        processes[0].communicate()

    gate.on("CreateRouteTable", after=kill)
    processes.append(start(gate, name, tmp_path))
    assert processes[0].wait(PATIENCE) == -signal.SIGKILL
    with pytest.raises(IllegalStateError, match=r"pycloudlib sweep --owner any --run \S+ --yes") as caught:
        gated_ec2.get_or_create_vpc(name, timeout=0.1)
    assert f"the VPC named '{name}', is incomplete" in str(caught.value)
    run = str(caught.value).split("--run ")[1].split()[0]
    report = gated_ec2.sweep(run=run, owner="any", dry_run=False)
    assert report.left == ()
    assert named(gated_ec2, name) == []


def test_an_old_incomplete_vpc_is_not_waited_for(gated_ec2: EC2, name: str) -> None:
    left = incomplete_vpc(gated_ec2, name, created="2020-01-01T00:00:00Z")
    with pytest.raises(IllegalStateError, match=left):
        gated_ec2.get_or_create_vpc(name, timeout=3600)
    gated_ec2.client.delete_vpc(VpcId=left)


def test_an_incomplete_vpc_left_by_a_failure_here_is_deleted_first(gate: FaultyEC2, gated_ec2: EC2, name: str) -> None:
    left = incomplete_vpc(gated_ec2, name)
    gated_ec2._region_context.ledger.record("VPC", left, lambda: None, order=1)
    vpc = gated_ec2.get_or_create_vpc(name)
    assert vpc.id != left
    assert kinds(named(gated_ec2, name)) == COMPLETE_VPC


def incomplete_vpc(ec2: EC2, name: str, created: str = "") -> str:
    """A VPC as another process may just have begun it."""
    tags = {**ec2._ownership.tags(name), "pycloudlib:state": "incomplete"}
    tags["pycloudlib:created"] = created or tags["pycloudlib:created"]
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    specification: Any = [{"ResourceType": "vpc", "Tags": pairs}]
    vpc_id: str = ec2.client.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=specification)["Vpc"]["VpcId"]
    return vpc_id


def set_state(ec2: EC2, vpc_id: str, state: str) -> None:
    ec2.client.create_tags(Resources=[vpc_id], Tags=[{"Key": "pycloudlib:state", "Value": state}])
