from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pycloudlib.errors import SSHConnectionError
from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.target import Target
from support.relay import Relay


@pytest.fixture
def relay(target: Target) -> Iterator[Relay]:
    with Relay(target.port) as relay:
        yield relay


@pytest.fixture
def connection(target: Target, relay: Relay) -> Iterator[Connection]:
    with Connection(replace(target, host="127.0.0.1", port=relay.port, keepalive=0.5), HostKeys()) as connection:
        connection.open()
        yield connection


def test_dead_host_behind_a_proxy_ends_the_command(connection: Connection, relay: Relay) -> None:
    threading.Timer(0.5, relay.drop_everything).start()
    with pytest.raises(SSHConnectionError, match=r"the host did not respond for \d s\): sleep 600"):
        run(connection, "sleep 600")


def test_silent_command_outlives_many_keepalives(connection: Connection) -> None:
    assert run(connection, "sleep 4; echo over").stdout == "over"


def test_silent_reader_outlives_many_keepalives(connection: Connection) -> None:
    assert run(connection, "head -c 1 >/dev/null; sleep 4; echo over", stdin=b"x").stdout == "over"
