"""The metadata service, asked over its socket as a guest's cloud-init asks."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycloudlib.local.network.metadata import look_up
from pycloudlib.local.network.metadata_server import MetadataServer, MetadataSource, SharedMetadataServer
from support.sample_metadata import INSTANCE, INTERFACE, MAC


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("169.254.169.254")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


class Guest:
    """Asks the service, and changes what it knows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.instance = INSTANCE

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        connection = _UnixConnection(self.path)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def token(self) -> str:
        status, body = self.ask("PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60")
        assert status == 200
        return body.decode()


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    guest = Guest(tmp_path / "metadata.sock")
    with MetadataServer(guest.path, lambda: guest.instance):
        yield guest
    assert not guest.path.exists()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/latest/meta-data/instance-id", "i-0123456789abcdef0"),
        ("/2021-03-23/meta-data/local-ipv4", "172.31.0.4"),
        ("/1.0/meta-data/public-ipv4", "127.1.2.3"),
        ("/latest/meta-data/placement/availability-zone", "us-east-1a"),
        ("/latest/meta-data/public-keys/", "0=my-key"),
        ("/latest/meta-data/public-keys/0/", "openssh-key"),
        ("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA me\n"),
        ("/latest/meta-data/block-device-mapping/", "ami\nroot"),
        ("/latest/meta-data/network/interfaces/macs/", f"{MAC}/"),
        (f"/latest/meta-data/network/interfaces/macs/{MAC}/device-number", "0"),
        (f"/latest/meta-data/network/interfaces/macs/{MAC}/local-ipv4s", "172.31.0.4\n172.31.0.5"),
        (f"/latest/meta-data/network/interfaces/macs/{MAC}/subnet-ipv4-cidr-block", "172.31.0.0/20"),
        ("/latest/dynamic/", "instance-identity/"),
        ("/latest/dynamic/instance-identity/", "document"),
        ("/latest", "dynamic\nmeta-data\nuser-data"),
        ("/latest/", "dynamic\nmeta-data\nuser-data"),
        ("/2019-10-01/", "dynamic\nmeta-data\nuser-data"),
        ("/latest/meta-data/system", "nitro"),
        ("/latest/meta-data/placement/", "availability-zone\navailability-zone-id\ngroup-name\nregion"),
        ("/latest/meta-data/placement/availability-zone-id", "use1-az6"),
        ("/latest/meta-data/placement/group-name", "near"),
        ("/latest/meta-data/events/", "maintenance/"),
        ("/latest/meta-data/events/maintenance/scheduled", "[]"),
        ("/latest/meta-data/events/maintenance/history", "[]"),
        ("/latest/meta-data/instance-life-cycle", "spot"),
        ("/latest/meta-data/services/partition", "aws"),
    ],
)
def test_a_fact_or_a_listing_is_served_as_ec2_serves_it(guest: Guest, path: str, text: str) -> None:
    assert guest.ask("GET", path) == (200, text.encode())


def test_user_data_come_back_byte_for_byte(guest: Guest) -> None:
    assert guest.ask("GET", "/latest/user-data") == (200, b"#!/bin/sh\n\xff\x00")


def test_without_user_data_there_is_nothing_there(guest: Guest) -> None:
    guest.instance = dataclasses.replace(INSTANCE, user_data=None)
    assert guest.ask("GET", "/latest/user-data")[0] == 404


@pytest.mark.parametrize("path", ["/latest/meta-data/nonsense", "/2099-01-01/meta-data/", "/latest/meta-data/mac/x"])
def test_what_does_not_exist_is_not_found(guest: Guest, path: str) -> None:
    assert guest.ask("GET", path)[0] == 404


def test_every_listed_entry_can_be_read() -> None:
    def walk(directory: str) -> Iterator[str]:
        listing = look_up(INSTANCE, directory)
        assert listing is not None, directory
        for name in listing.decode().splitlines():
            path = directory + name.split("=")[0]
            if name.endswith("/"):
                yield from walk(path)
            else:
                yield path

    directories = ("/latest/meta-data/", "/latest/dynamic/")
    files = [path for directory in directories for path in walk(directory) if "public-keys" not in path]
    assert len(files) > 30
    assert all(look_up(INSTANCE, path) is not None for path in files)


def test_the_identity_document_names_the_instance(guest: Guest) -> None:
    status, body = guest.ask("GET", "/latest/dynamic/instance-identity/document")
    document = json.loads(body)
    assert (status, document["instanceId"], document["region"]) == (200, INSTANCE.instance_id, "us-east-1")


def test_a_token_opens_the_service(guest: Guest) -> None:
    guest.instance = dataclasses.replace(INSTANCE, tokens_required=True)
    token = guest.token()
    assert guest.ask("GET", "/latest/meta-data/ami-id", X_aws_ec2_metadata_token=token)[0] == 200


def test_version_1_is_refused_where_tokens_are_required(guest: Guest) -> None:
    guest.instance = dataclasses.replace(INSTANCE, tokens_required=True)
    assert guest.ask("GET", "/latest/meta-data/ami-id") == (401, b"")


def test_a_wrong_token_is_refused_even_where_none_is_required(guest: Guest) -> None:
    assert guest.ask("GET", "/latest/meta-data/ami-id", X_aws_ec2_metadata_token="made-up")[0] == 401


@pytest.mark.parametrize("seconds", ["0", "21601", "-1", "many", ""])
def test_a_token_of_no_allowed_life_is_refused(guest: Guest, seconds: str) -> None:
    assert guest.ask("PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds=seconds)[0] == 400


def test_a_forwarded_request_gets_no_token(guest: Guest) -> None:
    headers = {"X_aws_ec2_metadata_token_ttl_seconds": "60", "X_Forwarded_For": "10.0.0.1"}
    assert guest.ask("PUT", "/latest/api/token", **headers)[0] == 403


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_disabled_service_refuses_everything(guest: Guest, method: str) -> None:
    guest.instance = dataclasses.replace(INSTANCE, enabled=False)
    assert guest.ask(method, "/latest/api/token")[0] == 403


def test_head_answers_without_a_body(guest: Guest) -> None:
    assert guest.ask("HEAD", "/latest/meta-data/instance-id") == (200, b"")


def test_an_interface_added_later_is_listed(guest: Guest) -> None:
    other = dataclasses.replace(INTERFACE, mac="02:00:00:00:00:02", device_number=1)
    guest.instance = dataclasses.replace(INSTANCE, interfaces=(INTERFACE, other))
    _, listing = guest.ask("GET", "/latest/meta-data/network/interfaces/macs/")
    assert listing.decode().split() == sorted([f"{MAC}/", "02:00:00:00:00:02/"])


@pytest.mark.parametrize(("tags", "status"), [(None, 404), ({"Name": "one"}, 200)])
def test_tags_are_served_only_when_enabled(guest: Guest, tags: dict[str, str] | None, status: int) -> None:
    guest.instance = dataclasses.replace(INSTANCE, tags=tags)
    assert guest.ask("GET", "/latest/meta-data/tags/instance/Name")[0] == status


def test_many_ask_at_once(guest: Guest) -> None:
    from concurrent.futures import ThreadPoolExecutor

    ask: Callable[[int], tuple[int, bytes]] = lambda _: guest.ask("GET", "/latest/meta-data/mac")  # noqa: E731
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ask, range(100))) == {(200, MAC.encode())}


def test_user_data_do_not_show_in_a_repr() -> None:
    assert "/bin/sh" not in repr(INSTANCE)


def test_every_public_address_is_listed_with_its_private_address() -> None:
    pairs = {"127.1.2.3": "172.31.0.4", "127.1.2.4": "172.31.0.5"}
    interface = dataclasses.replace(INTERFACE, public_ips=tuple(pairs), associations=pairs)
    instance = dataclasses.replace(INSTANCE, interfaces=(interface,))
    path = f"/latest/meta-data/network/interfaces/macs/{MAC}"
    assert look_up(instance, f"{path}/public-ipv4s") == b"127.1.2.3\n127.1.2.4"
    assert look_up(instance, f"{path}/ipv4-associations/127.1.2.4") == b"172.31.0.5"


def shared_ask(port: int, source: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Ask a shared server from one of the loopback addresses, which stand for guests."""
    connection = http.client.HTTPConnection("127.0.0.1", port, source_address=(source, 0))
    path = "/latest/api/token" if method == "PUT" else "/latest/meta-data/instance-id"
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_shared_server_answers_each_guest_by_its_address() -> None:
    other = dataclasses.replace(INSTANCE, instance_id="i-0123456789abcdef1", tokens_required=True)
    sources = {"127.0.0.2": MetadataSource(lambda: INSTANCE), "127.0.0.3": MetadataSource(lambda: other)}
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with SharedMetadataServer(listener, sources.get):
        assert shared_ask(port, "127.0.0.2") == (200, b"i-0123456789abcdef0")
        assert shared_ask(port, "127.0.0.3") == (401, b"")
        assert shared_ask(port, "127.0.0.4") == (404, b"")
        assert shared_ask(port, "127.0.0.4", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60") == (404, b"")
        _, token = shared_ask(port, "127.0.0.3", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")
        assert shared_ask(port, "127.0.0.3", X_aws_ec2_metadata_token=token.decode()) == (200, b"i-0123456789abcdef1")
        assert shared_ask(port, "127.0.0.2", X_aws_ec2_metadata_token=token.decode()) == (401, b"")


def test_system_is_the_hypervisor(guest: Guest) -> None:
    guest.instance = dataclasses.replace(INSTANCE, system="xen")
    assert guest.ask("GET", "/latest/meta-data/system") == (200, b"xen")
