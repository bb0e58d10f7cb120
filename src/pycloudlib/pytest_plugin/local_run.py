"""The local EC2 of a run, shared by all workers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycloudlib.errors import LocalEC2Error, PycloudlibError

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.local import LocalEC2
    from pycloudlib.pytest_plugin.options import CloudOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalAccess:
    """The access to a local EC2, as strings and numbers for a worker.

    Args:
        name: the name of the local EC2.
        endpoint_url: the URL of its API.
        region: its region.
        access_key_id: a valid access key id.
        secret_access_key: the matching secret access key.
        ssh_port: the port of sshd on every instance; default 22.
        public_key_path: the public key of its instances.
        error: why it did not start; empty if it did.
    """

    name: str = ""
    endpoint_url: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    ssh_port: int = 22
    public_key_path: str = ""
    error: str = ""

    def to_mapping(self) -> dict[str, str | int]:
        """Return the access as strings and numbers."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, facts: Mapping[str, Any]) -> LocalAccess:
        """Return the access of `to_mapping()`."""
        return cls(**{field.name: facts[field.name] for field in fields(cls)})

    def connect(self, options: CloudOptions, region: str | None = None) -> EC2:
        """Open the local EC2, regardless of other settings.

        Args:
            options: the options, of which tag, TTL, and host keys are used.
            region: the region; default the local EC2's.

        Raises:
            LocalEC2Error: the local EC2 did not start; the message has the reason.
        """
        from pycloudlib.ec2.cloud import EC2

        if self.error:
            raise LocalEC2Error(f"--cloud-local: {self.error}")
        ec2 = EC2(
            options.tag,
            config_file=StringIO(f"[ec2]\nssh_port = {self.ssh_port}\n"),
            region=region or self.region,
            endpoint_url=self.endpoint_url,
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            ttl=options.ttl,
            host_keys=options.host_keys,
        )
        ec2.use_key(self.public_key_path)
        return ec2


def start_local(options: CloudOptions) -> LocalEC2:
    """Start a local EC2, which ends with this process unless instances are to be kept.

    Args:
        options: the options of the run.

    Raises:
        LocalEC2Error: it did not start; the message has the reason.
    """
    from pycloudlib.local import LocalEC2
    from pycloudlib.pytest_plugin.options import When

    network = "namespaces" if options.local_inside else options.local_network
    server_options: dict[str, Any] = {
        "region": options.region,
        "network": network,
        "host_ports": options.local_host_ports,
    }
    local = LocalEC2(**{name: value for name, value in server_options.items() if value})
    local.start(end_with_this_process=options.keep is When.NEVER)
    return local


def access_to(local: LocalEC2) -> LocalAccess:
    """Return the access to a local EC2 that runs, without a key.

    Args:
        local: the local EC2.
    """
    info = local.info
    return LocalAccess(
        local.name, info.endpoint_url, info.region, info.access_key_id, info.secret_access_key, info.ssh_port
    )


class LocalRun:
    """Starts a local EC2, and stops it at the end unless an instance is kept.

    Args:
        options: the options of the run.
        directory: the directory for the SSH key of its instances.
        started: the access to a local EC2 that was started for this run already, and is used instead; default none.
    """

    def __init__(self, options: CloudOptions, directory: Path, started: LocalAccess | None = None) -> None:
        self._local: LocalEC2 | None = None
        self.access = self._open(options, directory, started)

    def _open(self, options: CloudOptions, directory: Path, started: LocalAccess | None) -> LocalAccess:
        from pycloudlib.key import KeyPair
        from pycloudlib.local import LocalEC2

        try:
            self._local = start_local(options) if started is None else LocalEC2(started.name)
            access = started or access_to(self._local)
            return replace(access, public_key_path=str(KeyPair.generate(directory / "key").public_key_path))
        except PycloudlibError as error:
            # Tests without a cloud still run.
            return LocalAccess(error=str(error))

    def stop(self) -> None:
        """Stop the local EC2 with all instances."""
        local, self._local = self._local, None
        if local is not None:
            local.stop()
