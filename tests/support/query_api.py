"""EC2's Query API without an SDK: the requests of old clients and of broken ones, and the bytes of the responses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import urllib3

from pycloudlib.local import LocalEC2

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=anybody/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
)
FORM = "application/x-www-form-urlencoded; charset=utf-8"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def xml(self) -> ElementTree.Element:
        """The body without its namespace."""
        return ElementTree.fromstring(re.sub(r' xmlns="[^"]*"', "", self.text, count=1))

    @property
    def code(self) -> str | None:
        """EC2's error code; None if the request succeeded."""
        return self.xml.findtext("Errors/Error/Code")

    def find(self, path: str) -> str:
        found = self.xml.findtext(path)
        assert found is not None, self.text
        return found


def read_reply(stream: BinaryIO) -> Reply:
    """Read one response from a connection, and none of the next."""
    status = int(stream.readline().split()[1])
    headers = {}
    for line in iter(stream.readline, b"\r\n"):
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return Reply(status, headers, stream.read(int(headers.get("content-length", "0"))).decode())


@dataclass(frozen=True)
class QueryAPI:
    local: LocalEC2
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=60))

    def ask(self, action: str, **parameters: object) -> Reply:
        """Send the parameters by their dotted names, with two underscores for a dot."""
        return self.send({"Action": action, **{name.replace("__", "."): value for name, value in parameters.items()}})

    def send(self, parameters: Mapping[str, object], service: str = "ec2") -> Reply:
        return self.post(urlencode(parameters).encode(), service)

    def post(self, body: bytes, service: str = "ec2", **headers: str) -> Reply:
        authorization = AUTHORIZATION.format(region=self.local.region, service=service)
        wanted = {"Authorization": authorization, "Content-Type": FORM, **headers}
        return self.request("POST", self.local.endpoint_url, body, wanted)

    def request(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        assert urlsplit(url).hostname == "127.0.0.1"
        reply = self.pool.request(method, url, body=body, headers=dict(headers))
        return Reply(reply.status, reply.headers, reply.data.decode())
