from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.datagrams import DatagramForwarder
from pycloudlib.local.network.namespaces.forwarder import Target
from support.guest_network import PATIENCE

PUBLIC, PORT = "127.201.8.3", 5353
"""An address that no other test uses."""


def unconnected(_vpc_id: str) -> socket.socket:
    """A VPC on loopback."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@contextlib.contextmanager
def echo(name: bytes) -> Iterator[Target]:
    """Answer every datagram with a name and the datagram, as a guest would, until an empty one comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                data, client = server.recvfrom(65535)
                if not data:
                    return
                server.sendto(name + data, client)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield Target("vpc-1", "127.0.0.1", server.getsockname()[1])
        finally:
            with unconnected("") as last:
                last.sendto(b"", server.getsockname())
            thread.join()


@contextlib.contextmanager
def client_of(port: int) -> Iterator[socket.socket]:
    with unconnected("") as client:
        client.settimeout(PATIENCE)
        client.connect((PUBLIC, port))
        yield client


def ask(client: socket.socket, data: bytes) -> bytes:
    client.send(data)
    return client.recv(65535)


@pytest.fixture
def forwarder() -> Iterator[DatagramForwarder]:
    with contextlib.closing(DatagramForwarder(unconnected, max_sessions=2)) as forwarder:
        yield forwarder


def test_each_client_gets_its_own_answers(forwarder: DatagramForwarder) -> None:
    with echo(b"") as target, client_of(PORT) as one, client_of(PORT) as other:
        forwarder.set_ports({PUBLIC: {PORT: target}})
        one.send(b"one")
        other.send(b"other")
        assert (one.recv(100), other.recv(100)) == (b"one", b"other")
        large = bytes(60_000)
        assert ask(one, large) == large


def test_more_clients_than_sessions_are_served_one_after_the_other(forwarder: DatagramForwarder) -> None:
    with echo(b"") as target, contextlib.ExitStack() as stack:
        forwarder.set_ports({PUBLIC: {PORT: target}})
        clients = [stack.enter_context(client_of(PORT)) for _ in range(5)]
        for number, client in enumerate(clients * 2):
            assert ask(client, b"%d" % number) == b"%d" % number


def test_ports_are_bound_and_released_and_lead_elsewhere(forwarder: DatagramForwarder) -> None:
    with echo(b"a") as first, echo(b"b") as second, client_of(PORT) as client:
        forwarder.set_ports({PUBLIC: {PORT: first}})
        assert ask(client, b"1") == b"a1"
        forwarder.set_ports({PUBLIC: {PORT: second}})
        assert ask(client, b"2") == b"b2"
        forwarder.set_ports({})
        with client_of(PORT) as again, pytest.raises(ConnectionRefusedError):
            ask(again, b"3")


def test_machine_that_refuses_does_not_stop_the_others(forwarder: DatagramForwarder) -> None:
    with echo(b"") as target, unconnected("") as closed, client_of(PORT + 1) as refused, client_of(PORT) as client:
        closed.bind(("127.0.0.1", 0))
        nobody = Target("vpc-1", "127.0.0.1", closed.getsockname()[1])
        closed.close()
        forwarder.set_ports({PUBLIC: {PORT: target, PORT + 1: nobody}})
        for _ in range(3):
            refused.send(b"is there anybody")
            assert ask(client, b"yes") == b"yes"


def test_port_that_is_taken_is_an_error_and_the_others_are_bound(forwarder: DatagramForwarder) -> None:
    with echo(b"") as target, unconnected("") as taken, client_of(PORT) as client:
        taken.bind((PUBLIC, PORT + 1))
        with pytest.raises(LocalEC2Error, match=rf"cannot receive datagrams at {PUBLIC}:{PORT + 1} \(Address already"):
            forwarder.set_ports({PUBLIC: {PORT: target, PORT + 1: target}})
        assert ask(client, b"hello") == b"hello"
