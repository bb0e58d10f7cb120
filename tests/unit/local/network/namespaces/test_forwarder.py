from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.forwarder import Forwarder, Target
from support.guest_network import PATIENCE

PUBLIC = "127.201.7.3"
"""An address that no other test uses."""


def unconnected(_vpc_id: str) -> socket.socket:
    """A VPC on loopback."""
    return socket.socket()


@pytest.fixture
def forwarder() -> Iterator[Forwarder]:
    with contextlib.closing(Forwarder(unconnected)) as forwarder:
        yield forwarder


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[Target]:
    """Serve one connection, as a guest would."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)

        def accept() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(PATIENCE)
                    serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield Target("vpc-1", "127.0.0.1", server.getsockname()[1])
        thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((PUBLIC, 0))
        port: int = probe.getsockname()[1]
        return port


def connect(port: int) -> socket.socket:
    return socket.create_connection((PUBLIC, port), PATIENCE)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_bytes_pass_both_ways_and_halves_close(forwarder: Forwarder) -> None:
    data = bytes(range(256)) * 40_000

    def echo_after_the_end(connection: socket.socket) -> None:
        connection.sendall(read_all(connection))

    port = free_port()
    with serving(echo_after_the_end) as target:
        forwarder.set_ports(PUBLIC, {port: target})
        with connect(port) as client:
            sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
            sender.start()
            assert read_all(client) == data
            sender.join()


def test_a_refused_port_is_reset(forwarder: Forwarder) -> None:
    port = free_port()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        forwarder.set_ports(PUBLIC, {port: Target("vpc-1", "127.0.0.1", closed.getsockname()[1])})
        # The connection may be reset before connect() returns.
        with pytest.raises(ConnectionResetError), connect(port) as client:
            client.recv(1)


def test_a_guests_reset_reaches_the_client(forwarder: Forwarder) -> None:
    port = free_port()

    def reset(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with serving(reset) as target:
        forwarder.set_ports(PUBLIC, {port: target})
        with connect(port) as client:
            client.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                read_all(client)


def test_a_clients_reset_reaches_the_guest(forwarder: Forwarder) -> None:
    port = free_port()
    ends: list[str] = []

    def read_to_the_end(connection: socket.socket) -> None:
        try:
            read_all(connection)
            ends.append("closed")
        except ConnectionResetError:
            ends.append("reset")

    with serving(read_to_the_end) as target:
        forwarder.set_ports(PUBLIC, {port: target})
        client = connect(port)
        client.sendall(b"x")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert ends == ["reset"]


def test_ports_are_exactly_those_wanted(forwarder: Forwarder) -> None:
    first, second = free_port(), free_port()
    target = Target("vpc-1", "127.0.0.1", 9)
    forwarder.set_ports(PUBLIC, {first: target})
    forwarder.set_ports(PUBLIC, {second: target})
    assert forwarder.ports(PUBLIC) == {second}
    with pytest.raises(ConnectionRefusedError):
        connect(first)
    forwarder.set_ports(PUBLIC, {})
    assert forwarder.ports(PUBLIC) == set()


def test_a_port_in_use_is_named_and_the_others_work(forwarder: Forwarder) -> None:
    port = free_port()
    with socket.create_server((PUBLIC, 0)) as other, serving(lambda guest: guest.sendall(b"hello")) as target:
        taken = other.getsockname()[1]
        with pytest.raises(LocalEC2Error, match=rf"cannot listen on {PUBLIC}, port {taken} \(Address already in use\)"):
            forwarder.set_ports(PUBLIC, {taken: target, port: target})
        with connect(port) as client:
            assert read_all(client) == b"hello"


def test_a_vpc_without_network_resets_connections() -> None:
    def refuse(_vpc_id: str) -> socket.socket:
        raise LocalEC2Error("the helper has ended")

    port = free_port()
    with contextlib.closing(Forwarder(refuse)) as forwarder:
        forwarder.set_ports(PUBLIC, {port: Target("vpc-1", "10.0.1.5", 22)})
        # The connection may be reset before connect() returns.
        with pytest.raises(ConnectionResetError), connect(port) as client:
            client.recv(1)


def test_error_names_only_the_first_of_many_ports(forwarder: Forwarder) -> None:
    with pytest.raises(LocalEC2Error, match=r"port 1 \(Cannot assign.*, 5 \(Cannot assign [^,]*, and 35 more$"):
        forwarder.set_ports("192.0.2.77", {port: Target("vpc-1", "10.0.1.5", port) for port in range(1, 41)})


def test_listeners_are_limited_but_each_address_has_its_first_ports(caplog: pytest.LogCaptureFixture) -> None:
    def listen_anywhere(_address: str, _port: int) -> socket.socket:
        return socket.create_server(("127.0.0.1", 0))

    targets = {port: Target(None, "127.0.0.1", port) for port in (9022, *range(1, 100))}
    with contextlib.closing(Forwarder(unconnected, listen_anywhere, max_listeners=50)) as forwarder:
        forwarder.set_ports("127.201.7.4", targets)
        forwarder.set_ports("127.201.7.5", targets)
        forwarder.set_ports("127.201.7.5", targets)
        assert len(forwarder.ports("127.201.7.4")) == 50
        assert forwarder.ports("127.201.7.5") == {9022, *range(1, 16)}
        forwarder.set_ports("127.201.7.4", {})
        forwarder.set_ports("127.201.7.5", targets)
        assert len(forwarder.ports("127.201.7.5")) == 50
    assert [record.message for record in caplog.records] == [
        "listening on 50 ports, and no more: raise the limit of open files (ulimit -n), or let security groups open "
        "fewer ports to the host"
    ]
