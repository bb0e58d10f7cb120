"""One simulated local EC2 for the requests of each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.audit_world import World
from support.plain_ec2 import simulated_ec2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with simulated_ec2(tmp_path_factory.mktemp("state")) as local:
        yield World(local)
