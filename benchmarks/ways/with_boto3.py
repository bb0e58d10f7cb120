"""What a suite writes by hand: boto3 and its waiters, and paramiko to ask cloud-init."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import paramiko
from worker import Calls, serve, timed, timed_launch

WORKERS = 32


def client_of(cloud: dict[str, Any]) -> Any:
    return boto3.client(
        "ec2",
        endpoint_url=cloud["endpoint_url"],
        region_name=cloud["region"],
        aws_access_key_id=cloud["access_key_id"],
        aws_secret_access_key=cloud["secret_access_key"],
    )


def run_instances(client: Any, cloud: dict[str, Any], count: int) -> list[str]:
    answer = client.run_instances(ImageId=cloud["image_id"], InstanceType="t3.micro", MinCount=count, MaxCount=count)
    return [instance["InstanceId"] for instance in answer["Instances"]]


def addresses(client: Any, ids: list[str]) -> list[str]:
    answer = client.describe_instances(InstanceIds=ids)
    return [one["PublicIpAddress"] for reservation in answer["Reservations"] for one in reservation["Instances"]]


def wait_for_guest(cloud: dict[str, Any], key: paramiko.PKey, host: str) -> None:
    while True:
        try:
            connected = socket.create_connection((host, cloud["ssh_port"]), timeout=5)
            break
        except OSError:
            time.sleep(0.5)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ssh = paramiko.SSHClient()
    ssh.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    ssh.connect(host, username=cloud["username"], pkey=key, sock=connected, look_for_keys=False, allow_agent=False)
    _, output, _ = ssh.exec_command("cloud-init status --wait")
    if output.channel.recv_exit_status() != 0:
        raise RuntimeError(f"{host} is not ready")
    ssh.close()


def wait_until_ready(client: Any, cloud: dict[str, Any], ids: list[str]) -> None:
    client.get_waiter("instance_running").wait(InstanceIds=ids)
    key = paramiko.Ed25519Key.from_private_key_file(cloud["private_key"])
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda host: wait_for_guest(cloud, key, host), addresses(client, ids)))


def launch(cloud: dict[str, Any], count: int, cloud_seconds: float) -> dict[str, Any]:
    client = client_of(cloud)

    def launch_all() -> None:
        wait_until_ready(client, cloud, run_instances(client, cloud, count))

    return timed_launch(launch_all, cloud_seconds)


def clean(cloud: dict[str, Any], count: int) -> dict[str, Any]:
    client = client_of(cloud)
    ids = run_instances(client, cloud, count)
    client.get_waiter("instance_running").wait(InstanceIds=ids)

    def delete_all() -> None:
        client.terminate_instances(InstanceIds=ids)
        client.get_waiter("instance_terminated").wait(InstanceIds=ids)

    with Calls() as calls:
        seconds = timed(delete_all)
    return {"seconds": seconds, "calls": calls.count}


def snapshot(cloud: dict[str, Any]) -> dict[str, Any]:
    client = client_of(cloud)
    ids = run_instances(client, cloud, 1)
    wait_until_ready(client, cloud, ids)

    def make_image() -> None:
        client.stop_instances(InstanceIds=ids)
        client.get_waiter("instance_stopped").wait(InstanceIds=ids)
        image_id = client.create_image(InstanceId=ids[0], Name="bench")["ImageId"]
        client.get_waiter("image_available").wait(ImageIds=[image_id])
        client.start_instances(InstanceIds=ids)
        wait_until_ready(client, cloud, ids)

    with Calls() as calls:
        seconds = timed(make_image)
    return {"seconds": seconds, "calls": calls.count}


if __name__ == "__main__":
    serve(launch=launch, clean=clean, snapshot=snapshot)
