"""A guest answers when its server speaks first."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local.network.reachability import is_reachable, wait_until_reachable

HOST = "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener


def speak(listener: socket.socket, *lines: bytes) -> threading.Thread:
    """Say one line to each connection; an empty one hangs up without a word."""

    def serve() -> None:
        for line in lines:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(line)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_silent_server_does_not_answer(listener: socket.socket) -> None:
    assert not is_reachable(HOST, listener.getsockname()[1], timeout=0.1)


def test_closed_port_does_not_answer(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert not is_reachable(HOST, port)


def test_wait_ends_with_the_first_answer(listener: socket.socket) -> None:
    thread = speak(listener, b"", b"", b"SSH-2.0-OpenSSH\r\n")
    port = listener.getsockname()[1]
    assert wait_until_reachable(HOST, port, is_needed=lambda: True, deadline=Deadline.after(60), pause=0.01) is True
    thread.join()


def test_wait_ends_with_the_machine(listener: socket.socket) -> None:
    running = iter([True, False])
    speak(listener, b"")
    port = listener.getsockname()[1]
    assert (
        wait_until_reachable(HOST, port, is_needed=lambda: next(running), deadline=Deadline.after(60), pause=0.01)
        is None
    )


def test_wait_ends_at_the_deadline(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert wait_until_reachable(HOST, port, is_needed=lambda: True, deadline=Deadline.after(0)) is False
