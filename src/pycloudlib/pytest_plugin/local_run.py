"""The local EC2 of a run: one for all of its workers."""

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
    """How a local EC2 is reached, in texts and numbers that can be sent to a worker.

    Args:
        name: of the local EC2.
        endpoint_url: of its API.
        region: its region.
        access_key_id: credentials that it takes.
        secret_access_key: credentials that it takes.
        ssh_port: of every instance's sshd.
        public_key_path: of the key that its instances let in.
        error: why it did not start; empty when it did.
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
        """Write it as texts and numbers."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, facts: Mapping[str, Any]) -> LocalAccess:
        """Read it back."""
        return cls(**{one.name: facts[one.name] for one in fields(cls)})

    def connect(self, options: CloudOptions, region: str | None = None) -> EC2:
        """Open it; whatever settings there are elsewhere, this leads to it.

        Args:
            options: tag, time to live and host keys are used.
            region: another region than the one it was started with.

        Raises:
            LocalEC2Error: it did not start; says why.
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
    """Starts a local EC2, and stops it in the end unless something in it is kept.

    Args:
        options: what the run wants.
        directory: where the SSH key of its instances is written.
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
            # Tests that need no cloud run all the same.
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
        """End it, with every instance."""
        local, self._local = self._local, None
        if local is not None:
            local.stop()
