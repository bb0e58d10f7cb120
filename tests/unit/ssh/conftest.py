"""Real sshds for the tests of pycloudlib.ssh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.ssh.connection import Connection, Target
from pycloudlib.ssh.host_keys import HostKeys
from support.sshd import Sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for a module's tests, which leave it as it is."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def own_sshd(tmp_path: Path) -> Iterator[Sshd]:
    """An sshd for one test, which may restart it, stop it and change its keys."""
    with Sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def target(sshd: Sshd) -> Target:
    return target_of(sshd)


@pytest.fixture
def connection(target: Target) -> Iterator[Connection]:
    with Connection(target, HostKeys("pinned")) as opened:
        yield opened


@pytest.fixture
def own_connection(own_sshd: Sshd) -> Iterator[Connection]:
    with Connection(target_of(own_sshd), HostKeys("pinned")) as opened:
        yield opened


def target_of(server: Sshd) -> Target:
    return Target(server.host, server.username, server.private_key_path, port=server.port)
