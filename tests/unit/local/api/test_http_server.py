"""Connections that stay open between requests, and when they end."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
import pytest
from urllib3.util import parse_url

from pycloudlib.local import LocalEC2
from pycloudlib.local.api.http_messages import MAX_BODY, ClientGoneError, Environ, require_client
from pycloudlib.local.api.http_server import HTTPServer
from pycloudlib.local.api.wsgi import LocalEC2Application
from support.query_api import AUTHORIZATION, FORM, Reply, read_reply

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

SIGNED = f"Authorization: {AUTHORIZATION.format(region='us-east-1', service='ec2')}\r\nContent-Type: {FORM}\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n\r\n"


class Client:
    """One connection to a server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.stream: BinaryIO = self.socket.makefile("rb")

    def send(self, head: str, body: bytes = b"") -> None:
        self.socket.sendall(head.replace("\n", "\r\n").encode() + body)

    def reply(self) -> Reply:
        return read_reply(self.stream)

    def get(self, path: str = "/", *headers: str, version: str = "1.1") -> Reply:
        lines = [f"GET {path} HTTP/{version}", "Host: localhost", *headers]
        self.send("".join(f"{line}\n" for line in [*lines, ""]))
        return self.reply()

    def post(self, body: bytes) -> None:
        self.send(f"POST / HTTP/1.1\n{SIGNED}Content-Length: {len(body)}\n\n".replace("\r\n", "\n"), body)

    def is_ended(self) -> bool:
        """Wait for the server's end of the connection; false if there is another response."""
        return self.stream.read(1) == b""

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


@contextmanager
def serving(application: WSGIApplication, **options: float) -> Iterator[tuple[HTTPServer, Callable[[], Client]]]:
    """Serve an application. Yields the server, and what makes a connection to it."""
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(server.server_address[1]))
        return clients[-1]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = HTTPServer(listener, application, **options)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server, connect
        finally:
            server.shutdown()
            thread.join()
            for client in clients:
                client.close()


def tell_path(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "999")])
    return [environ["REQUEST_METHOD"].encode(), b" ", environ["PATH_INFO"].encode()]


@pytest.fixture(scope="module")
def connect() -> Iterator[Callable[[], Client]]:
    with serving(LocalEC2Application(tell_path, "/cloud")) as (_, connect):
        yield connect


@pytest.fixture
def ec2_connection(local: LocalEC2) -> Iterator[Client]:
    client = Client(parse_url(local.endpoint_url).port or 0)
    yield client
    client.close()


def test_requests_share_a_connection(ec2_connection: Client) -> None:
    for _ in range(2):
        ec2_connection.post(b"Action=DescribeRegions")
        reply = ec2_connection.reply()
        assert (reply.status, "connection" in reply.headers) == (200, False)


def test_errors_leave_the_connection_open(ec2_connection: Client) -> None:
    for action, status in (("Nope", 400), ("DescribeRegions", 200), ("", 400), ("DescribeRegions", 200)):
        ec2_connection.post(f"Action={action}".encode())
        assert ec2_connection.reply().status == status


def test_pipelined_requests_are_answered_in_order(ec2_connection: Client) -> None:
    for region in ("us-east-1", "eu-west-1"):
        ec2_connection.post(f"Action=DescribeRegions&RegionName.1={region}".encode())
    ec2_connection.post(b"Action=DescribeInstances")
    for region in ("us-east-1", "eu-west-1"):
        assert ec2_connection.reply().find("regionInfo/item/regionName") == region
    assert ec2_connection.reply().status == 200


def test_boto3_connects_once(local: LocalEC2, caplog: pytest.LogCaptureFixture) -> None:
    client = boto3.client(
        "ec2",
        endpoint_url=local.endpoint_url,
        region_name=local.region,
        aws_access_key_id=local.access_key_id,
        aws_secret_access_key=local.secret_access_key,
    )
    with caplog.at_level(logging.DEBUG, logger="urllib3.connectionpool"):
        for _ in range(3):
            client.describe_regions()
    messages = [record.getMessage() for record in caplog.records if record.name == "urllib3.connectionpool"]
    assert len([one for one in messages if "Starting new HTTP connection" in one]) == 1
    assert [one for one in messages if "Resetting dropped connection" in one] == []


def test_half_closed_connections_get_their_response(ec2_connection: Client) -> None:
    ec2_connection.post(b"Action=DescribeInstances")
    ec2_connection.socket.shutdown(socket.SHUT_WR)
    assert ec2_connection.reply().status == 200
    assert ec2_connection.is_ended()


def test_content_length_is_that_of_the_body(connect: Callable[[], Client]) -> None:
    client = connect()
    assert client.get("/cloud/moto-api/x").text == "GET /moto-api/x"
    assert client.get("/elsewhere").status == 404
    assert client.get("/cloud/moto-api/y").text == "GET /moto-api/y"


def test_large_shared_body_is_not_copied() -> None:
    shared = bytes(16 * 1024 * 1024)

    def share(_: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"own part", shared]

    with serving(share) as (_, connect):
        client = connect()
        tracemalloc.start()
        try:
            client.send("GET / HTTP/1.1\nHost: localhost\n\n")
            assert client.socket.recv(12) == b"HTTP/1.1 200"
            assert tracemalloc.get_traced_memory()[1] < len(shared) / 2
        finally:
            tracemalloc.stop()


def test_responses_to_head_have_no_body(connect: Callable[[], Client]) -> None:
    client = connect()
    client.send("HEAD /cloud/moto-api/x HTTP/1.1\n\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.stream.readline()
    assert b"Content-Length: 16\r\n" in head
    assert client.get("/cloud/moto-api/y").text == "GET /moto-api/y"


@pytest.mark.parametrize("headers", [("Connection: close",), ("Connection: TE, Close",)])
def test_client_can_ask_for_the_end(connect: Callable[[], Client], headers: tuple[str, ...]) -> None:
    client = connect()
    assert client.get("/cloud/moto-api/x", *headers).headers["connection"] == "close"
    assert client.is_ended()


@pytest.mark.parametrize("headers", [(), ("Connection: keep-alive",)])
def test_connections_of_http_1_0_end(connect: Callable[[], Client], headers: tuple[str, ...]) -> None:
    client = connect()
    assert client.get("/cloud/moto-api/x", *headers, version="1.0").status == 200
    assert client.is_ended()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /elsewhere HTTP/1.1\nContent-Length: 26\n\n", 404),
        ("POST /elsewhere HTTP/1.1\nTransfer-Encoding: chunked\n\n", 404),
        (f"POST /cloud HTTP/1.1\nContent-Length: {MAX_BODY + 1}\n\n", 413),
        ("POST /cloud HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 26\n\n", 400),
        ("POST /cloud HTTP/1.1\nContent-Length: -1\n\n", 400),
        pytest.param(f"POST /cloud HTTP/1.1\nContent-Length: {'9' * 5000}\n\n", 413, id="5000 digits"),
        ("POST /cloud HTTP/1.1\nTransfer-Encoding: gzip, chunked\n\n", 501),
        ("POST http://[/ HTTP/1.1\nContent-Length: 26\n\n", 400),
        ("NONSENSE\n\n", 400),
        ("GET / HTTP/1.1 or so\n\n", 400),
        ("GET / HTTP/2.0\n\n", 505),
    ],
)
def test_nothing_after_a_request_that_was_not_read_is_taken_for_one(
    connect: Callable[[], Client], head: str, status: int
) -> None:
    client = connect()
    client.send(head, SMUGGLED)
    reply = client.reply()
    assert (reply.status, reply.headers["connection"]) == (status, "close")
    assert client.is_ended()


def test_refusal_reaches_a_client_that_goes_on_sending(connect: Callable[[], Client]) -> None:
    client = connect()
    client.send(f"POST /cloud HTTP/1.1\nContent-Length: {4 * MAX_BODY}\n\n", b"x" * 4 * MAX_BODY)
    assert client.reply().status == 413


def test_continue_is_sent_once(connect: Callable[[], Client]) -> None:
    client = connect()
    client.send("POST /cloud/moto-api/x HTTP/1.1\nExpect: 100-continue\nContent-Length: 4\n\n")
    assert client.reply().status == 100
    client.send("", b"body")
    assert client.reply().status == 200


def test_idle_connections_end(connect: Callable[[], Client]) -> None:
    with serving(LocalEC2Application(tell_path, "/cloud"), idle_seconds=0.01) as (_, short):
        client = short()
        assert client.get("/cloud/moto-api/x").status == 200
        assert client.is_ended()


def test_server_ends_idle_connections_and_their_threads() -> None:
    before = set(threading.enumerate())
    with serving(LocalEC2Application(tell_path, "/cloud")) as (server, connect):
        clients = [connect() for _ in range(3)]
        for client in clients[:2]:
            assert client.get("/cloud/moto-api/x").status == 200
        # The loop accepts connections in their order.
        assert connect().get("/cloud/moto-api/x").status == 200
        threads = set(threading.enumerate()) - before
        server.shutdown()
        assert all(client.is_ended() for client in clients)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_server_ends_after_the_response_to_a_present_request() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def wait(environ: Environ, start_response: Any) -> list[bytes]:
        asked.set()
        assert go_on.wait(60)
        return tell_path(environ, start_response)

    with serving(LocalEC2Application(wait, "/cloud")) as (server, connect):
        client = connect()
        client.send("GET /cloud/moto-api/x HTTP/1.1\n\n")
        assert asked.wait(60)
        server.shutdown()
        go_on.set()
        assert client.reply().text == "GET /moto-api/x"
        assert client.is_ended()


def test_faults_are_errors_in_the_form_of_ec2(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_environ: Environ, _start_response: Any) -> list[bytes]:
        raise ZeroDivisionError

    with serving(LocalEC2Application(fail, "/cloud")) as (_, connect):
        client = connect()
        for _ in range(2):
            reply = client.get("/cloud/moto-api/x")
            assert (reply.status, reply.code) == (500, "InternalError")
    assert "ZeroDivisionError" in caplog.text


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's and the server's end of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            yield ours, theirs


def test_client_that_has_shut_down_its_side_waits(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    require_client({"werkzeug.socket": server})
    client.sendall(b"next")
    require_client({"werkzeug.socket": server})
    server.recv(4)
    client.shutdown(socket.SHUT_WR)
    require_client({"werkzeug.socket": server})


@pytest.mark.parametrize("linger", [None, struct.pack("ii", 1, 0)], ids=["closed", "reset"])
def test_client_that_has_closed_its_socket_is_gone(
    ends: tuple[socket.socket, socket.socket], linger: bytes | None
) -> None:
    client, server = ends
    if linger is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.close()
    with pytest.raises(ClientGoneError):
        require_client({"werkzeug.socket": server})


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000], ids=["open", "nested"])
def test_operations_of_the_local_ec2_take_json(body: bytes) -> None:
    application = LocalEC2Application(
        tell_path, "", documents={"echo": str}, operations={("POST", "echo"): lambda _, told: told}
    )
    with serving(application) as (_, connect):
        client = connect()
        client.send(f"POST /local-api/echo HTTP/1.1\nContent-Length: {len(body)}\n\n", body)
        reply = client.reply()
    assert (reply.status, reply.text.startswith("the body is not JSON")) == (409, True)
