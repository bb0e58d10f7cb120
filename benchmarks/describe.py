"""What the local EC2's server takes for DescribeInstances of a thousand instances, and plain moto's.

The local EC2 shares a response between requests until the records change, so a tag is changed before each measurement
but that of "all again".

python benchmarks/describe.py [--runs N] [--json FILE] [--strict]
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from peers import progress
from report import Figure, Report, Target, parser

from pycloudlib.local import LocalEC2

REGION = "us-east-1"
LOCAL, MOTO = "local EC2", "moto"
INSTANCES = 1000
AT_ONCE = 50
BY_ID = 100
TICKS = os.sysconf("SC_CLK_TCK")

AGAIN_CALLS = 20
TIMEOUT = 1800
"""Seconds; plain moto takes minutes for fifty clients, and more on a machine that does other work."""

ALL, AGAIN, ONE, CLIENTS, MEMORY = "all", "all again", "one by id", f"{AT_ONCE} clients at once", "memory at most"
LIMITS = {ALL: (0.3, "s"), ONE: (0.002, "ms"), CLIENTS: (20.0, "s"), MEMORY: (250e6, "MB")}
"""The first two are the server's processor time for a request, the third is the time until the last one is served."""

UNITS = {quantity: unit for quantity, (_, unit) in LIMITS.items()} | {AGAIN: "ms"}

IMAGES = ["debian-12-amd64-daily-*", "amzn2-ami-hvm-*-x86_64-gp2"]
"""An image that the local EC2 has, and one that moto has."""

AUTHORIZATION = f"AWS4-HMAC-SHA256 Credential=local/20260101/{REGION}/ec2/aws4_request, SignedHeaders=host, Signature=0"


@dataclass(frozen=True)
class Server:
    """A server with a thousand instances.

    Args:
        url: of its EC2 API.
        pid: its process.
    """

    url: str
    pid: int

    def describe(self, parameters: str = "") -> int:
        """Send DescribeInstances; give the size of the response. boto3 would take longer to read it than to get it."""
        return self._ask(f"Action=DescribeInstances{parameters}")

    def change(self, instance_id: str) -> None:
        """Change the records, so that no earlier response is valid any more."""
        self._ask(f"Action=CreateTags&ResourceId.1={instance_id}&Tag.1.Key=changed&Tag.1.Value={time.monotonic()}")

    def _ask(self, parameters: str) -> int:
        body = f"{parameters}&Version=2016-11-15".encode()
        request = urllib.request.Request(self.url, body, {"Authorization": AUTHORIZATION})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return len(response.read())

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> float:
        """Give the most that the process has had in use so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@contextmanager
def local_ec2() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        os.environ["XDG_STATE_HOME"] = directory
        with LocalEC2(driver="simulated") as local:
            yield Server(local.endpoint_url, local.info.pid)


@contextmanager
def plain_moto() -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Server(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()


WAYS: dict[str, Callable[[], Any]] = {LOCAL: local_ec2, MOTO: plain_moto}


def launch(server: Server) -> str:
    """Launch a thousand instances; give the id of one of them."""
    client: Any = boto3.client(
        "ec2",
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"max_attempts": 10}),
    )
    names = [{"Name": "name", "Values": IMAGES}]
    image_id = client.describe_images(Filters=names)["Images"][0]["ImageId"]
    for _ in range(INSTANCES // 100):
        launched = client.run_instances(ImageId=image_id, MinCount=100, MaxCount=100, InstanceType="t3.micro")
    return launched["Instances"][50]["InstanceId"]


def processor_time(server: Server, calls: int, parameters: str = "") -> float:
    before = server.processor_seconds()
    for _ in range(calls):
        server.describe(parameters)
    return (server.processor_seconds() - before) / calls


def all_at_once(server: Server) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as clients:
        list(clients.map(lambda _: server.describe(), range(AT_ONCE)))
    return time.perf_counter() - began


def measure(runs: int) -> list[Figure]:
    found: dict[tuple[str, str], list[float]] = {}
    for way, start in WAYS.items():
        with start() as server:
            instance_id = launch(server)
            server.describe()
            for _ in range(runs):
                server.change(instance_id)
                values = {
                    ALL: processor_time(server, 1),
                    AGAIN: processor_time(server, AGAIN_CALLS),
                    ONE: processor_time(server, BY_ID, f"&InstanceId.1={instance_id}"),
                }
                server.change(instance_id)
                values |= {CLIENTS: all_at_once(server), MEMORY: server.memory()}
                progress(
                    "describe", way, str(INSTANCES), ", ".join(f"{name} {one:.4g}" for name, one in values.items())
                )
                for quantity, value in values.items():
                    found.setdefault((way, quantity), []).append(value)
    return [Figure(way, quantity, UNITS[quantity], tuple(each), INSTANCES) for (way, quantity), each in found.items()]


def main() -> int:
    arguments = parser(__doc__, runs=3).parse_args()
    figures = measure(arguments.runs)
    reached = {one.quantity: one.median for one in figures if one.way == LOCAL}
    targets = tuple(
        Target(f"DescribeInstances of {INSTANCES}: {quantity}", reached[quantity], limit, unit)
        for quantity, (limit, unit) in LIMITS.items()
    )
    title = "the local EC2's server: DescribeInstances"
    return Report("describe", title, arguments.runs, tuple(figures), targets).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
