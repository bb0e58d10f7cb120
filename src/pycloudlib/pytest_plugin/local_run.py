"""The local EC2 of a run, shared by all workers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
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
        return cls(**{one.name: facts[one.name] for one in fields(cls)})

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


class LocalRun:
    """Starts a local EC2, and stops it at the end unless an instance is kept.

    Args:
        options: the options of the run.
        directory: the directory for the SSH key of its instances.
    """

    def __init__(self, options: CloudOptions, directory: Path) -> None:
        from pycloudlib.local import LocalEC2
        from pycloudlib.pytest_plugin.options import When

        more = {"region": options.region} if options.region else {}
        self._ends_with_run = options.keep is When.NEVER
        self._local: LocalEC2 | None = None
        self.access = self._start(LocalEC2(**more), directory)

    def _start(self, local: LocalEC2, directory: Path) -> LocalAccess:
        from pycloudlib.key import KeyPair

        try:
            info = local.start(end_with_this_process=self._ends_with_run)
            self._local = local
            key_pair = KeyPair.generate(directory / "key")
        except PycloudlibError as error:
            # Tests without a cloud still run.
            return LocalAccess(error=str(error))
        return LocalAccess(
            local.name,
            info.endpoint_url,
            info.region,
            info.access_key_id,
            info.secret_access_key,
            info.ssh_port,
            str(key_pair.public_key_path),
        )

    def stop(self) -> None:
        """Stop the local EC2 with all instances."""
        local, self._local = self._local, None
        if local is not None:
            local.stop()
