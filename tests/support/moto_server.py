"""moto's EC2 over HTTP, in a process of its own: what it patches or remembers reaches no other test.

Its instances run at once and have no guest. Their public address is 127.0.0.1, so that nothing in a test connects to
the outside, and one sshd can stand for all of their guests.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REGION = "us-east-1"
PUBLIC_IP = "127.0.0.1"

UBUNTU = "099720109477"
DEBIAN = "136693071363"
DEBIAN_DAILY = "903794441882"
MARKETPLACE = "679593333241"
AMAZON = "137112412989"

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
    (
        "ami-00000000000000040",
        UBUNTU,
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20250108",
        "2025-01-08",
        "x86_64",
    ),
    # A name that is later in the alphabet, of an image that is older.
    (
        "ami-00000000000000041",
        UBUNTU,
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20250109.9",
        "2025-01-09",
        "x86_64",
    ),
    (
        "ami-00000000000000042",
        UBUNTU,
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-20250111",
        "2025-01-11",
        "arm64",
    ),
    (
        "ami-00000000000000043",
        UBUNTU,
        "ubuntu-minimal/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-minimal-20250120",
        "2025-01-20",
        "x86_64",
    ),
    (
        "ami-00000000000000044",
        UBUNTU,
        "ubuntu-minimal/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-amd64-minimal-20250121",
        "2025-01-21",
        "x86_64",
    ),
    (
        "ami-00000000000000045",
        UBUNTU,
        "ubuntu/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-arm64-server-20250113",
        "2025-01-13",
        "arm64",
    ),
    (
        "ami-00000000000000046",
        UBUNTU,
        "ubuntu-pro-server/images/hvm-ssd/ubuntu-focal-20.04-amd64-pro-server-20250116",
        "2025-01-16",
        "x86_64",
    ),
    (
        "ami-00000000000000047",
        UBUNTU,
        "ubuntu-pro-server/images/hvm-ssd/ubuntu-focal-20.04-amd64-pro-server-20250110",
        "2025-01-10",
        "x86_64",
    ),
    (
        "ami-00000000000000048",
        MARKETPLACE,
        "ubuntu-pro-fips-server/images/hvm-ssd/ubuntu-focal-20.04-amd64-pro-fips-server-20250117-1a2b",
        "2025-01-17",
        "x86_64",
    ),
    (
        "ami-00000000000000049",
        MARKETPLACE,
        "ubuntu-pro-fips-updates-server/images/hvm-ssd/ubuntu-focal-20.04-amd64-pro-fips-updates-server-20250118-3c4d",
        "2025-01-18",
        "x86_64",
    ),
    # Somebody else's, under Canonical's names.
    (
        "ami-0000000000000004a",
        "111111111111",
        "ubuntu-pro-fips-server/images/hvm-ssd/ubuntu-focal-20.04-amd64-pro-fips-server-20990101",
        "2099-01-01",
        "x86_64",
    ),
    ("ami-00000000000000050", DEBIAN, "debian-13-amd64-20250110-1", "2025-01-10", "x86_64"),
    ("ami-00000000000000051", DEBIAN, "debian-13-amd64-20250120-2", "2025-01-20", "x86_64"),
    ("ami-00000000000000052", DEBIAN, "debian-13-arm64-20250115-3", "2025-01-15", "arm64"),
    ("ami-00000000000000053", DEBIAN_DAILY, "debian-13-arm64-daily-20250122-4", "2025-01-22", "arm64"),
    ("ami-00000000000000054", DEBIAN_DAILY, "debian-sid-amd64-daily-20250123-5", "2025-01-23", "x86_64"),
    ("ami-00000000000000030", AMAZON, "al2023-ami-2023.6.20250101.0-x86_64", "2025-01-16", "x86_64"),
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
            env={**_without_coverage(os.environ), "MOTO_AMIS_PATH": str(images)},
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


def _without_coverage(environment: Mapping[str, str]) -> dict[str, str]:
    """None of the library's code runs in moto's process, and tracing moto's own would take half as long again."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_PROCESS")}


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


def _know_aliases_by_owner() -> None:
    """moto calls every image of its catalogue Amazon's."""
    from moto.ec2.models.amis import AmiBackend

    load_amis = AmiBackend._load_amis

    def load_and_rename(self: AmiBackend) -> None:
        load_amis(self)
        for ami in self.amis.values():
            ami.owner_alias = {AMAZON: "amazon", MARKETPLACE: "aws-marketplace"}.get(ami.owner_id)

    AmiBackend._load_amis = load_and_rename


def _tag_snapshots_of_images() -> None:
    """moto has an internal error where CreateImage is to tag the snapshots."""
    from moto.ec2.models.amis import Ami, AmiBackend

    create_image = AmiBackend.create_image

    def create_and_tag(
        self: AmiBackend, instance_id: str, name: str, description: str, tag_specifications: list[dict[str, Any]]
    ) -> Ami:
        others = [one for one in tag_specifications if one["ResourceType"] != "snapshot"]
        ami = create_image(self, instance_id, name, description, others)
        for specification in tag_specifications:
            if specification["ResourceType"] == "snapshot":
                ami.ebs_snapshot.add_tags({tag["Key"]: tag["Value"] for tag in specification["Tags"]})
        return ami

    AmiBackend.create_image = create_and_tag


def _serve() -> None:
    # What moto makes when it is imported stays: looking for garbage in it takes a third of the start's time.
    gc.disable()
    from moto.ec2.models import elastic_network_interfaces
    from moto.server import ThreadedMotoServer

    from pycloudlib.local.api.moto_adapter import cache_lookups

    cache_lookups()
    elastic_network_interfaces.random_public_ip = lambda: PUBLIC_IP
    _know_aliases_by_owner()
    _tag_snapshots_of_images()
    gc.freeze()
    gc.enable()
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    ended = threading.Thread(target=sys.stdin.read)
    ended.start()
    ended.join()
    server.stop()
    # Python would take as long to take moto apart as it took to import it.
    os._exit(0)


if __name__ == "__main__":
    _serve()
