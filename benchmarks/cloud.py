"""EC2 for the benchmarks: the simulated local EC2 with a clock, and one real sshd on loopback for every guest."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Any

import boto3

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from peers import PYCLOUDLIB, Worker

from pycloudlib.local import LocalEC2
from support.guest import Guest
from support.sshd import ALL_LOOPBACK, Sshd

BOOT, STOP, TERMINATE, IMAGE = 8.0, 5.0, 8.0, 8.0
"""Seconds that the cloud takes for each."""

LOOK_SECONDS = 0.05
"""Between two looks whether an instance runs; they are not counted among anybody's calls."""

IMAGE_NAME = "debian-12-amd64-*"

CLOUD_INIT_DONE = """\
case "$*" in
*json*) echo '{"status": "done", "extended_status": "done", "errors": [], "recoverable_errors": {}}' ;;
*) echo "status: done" ;;
esac"""


@dataclass(frozen=True)
class Cloud:
    """A cloud, and what a competitor has to know of it.

    Args:
        facts: handed to it as they are.
        directory: for whatever has to be written; gone in the end.
    """

    facts: dict[str, Any]
    directory: Path

    def client(self) -> Any:
        """A plain boto3 client."""
        return boto3.client(
            "ec2",
            endpoint_url=self.facts["endpoint_url"],
            region_name=self.facts["region"],
            aws_access_key_id=self.facts["access_key_id"],
            aws_secret_access_key=self.facts["secret_access_key"],
        )


@contextmanager
def simulated_cloud(*, boot: float = BOOT, with_cloud_init: bool = True) -> Iterator[Cloud]:
    """Start a cloud with nothing in it.

    Args:
        boot: seconds from the launch until an instance runs.
        with_cloud_init: whether a stand-in for cloud-init says that it is done, which takes a shell or two more for
            each command.
    """
    with ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        boots = boot > 0
        sshd = undo.enter_context(_with_cloud_init(directory, boots) if with_cloud_init else _plain(directory, boots))
        undo.enter_context(_environment("XDG_STATE_HOME", str(directory / "state")))
        local = undo.enter_context(
            LocalEC2(
                driver="simulated",
                ssh_port=sshd.port,
                boot_seconds=boot,
                stop_seconds=STOP,
                terminate_seconds=TERMINATE,
                image_seconds=IMAGE,
            )
        )
        facts = {
            "endpoint_url": local.endpoint_url,
            "region": local.region,
            "access_key_id": local.access_key_id,
            "secret_access_key": local.secret_access_key,
            "ssh_port": local.ssh_port,
            "username": getuser(),
            "private_key": str(sshd.private_key_path),
            "public_key": f"{sshd.private_key_path}.pub",
            "directory": str(directory),
        }
        cloud = Cloud(facts, directory)
        images = cloud.client().describe_images(Filters=[{"Name": "name", "Values": [IMAGE_NAME]}])["Images"]
        facts["image_id"] = min(image["ImageId"] for image in images)
        if boots:
            undo.enter_context(_accepting_when_booted(sshd, cloud.client()))
        yield cloud


@contextmanager
def _with_cloud_init(directory: Path, refuses_first: bool) -> Iterator[Sshd]:
    with Guest(directory / "guest", listen=ALL_LOOPBACK, refuses_first=refuses_first) as guest:
        guest.program("cloud-init", CLOUD_INIT_DONE)
        yield guest.sshd


def _plain(directory: Path, refuses_first: bool) -> Sshd:
    return Sshd(directory / "sshd", listen=ALL_LOOPBACK, refuses_first=refuses_first)


@contextmanager
def _accepting_when_booted(sshd: Sshd, client: Any) -> Iterator[None]:
    """Let the guests' sshd accept connections as soon as the first instance runs, and refuse them before.

    All instances of a benchmark are launched together, so they all run from that moment on.
    """
    is_over = threading.Event()
    running = [{"Name": "instance-state-name", "Values": ["running"]}]

    def watch() -> None:
        while not is_over.wait(LOOK_SECONDS):
            if client.describe_instances(Filters=running)["Reservations"]:
                sshd.accept()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


@contextmanager
def one_host() -> Iterator[tuple[Cloud, str]]:
    """A cloud with one instance that runs, and its id."""
    with simulated_cloud(boot=0.0, with_cloud_init=False) as cloud:
        client = cloud.client()
        (instance,) = client.run_instances(ImageId=cloud.facts["image_id"], MinCount=1, MaxCount=1)["Instances"]
        client.get_waiter("instance_running").wait(InstanceIds=[instance["InstanceId"]])
        yield cloud, instance["InstanceId"]


def login(cloud: Cloud, instance_id: str) -> dict[str, Any]:
    """How an instance is logged in to, as connect() of the ways takes it."""
    (reservation,) = cloud.client().describe_instances(InstanceIds=[instance_id])["Reservations"]
    keys = {"port": cloud.facts["ssh_port"], "username": cloud.facts["username"]}
    host = reservation["Instances"][0]["PublicIpAddress"]
    return {"host": host, **keys, "private_key": cloud.facts["private_key"]}


def connect(worker: Worker, cloud: Cloud, instance_id: str) -> None:
    """Let a way log in; pycloudlib can only do that by its own idea of an instance."""
    if worker.way == PYCLOUDLIB:
        worker("attach", cloud=cloud.facts, instance_id=instance_id)
    else:
        worker("connect", **login(cloud, instance_id))


def server_seconds(count: int) -> float:
    """How long this server takes to answer one RunInstances: its own work, and no client's."""
    with simulated_cloud() as cloud:
        client = cloud.client()
        client.describe_regions()
        began = time.perf_counter()
        client.run_instances(ImageId=cloud.facts["image_id"], MinCount=count, MaxCount=count)
        return time.perf_counter() - began


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
