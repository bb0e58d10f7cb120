"""The options that a local EC2 starts with, and the facts that it reports when it listens."""

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
    """What a local EC2 is to be.

    Args:
        driver: "qemu" for real machines (the default), "simulated" for states that pass by the clock.
        region: the region that settings name; the server knows all of them. Default "us-east-1".
        port: of the EC2 API; default 0, any free one.
        path: under which the EC2 API is, such as "/services/Cloud"; default "", the root.
        auth: whether it makes credentials of its own, and refuses requests that are not signed with them; default
            false: it takes any.
        ssh_port: of every instance's sshd; default 0: 22 where it may be bound, else a free one.
        accelerator: "auto" (the default), "kvm" or "tcg".
        max_memory_mib: no machine gets more memory than this, in MiB; default 2048.
        max_cpus: no machine gets more CPUs than this; default 0: as many as this computer has, and one under software
            emulation.
        warm_start: whether machines go on from where a boot of their like was saved, where their image allows it;
            default yes.
        network: "namespaces": VPCs that behave as EC2's, which needs network namespaces; "user": QEMU's user
            networking, each machine alone; "auto" (the default): namespaces where this computer supports them.
        public_cidr: the CIDR block of public addresses, all of which must be addresses of this computer, such as
            "203.0.113.0/24"; machines with the namespaces network reach each other there. Default "": loopback
            addresses.
        host_ports: TCP ports of this computer's loopback that machines with the namespaces network reach at the host's
            address, 198.51.100.1; default none.
        all_ports: whether every TCP port that is open to the host is reached at public addresses, by a table of
            nftables on this computer; needs root and the namespaces network. Default false: 1,000 ports of an address.
        shutdown_seconds: how long a guest may take to shut down before the plug is pulled; default 90.
        spot_notice_seconds: from the notice of an interruption until the end of a spot instance; default
            120, as on EC2.
        boot_seconds: simulated: from pending to running; default 0.
        stop_seconds: simulated: from stopping to stopped; default 0.
        terminate_seconds: simulated: from shutting-down to terminated; default 0.
        image_seconds: simulated: until an image is available; default 0.
        answer_seconds: simulated: from running until the guest answers on the network; default 0.
        end_with_stdin: end when standard input does; default false.
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
        """Write the options as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ServerOptions:
        """Read the options from JSON."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class ServerInfo:
    """Where a running local EC2 is, and what it is.

    Args:
        pid: its process.
        endpoint_url: of the EC2 API.
        region: the region that settings name.
        access_key_id: any will do, unless it was started with `auth`.
        secret_access_key: any will do, unless it was started with `auth`.
        ssh_port: of every instance's sshd.
        driver: "qemu" or "simulated".
        accelerator: "kvm" or "tcg"; "" for simulated machines.
        accelerator_reason: why this accelerator, in one line.
        network: "user" or "namespaces"; "" for simulated machines.
        network_reason: why this network, in one line.
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
        """Write the facts as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_mapping(cls, facts: Mapping[str, Any]) -> ServerInfo:
        """Read the facts back.

        Raises:
            KeyError: one is missing.
        """
        return cls(**{one.name: facts[one.name] for one in fields(cls)})

    def settings(self, **more: object) -> dict[str, str | int]:
        """The settings under `[ec2]` that lead to this server.

        Args:
            **more: further ones, such as `private_key_path`; paths may be given as such.
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
        """The settings as a TOML file; see settings()."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in self.settings(**more).items()]
        return "\n".join(["[ec2]", *lines]) + "\n"
