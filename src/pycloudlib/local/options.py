"""The options of a local EC2, and the properties that it reports once it listens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105  (guards nothing: the server listens on loopback)

URL_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
"""The path of the endpoint URL."""


@dataclass(frozen=True)
class ServerOptions:
    """The options of a local EC2.

    Args:
        driver: "qemu" for real machines (the default), or "simulated" for machines without a guest.
        region: the region in the generated settings; the server supports all regions. Default "us-east-1".
        port: the port of the EC2 API; default 0 for a free port.
        path: the path of the EC2 API, such as "/services/Cloud"; default "" for the root.
        auth: whether to generate credentials, and to reject requests that are not signed with them; default false, to
            accept any credentials.
        ssh_port: the port of every instance's sshd; default 0 for port 22 if it can be bound, or else a free port.
        accelerator: "auto" (the default), "kvm" or "tcg".
        max_memory_mib: the maximum memory of a machine in MiB; default 2048.
        max_cpus: the maximum number of CPUs of a machine; default 0 for the number of the host, or 1 under software
            emulation.
        warm_start: whether machines resume from a boot snapshot if their image supports it; default yes.
        network: "namespaces" for VPCs that behave like EC2's, which requires network namespaces; "user" for QEMU's
            user networking with isolated machines; "auto" (the default) for namespaces if the host supports them.
        public_cidr: the CIDR block of public addresses, such as "203.0.113.0/24", all of which must be addresses of
            the host; machines with the namespaces network reach each other at these addresses. Default "" for loopback
            addresses.
        host_ports: the TCP ports of the host's loopback address that machines with the namespaces network reach at the
            host's address, 198.51.100.1; default none.
        all_ports: whether public addresses forward every TCP port that is open to the host, with an nftables table on
            the host; requires root and the namespaces network. Default false, for 1,000 ports per address.
        shutdown_seconds: the time for a guest to shut down before it is powered off; default 90.
        spot_notice_seconds: the time from the interruption notice to the termination of a spot instance; default 120,
            as on EC2.
        boot_seconds: simulated: from pending to running; default 0.
        stop_seconds: simulated: from stopping to stopped; default 0.
        terminate_seconds: simulated: from shutting-down to terminated; default 0.
        image_seconds: simulated: until an image is available; default 0.
        answer_seconds: simulated: from running until the guest is reachable on the network; default 0.
        end_with_stdin: whether to stop on EOF of standard input; default false.
    """

    driver: str = "qemu"
    region: str = "us-east-1"
    port: int = 0
    path: str = ""
    auth: bool = False
    ssh_port: int = 0
    accelerator: str = "auto"
    max_memory_mib: int = 2048
    max_cpus: int = 0
    warm_start: bool = True
    network: str = "auto"
    public_cidr: str = ""
    host_ports: Sequence[int] = ()
    all_ports: bool = False
    shutdown_seconds: float = 90.0
    spot_notice_seconds: float = 120.0
    boot_seconds: float = 0.0
    stop_seconds: float = 0.0
    terminate_seconds: float = 0.0
    image_seconds: float = 0.0
    answer_seconds: float = 0.0
    end_with_stdin: bool = False

    def to_json(self) -> str:
        """Serialize the options as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ServerOptions:
        """Parse the options from JSON."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class ServerInfo:
    """The endpoint and the properties of a running local EC2.

    Args:
        pid: the process id.
        endpoint_url: the URL of the EC2 API.
        region: the region in the generated settings.
        access_key_id: the access key id; arbitrary unless the server was started with `auth`.
        secret_access_key: the secret access key; arbitrary unless the server was started with `auth`.
        ssh_port: the port of every instance's sshd.
        driver: "qemu" or "simulated".
        accelerator: "kvm" or "tcg"; "" for simulated machines.
        accelerator_reason: the reason for the accelerator, in one line.
        network: "user" or "namespaces"; "" for simulated machines.
        network_reason: the reason for the network, in one line.
    """

    pid: int
    endpoint_url: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    ssh_port: int
    driver: str
    accelerator: str
    accelerator_reason: str
    network: str = ""
    network_reason: str = ""

    def to_json(self) -> str:
        """Serialize the properties as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_mapping(cls, facts: Mapping[str, Any]) -> ServerInfo:
        """Parse the properties.

        Raises:
            KeyError: a property is missing.
        """
        return cls(**{item.name: facts[item.name] for item in fields(cls)})

    def settings(self, **more: object) -> dict[str, str | int]:
        """Return the settings of the section `[ec2]` for this server.

        Args:
            **more: further settings, such as `private_key_path`, whose values may be paths.
        """
        return {
            "endpoint_url": self.endpoint_url,
            "region": self.region,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "ssh_port": self.ssh_port,
            **{key: value if isinstance(value, int) else str(value) for key, value in more.items()},
        }

    def settings_toml(self, **more: object) -> str:
        """Return the settings as a TOML document; see settings()."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in self.settings(**more).items()]
        return "\n".join(["[ec2]", *lines]) + "\n"
