"""The AWS command line: its waiters, and what it makes of its arguments."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest

pytest.importorskip("awscli")


class Aws(Protocol):
    def __call__(self, *arguments: str) -> Any: ...


@pytest.fixture(scope="module")
def aws(environment: dict[str, str]) -> Aws:
    """Runs `aws ec2` and returns what it prints."""

    def aws(*arguments: str) -> Any:
        command = ["aws", "ec2", *arguments, "--output", "json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return aws


@pytest.fixture(scope="module")
def image_id(aws: Aws) -> str:
    images = aws("describe-images", "--filters", "Name=name,Values=debian-12-amd64-daily-*")["Images"]
    return str(images[0]["ImageId"])


@pytest.fixture
def instance_id(aws: Aws, image_id: str) -> str:
    launched = aws("run-instances", "--image-id", image_id, "--instance-type", "t3.micro")
    return str(launched["Instances"][0]["InstanceId"])


def test_instance_waiters_end(aws: Aws, instance_id: str) -> None:
    aws("wait", "instance-exists", "--instance-ids", instance_id)
    aws("wait", "instance-running", "--instance-ids", instance_id)
    aws("wait", "instance-status-ok", "--instance-ids", instance_id)
    aws("wait", "system-status-ok", "--instance-ids", instance_id)
    aws("stop-instances", "--instance-ids", instance_id)
    aws("wait", "instance-stopped", "--instance-ids", instance_id)
    aws("terminate-instances", "--instance-ids", instance_id)
    aws("wait", "instance-terminated", "--instance-ids", instance_id)


def test_volume_and_snapshot_waiters_end(aws: Aws, instance_id: str) -> None:
    aws("wait", "instance-running", "--instance-ids", instance_id)
    volume_id = aws("create-volume", "--availability-zone", "us-east-1a", "--size", "1")["VolumeId"]
    aws("wait", "volume-available", "--volume-ids", volume_id)
    zone = aws("describe-instances", "--instance-ids", instance_id)["Reservations"][0]["Instances"][0]["Placement"]
    volume_id = aws("create-volume", "--availability-zone", zone["AvailabilityZone"], "--size", "1")["VolumeId"]
    aws("wait", "volume-available", "--volume-ids", volume_id)
    aws("attach-volume", "--volume-id", volume_id, "--instance-id", instance_id, "--device", "/dev/sdf")
    aws("wait", "volume-in-use", "--volume-ids", volume_id)
    snapshot_id = aws("create-snapshot", "--volume-id", volume_id)["SnapshotId"]
    aws("wait", "snapshot-completed", "--snapshot-ids", snapshot_id)
    aws("detach-volume", "--volume-id", volume_id)
    aws("wait", "volume-available", "--volume-ids", volume_id)
    aws("delete-volume", "--volume-id", volume_id)
    aws("wait", "volume-deleted", "--volume-ids", volume_id)


def test_image_waiters_end(aws: Aws, instance_id: str) -> None:
    aws("wait", "instance-running", "--instance-ids", instance_id)
    image_id = aws("create-image", "--instance-id", instance_id, "--name", "captured")["ImageId"]
    aws("wait", "image-exists", "--image-ids", image_id)
    aws("wait", "image-available", "--image-ids", image_id)


def test_network_waiters_end(aws: Aws) -> None:
    vpc_id = aws("create-vpc", "--cidr-block", "192.168.0.0/16")["Vpc"]["VpcId"]
    aws("wait", "vpc-exists", "--vpc-ids", vpc_id)
    aws("wait", "vpc-available", "--vpc-ids", vpc_id)
    subnet_id = aws("create-subnet", "--vpc-id", vpc_id, "--cidr-block", "192.168.1.0/24")["Subnet"]["SubnetId"]
    aws("wait", "subnet-available", "--subnet-ids", subnet_id)
    interface = aws("create-network-interface", "--subnet-id", subnet_id)["NetworkInterface"]
    aws("wait", "network-interface-available", "--network-interface-ids", interface["NetworkInterfaceId"])
    group_id = aws("create-security-group", "--group-name", "web", "--description", "web")["GroupId"]
    aws("wait", "security-group-exists", "--group-ids", group_id)
    gateway_id = aws("create-internet-gateway")["InternetGateway"]["InternetGatewayId"]
    aws("wait", "internet-gateway-exists", "--internet-gateway-ids", gateway_id)
    aws("create-key-pair", "--key-name", "mine")
    aws("wait", "key-pair-exists", "--key-names", "mine")


def test_run_instances_sends_user_data_from_a_file(aws: Aws, image_id: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho hello\n")
    launched = aws("run-instances", "--image-id", image_id, "--user-data", f"file://{script}")
    instance_id = launched["Instances"][0]["InstanceId"]
    found = aws("describe-instance-attribute", "--instance-id", instance_id, "--attribute", "userData")
    assert base64.b64decode(found["UserData"]["Value"]).decode() == script.read_text()
    aws("terminate-instances", "--instance-ids", instance_id)


def test_user_data_of_a_stopped_instance_is_replaced(aws: Aws, instance_id: str, tmp_path: Path) -> None:
    aws("wait", "instance-running", "--instance-ids", instance_id)
    aws("stop-instances", "--instance-ids", instance_id)
    aws("wait", "instance-stopped", "--instance-ids", instance_id)
    script = "#!/bin/sh\necho hello\n"
    plain, encoded = tmp_path / "plain", tmp_path / "encoded"
    plain.write_text(script)
    encoded.write_text(base64.b64encode(script.encode()).decode())
    asked = ("describe-instance-attribute", "--instance-id", instance_id, "--attribute", "userData")
    for arguments in (
        ("--user-data", f"Value@=file://{plain}"),
        ("--attribute", "userData", "--value", f"file://{encoded}"),
    ):
        aws("modify-instance-attribute", "--instance-id", instance_id, "--user-data", "Value=nothing")
        aws("modify-instance-attribute", "--instance-id", instance_id, *arguments)
        assert base64.b64decode(aws(*asked)["UserData"]["Value"]).decode() == script
