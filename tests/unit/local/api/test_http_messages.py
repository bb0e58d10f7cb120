"""Requests that are not quite HTTP, or not quite EC2's: an error in EC2's form for each of them."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from pycloudlib.local import LocalEC2
from pycloudlib.local.api.http_messages import MAX_BODY
from support.query_api import AUTHORIZATION, FORM, QueryAPI, Reply, read_reply


@pytest.fixture(scope="module")
def api(local: LocalEC2) -> QueryAPI:
    return QueryAPI(local)


@pytest.fixture
def connection(local: LocalEC2) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", urlsplit(local.endpoint_url).port or 0), timeout=60) as connection:
        yield connection


def head(local: LocalEC2, *headers: str) -> bytes:
    signed = f"Authorization: {AUTHORIZATION.format(region=local.region, service='ec2')}"
    return "\r\n".join(("POST / HTTP/1.1", "Host: 127.0.0.1", signed, *headers, "", "")).encode()


def answer(connection: socket.socket) -> Reply:
    with connection.makefile("rb") as stream:
        return read_reply(stream)


@pytest.mark.parametrize("action", ["", "Nope", "describe_regions", "GetCallerIdentity", "\x00", "<a>&", "é" * 5000])
def test_actions_of_others_are_invalid(api: QueryAPI, action: str) -> None:
    reply = api.send({"Action": action})
    assert (reply.status, reply.code) == (400, "InvalidAction" if action else "MissingAction")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MissingAction"),
        (b'{"Action": "DescribeRegions"}', "MissingAction"),
        (b"\xff\xfe=\x00", "MissingAction"),
        (b"Action=DescribeRegions&RegionName.1=%00", "InvalidCharacter"),
        (b"Action=DescribeRegions&%01=1", "InvalidCharacter"),
        (gzip.compress(b"Action=DescribeRegions", mtime=0), "MissingAction"),
    ],
)
def test_bodies_that_are_no_queries(api: QueryAPI, body: bytes, code: str) -> None:
    reply = api.post(body)
    assert (reply.status, reply.code) == (400, code)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonEC2.DescribeVpcs"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_headers_do_not_change_the_protocol(api: QueryAPI, headers: dict[str, str]) -> None:
    reply = api.post(b"Action=DescribeRegions&RegionName.1=us-east-1", **headers)
    assert (reply.status, [name.text for name in reply.xml.iter("regionName")]) == (200, ["us-east-1"])


@pytest.mark.parametrize(("method", "path"), [("PUT", "/"), ("DELETE", "/"), ("POST", "/nope"), ("GET", "/a/b%00")])
def test_other_methods_and_paths_are_refused(local: LocalEC2, api: QueryAPI, method: str, path: str) -> None:
    headers = {"Authorization": AUTHORIZATION.format(region=local.region, service="ec2"), "Content-Type": FORM}
    reply = api.request(method, local.endpoint_url + path, b"Action=DescribeRegions", headers)
    assert (reply.status, reply.code) == (400, "InvalidAction")


@pytest.mark.parametrize(("service", "action"), [("sns", "Nope"), ("sts", "GetCallerIdentity")])
def test_pages_of_html_become_errors(local: LocalEC2, api: QueryAPI, service: str, action: str) -> None:
    headers = {"Authorization": AUTHORIZATION.format(region=local.region, service=service)}
    reply = api.request("POST", f"{local.endpoint_url}/no/such/path", f"Action={action}".encode(), headers)
    assert reply.status in (400, 404)
    assert reply.code == "InvalidAction"


def test_bodies_have_a_limit(local: LocalEC2, api: QueryAPI, connection: socket.socket) -> None:
    assert api.post(b"Action=DescribeRegions&a=" + b"b" * MAX_BODY).code == "RequestEntityTooLarge"
    connection.sendall(head(local, "Transfer-Encoding: chunked"))
    chunk = b"%x\r\n%b\r\n" % (MAX_BODY // 2 + 1, b"b" * (MAX_BODY // 2 + 1))
    connection.sendall(chunk + chunk + b"0\r\n\r\n")
    assert answer(connection).status == 413


@pytest.mark.parametrize("length", ["many", "-1", "²"])
def test_content_length_is_a_number(local: LocalEC2, connection: socket.socket, length: str) -> None:
    connection.sendall(head(local, f"Content-Length: {length}"))
    assert answer(connection).code == "MalformedQueryString"


@pytest.mark.parametrize(
    "body",
    [
        b"7\r\nAction=\r\nf\r\nDescribeRegions\r\n0\r\n\r\n",
        b'7;signature=0a;last\r\nAction=\r\nF ; a="b"\r\nDescribeRegions\r\n0;end\r\n\r\n',
        b"16\r\nAction=DescribeRegions\r\n0\r\nX-Checksum: 1\r\nX-Other: 2\r\n\r\n",
    ],
    ids=["plain", "extensions", "trailers"],
)
def test_chunked_bodies_are_read(local: LocalEC2, connection: socket.socket, body: bytes) -> None:
    for _ in range(2):  # the next request begins after the body
        connection.sendall(head(local, "Transfer-Encoding: chunked", f"Content-Type: {FORM}") + body)
        assert answer(connection).status == 200


def test_bodies_that_end_early_are_refused(local: LocalEC2, connection: socket.socket) -> None:
    connection.sendall(head(local, "Content-Length: 100") + b"Action=DescribeRegions")
    connection.shutdown(socket.SHUT_WR)
    assert answer(connection).code == "MalformedQueryString"


@pytest.mark.parametrize(
    "body",
    [
        b"xyz\r\n",
        b"0x7\r\nAction=\r\n0\r\n\r\n",
        b"+7\r\nAction=\r\n0\r\n\r\n",
        b"6\r\nAction=\r\n0\r\n\r\n",
        b"7\r\nAction=\r\n0\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"7;" + b"a" * 10_000 + b"\r\nAction=\r\n0\r\n\r\n",
    ],
    ids=["no number", "prefix", "sign", "too short", "trailers", "extension"],
)
def test_chunks_that_are_none_are_refused(local: LocalEC2, connection: socket.socket, body: bytes) -> None:
    connection.sendall(head(local, "Transfer-Encoding: chunked") + body)
    connection.shutdown(socket.SHUT_WR)
    assert answer(connection).code == "MalformedQueryString"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("Transfer-Encoding: chunked", "Content-Length: 5"), 400),
        (("Transfer-Encoding: gzip",), 501),
        (("Content-Length: 5", "Content-Length: 7"), 400),
    ],
)
def test_bodies_whose_end_is_not_clear_are_refused(
    local: LocalEC2, connection: socket.socket, headers: tuple[str, ...], status: int
) -> None:
    connection.sendall(head(local, *headers) + b"0\r\n\r\n")
    assert answer(connection).status == status


def test_clients_that_stop_sending_block_nobody(local: LocalEC2, api: QueryAPI, connection: socket.socket) -> None:
    connection.sendall(head(local, "Content-Length: 100") + b"Action=DescribeRegions")
    assert api.ask("DescribeRegions").status == 200


def test_what_is_not_http_gets_no_html(connection: socket.socket) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\n" + b"a" * 70_000 + b"\r\n\r\n")
    reply = answer(connection)
    assert reply.status == 431
    assert reply.code == "MalformedQueryString"


def test_requests_in_parallel_get_their_own_answers(api: QueryAPI) -> None:
    replies: dict[str, Any] = {}

    def ask(region: str) -> None:
        replies[region] = api.ask("DescribeRegions", RegionName__1=region).find("regionInfo/item/regionName")

    threads = [threading.Thread(target=ask, args=(region,)) for region in ("us-east-1", "eu-west-1", "eu-west-2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(region == got for region, got in replies.items())
    assert len(replies) == 3
