"""moto's EC2 over HTTP, in a process of its own: what it patches or remembers reaches no other test.

Its instances run at once and have no guest. Their public address is 127.0.0.1, so that nothing in a test connects to
the outside, and one sshd can stand for all of their guests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REGION = "us-east-1"
PUBLIC_IP = "127.0.0.1"

UBUNTU = "099720109477"
DEBIAN = "136693071363"
DEBIAN_DAILY = "903794441882"
MARKETPLACE = "679593333241"

BOOKWORM_DAILY = "ami-00000000000000012"
NOBLE_DAILY = "ami-00000000000000024"

_IMAGES = [
    ("ami-00000000000000010", DEBIAN, "debian-12-amd64-20250101-1000", "2025-01-01", "x86_64"),
    ("ami-00000000000000011", DEBIAN_DAILY, "debian-12-amd64-daily-20250102-1001", "2025-01-02", "x86_64"),
    (BOOKWORM_DAILY, DEBIAN_DAILY, "debian-12-amd64-daily-20250104-1003", "2025-01-04", "x86_64"),
    ("ami-00000000000000013", DEBIAN_DAILY, "debian-12-amd64-daily-20250103-1002", "2025-01-03", "x86_64"),
    ("ami-00000000000000014", DEBIAN_DAILY, "debian-12-arm64-daily-20250105-1004", "2025-01-05", "arm64"),
    ("ami-00000000000000015", "123456789012", "debian-12-amd64-daily-20990101-1", "2099-01-01", "x86_64"),
    (
        "ami-00000000000000020",
        UBUNTU,
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20250110.1",
        "2025-01-10",
        "x86_64",
    ),
    (
        "ami-00000000000000021",
        UBUNTU,
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20250111",
        "2025-01-11",
        "x86_64",
    ),
    (
        "ami-00000000000000022",
        UBUNTU,
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-arm64-server-20250112",
        "2025-01-12",
        "arm64",
    ),
    (
        "ami-00000000000000023",
        UBUNTU,
        "ubuntu-minimal/images/hvm-ssd/ubuntu-jammy-22.04-amd64-minimal-20250113",
        "2025-01-13",
        "x86_64",
    ),
    (
        NOBLE_DAILY,
        UBUNTU,
        "ubuntu/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-amd64-server-20250114",
        "2025-01-14",
        "x86_64",
    ),
    (
        "ami-00000000000000025",
        UBUNTU,
        "ubuntu-pro-server/images/hvm-ssd/ubuntu-jammy-22.04-amd64-pro-server-20250115",
        "2025-01-15",
        "x86_64",
    ),
    ("ami-00000000000000030", "137112412989", "al2023-ami-2023.6.20250101.0-x86_64", "2025-01-16", "x86_64"),
    ("ami-00000000000000031", "111111111111", "something-else", "2025-01-17", "x86_64"),
]


@contextmanager
def moto_server() -> Iterator[str]:
    """Serve EC2 for as long as the context lasts.

    Yields:
        The URL of the endpoint.
    """
    with tempfile.TemporaryDirectory() as directory:
        images = Path(directory) / "amis.json"
        images.write_text(json.dumps([_image(*fields) for fields in _IMAGES]))
        # Its standard input ends with this process, however that ends, and it ends with its standard input.
        process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(Path(directory) / "log").open("wb"),
            env={**os.environ, "MOTO_AMIS_PATH": str(images)},
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"moto did not start: {(Path(directory) / 'log').read_text()}")
            yield line.strip()
        finally:
            process.communicate()


def _image(ami_id: str, owner_id: str, name: str, created: str, architecture: str) -> dict[str, object]:
    return {
        "ami_id": ami_id,
        "name": name,
        "owner_id": owner_id,
        "creation_date": f"{created}T00:00:00.000Z",
        "architecture": architecture,
        "root_device_name": "/dev/xvda" if name.startswith("debian") else "/dev/sda1",
        "root_device_type": "ebs",
        "virtualization_type": "hvm",
        "hypervisor": "xen",
        "image_location": name,
        "description": name,
        "state": "available",
        "public": True,
        "sriov": "simple",
        "image_type": "machine",
    }


def _serve() -> None:
    from moto.ec2.models import elastic_network_interfaces
    from moto.server import ThreadedMotoServer

    elastic_network_interfaces.random_public_ip = lambda: PUBLIC_IP
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    ended = threading.Thread(target=sys.stdin.read)
    ended.start()
    ended.join()
    server.stop()


if __name__ == "__main__":
    _serve()
