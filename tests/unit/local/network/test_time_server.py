"""The time service, over real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from pycloudlib.local.network.time_server import MESSAGE, TimeServer, reply_to

PATIENCE = 60.0
SECONDS_BEFORE_1970 = 2_208_988_800
SENT = 0xE0000000_80000000


def request(version: int = 4, mode: int = 3) -> bytes:
    return MESSAGE.pack(version << 3 | mode, 0, 6, 0, 0, 0, 0, 0, 0, 0, SENT)


def seconds(timestamp: int) -> float:
    return timestamp / 2**32 - SECONDS_BEFORE_1970


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """A client of a running server, which has a second socket, too."""
    sockets = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET6, socket.AF_INET)]
    for one, address in zip(sockets, ("::1", "127.0.0.1"), strict=True):
        one.bind((address, 0))
    with TimeServer(sockets), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(sockets[1].getsockname())
        yield client
    assert all(one.fileno() == -1 for one in sockets)


def test_server_returns_the_time(client: socket.socket) -> None:
    began = time.time()
    client.send(request())
    flags, stratum, interval, _, delay, _, _, reference, origin, received, sent = MESSAGE.unpack(client.recv(1000))
    ended = time.time()
    assert (flags, stratum, interval, delay, origin) == (4 << 3 | 4, 3, 6, 0, SENT)
    assert began - 1e-6 <= seconds(reference) <= seconds(received) <= seconds(sent) <= ended + 1e-6


@pytest.mark.parametrize(
    "ignored", [b"", b"short", request()[:47], request(mode=4), request(mode=6), request(version=0), request(version=7)]
)
def test_other_messages_are_not_answered(client: socket.socket, ignored: bytes) -> None:
    client.send(ignored)
    client.send(request(version=3))
    # Answers come in the order of the requests.
    assert client.recv(1000)[0] == 3 << 3 | 4


def test_server_answers_a_message_with_an_authenticator(client: socket.socket) -> None:
    client.send(request() + bytes(20))
    assert len(client.recv(1000)) == MESSAGE.size


def test_timestamps_wrap_around_in_2036() -> None:
    answer = reply_to(request(), (2**32 - SECONDS_BEFORE_1970) * 10**9 + 500_000_000)
    assert answer is not None
    assert MESSAGE.unpack(answer)[9] == 0x80000000
