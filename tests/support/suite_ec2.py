"""An EC2 for suites of users: the local one without machines, whose guests are one sshd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Any

import boto3
import pytest

from pycloudlib.local import LocalEC2
from pycloudlib.pytest_plugin.logs import GUEST_LOGS
from support.guest import Guest
from support.leftovers import leftovers
from support.sshd import ALL_LOOPBACK

GUESTS_WORDS = {name: f"this is {name}" for name in GUEST_LOGS}
"""What a guest tells where its logs are asked for."""


@dataclass(frozen=True)
class Cloud:
    """An EC2 for suites.

    Args:
        guest: what stands for all of its guests.
        settings: the settings file that leads to it.
        client: a boto3 client of it.
    """

    guest: Guest
    settings: Path
    client: Any

    @property
    def leftovers(self) -> list[str]:
        """What somebody made there and nobody deleted."""
        return leftovers(self.client)

    def tags(self, key: str) -> set[str]:
        """The values of a tag of all instances that there were."""
        found = self.client.describe_instances()["Reservations"]
        instances = [instance for reservation in found for instance in reservation["Instances"]]
        return {tag["Value"] for instance in instances for tag in instance.get("Tags", ()) if tag["Key"] == key}

    def instances(self, *states: str) -> list[Any]:
        """The instances in some states; default all."""
        found = self.client.describe_instances()["Reservations"]
        instances = [instance for reservation in found for instance in reservation["Instances"]]
        return [instance for instance in instances if not states or instance["State"]["Name"] in states]


@contextmanager
def suite_ec2(directory: Path, **options: Any) -> Iterator[Cloud]:
    """Serve it for as long as the context lasts.

    Args:
        directory: where everything is kept; empty.
        options: of LocalEC2.
    """
    with (
        Guest(directory / "guest", listen=ALL_LOOPBACK) as guest,
        LocalEC2(driver="simulated", ssh_port=guest.sshd.port, **options) as local,
    ):
        tell_logs(guest)
        settings = directory / "settings.toml"
        key = guest.key_pair.public_key_path
        settings.write_text(local.info.settings_toml(public_key_path=key, username=getuser(), boot_timeout=120))
        settings.chmod(0o600)
        yield Cloud(guest, settings, client_of(local))


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run a suite in this process; with workers, which heed signals and end their process, in one of its own."""
    runpytest = pytester.runpytest_subprocess if "-n" in arguments else pytester.runpytest_inprocess
    return runpytest("-q", *arguments)


def client_of(local: LocalEC2) -> Any:
    return boto3.client(
        "ec2",
        endpoint_url=local.endpoint_url,
        region_name=local.region,
        aws_access_key_id=local.access_key_id,
        aws_secret_access_key=local.secret_access_key,
    )


def tell_logs(guest: Guest) -> None:
    """Let a guest tell its logs; whatever else is to be done as root is taken for done."""
    cases = [f'"{command}") echo "{GUESTS_WORDS[name]}"; exit 0 ;;' for name, command in GUEST_LOGS.items()]
    guest.program("sudo", "\n".join(['for last; do :; done; case "$last" in', *cases, "esac", "exit 0"]))
