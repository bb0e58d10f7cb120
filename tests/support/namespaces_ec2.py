"""A local EC2 with the namespaces network and signatures, and no machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from pycloudlib.local import LocalEC2
from pycloudlib.local.prerequisites import find
from support.cli_world import home_environment
from support.namespaces import require_namespaces

PROGRAMS = ("qemu-system-x86_64", "qemu-img", "socat", "setpriv")


@contextmanager
def namespaces_ec2(home: Path, name: str) -> Iterator[LocalEC2]:
    """Serve one for as long as the context lasts; skip the test where it cannot be.

    Args:
        home: the home directory of everything that the context runs.
        name: its name.
    """
    require_namespaces()
    if None in map(find, PROGRAMS):
        pytest.skip("needs QEMU's programs")
    environment = home_environment(home)
    with pytest.MonkeyPatch.context() as patch:
        for variable in [variable for variable in environment if variable.startswith("XDG_")] + ["HOME"]:
            patch.setenv(variable, environment[variable])
        with LocalEC2(name, network="namespaces", accelerator="tcg", auth=True) as server:
            use_region(server)
            yield server


def use_region(server: LocalEC2) -> None:
    """Let the region's default VPC be created, with a subnet in each zone."""
    client_of(server, "ec2").describe_vpcs()


def client_of(server: LocalEC2, service: str) -> Any:
    """Return boto3's client of a service, with the server's credentials."""
    return boto3.client(
        service,
        endpoint_url=server.endpoint_url,
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
    )
