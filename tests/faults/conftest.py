"""One account of a simulated local EC2, reached through a connection on which one call goes wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from getpass import getuser
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.local import LocalEC2
from support.faulty_ec2 import FaultyEC2, faulty_ec2
from support.guest import Guest
from support.leftovers import leftovers
from support.sshd import ALL_LOOPBACK

EVERY = int(os.environ.get("PYCLOUDLIB_FAULTS_EVERY", "60"))
"""Of how many calls one is tried with each fault. Over the faults, all calls have their turn; 1 tries everything."""


OTHER_REGION = "eu-central-1"
"""Where images are copied to."""


@dataclass(frozen=True)
class Account:
    """An account in which nothing is left between two runs.

    Args:
        url: of its EC2.
        faulty: the connection to it.
        clients: boto3 clients on connections that never fail: of its region, and of OTHER_REGION.
        settings: a settings file that leads to it over the faulty connection.
        public_key: what its guests let in.
        username: who logs in.
    """

    url: str
    faulty: FaultyEC2
    clients: tuple[Any, ...]
    settings: str
    public_key: Path
    username: str

    def connect(self) -> EC2:
        """A new user of the account."""
        return EC2("fault", config_file=StringIO(self.settings))

    def leftovers(self) -> list[str]:
        """What nobody has deleted."""
        return [one for client in self.clients for one in leftovers(client)]

    def reset(self) -> None:
        """Forget everything."""
        with urlopen(Request(f"{self.url}/moto-api/reset", method="POST")):
            pass


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    directory = tmp_path_factory.mktemp("faults")
    with (
        pytest.MonkeyPatch.context() as environment,
        Guest(directory / "guest", listen=ALL_LOOPBACK) as guest,
    ):
        environment.setenv("XDG_STATE_HOME", str(directory / "state"))
        with LocalEC2(driver="simulated", ssh_port=guest.sshd.port) as local, faulty_ec2(local.endpoint_url) as faulty:
            keys = {"aws_access_key_id": local.access_key_id, "aws_secret_access_key": local.secret_access_key}
            settings = local.info.settings_toml(public_key_path=guest.key_pair.public_key_path)
            yield Account(
                url=local.endpoint_url,
                faulty=faulty,
                clients=tuple(
                    boto3.client("ec2", region_name=region, endpoint_url=local.endpoint_url, **keys)
                    for region in (local.region, OTHER_REGION)
                ),
                settings=settings.replace(local.endpoint_url, faulty.url),
                public_key=guest.key_pair.public_key_path,
                username=getuser(),
            )
