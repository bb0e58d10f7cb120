"""The instance metadata service, versions 1 and 2, as guests find it at 169.254.169.254.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import json
import secrets
import socketserver
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Union
from urllib.parse import unquote, urlsplit

VERSIONS = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19",
    "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03",
    "2021-03-23", "2021-07-15", "2022-09-24", "latest",
)  # fmt: skip
MAX_TOKEN_SECONDS = 21600
POLL_SECONDS = 0.1
"""How long a server that is to end may take to notice."""
TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105  (the header's name)
TOKEN_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"  # noqa: S105

Tree = Mapping[str, Union[str, bytes, "Tree"]]


@dataclass(frozen=True)
class InterfaceMetadata:
    """What the service says of one network interface."""

    mac: str
    interface_id: str
    device_number: int
    private_ips: tuple[str, ...]
    public_ips: tuple[str, ...]
    ipv6_ips: tuple[str, ...]
    subnet_id: str
    subnet_cidr: str
    subnet_ipv6_cidrs: tuple[str, ...]
    vpc_id: str
    vpc_cidrs: tuple[str, ...]
    vpc_ipv6_cidrs: tuple[str, ...]
    security_groups: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    owner_id: str
    local_hostname: str
    public_hostname: str
    associations: Mapping[str, str] = field(default_factory=dict)
    """Public addresses, and the private ones that they lead to."""


@dataclass(frozen=True)
class InstanceMetadata:
    """What the service says of an instance.

    Args:
        tokens_required: whether HttpTokens is "required": without a token nothing is answered.
        enabled: whether HttpEndpoint is "enabled".
        tags: the instance's tags when InstanceMetadataTags is "enabled", else None.
    """

    instance_id: str
    image_id: str
    instance_type: str
    architecture: str
    account_id: str
    region: str
    availability_zone: str
    reservation_id: str
    launch_index: int
    pending_time: str
    key_name: str
    public_key: str
    user_data: bytes | None = field(repr=False)
    block_devices: Mapping[str, str]
    interfaces: tuple[InterfaceMetadata, ...]
    tokens_required: bool
    enabled: bool
    tags: Mapping[str, str] | None


def metadata_tree(instance: InstanceMetadata) -> Tree:
    """Lay an instance's metadata out as the directories and files that the service serves below a version."""
    tree: dict[str, str | bytes | Tree] = {
        "meta-data": _meta_data(instance),
        "dynamic": {"instance-identity": {"document": _identity_document(instance)}},
    }
    if instance.user_data is not None:
        tree["user-data"] = instance.user_data
    return tree


def _meta_data(instance: InstanceMetadata) -> Tree:
    primary = instance.interfaces[0]
    data: dict[str, str | bytes | Tree] = {
        "ami-id": instance.image_id,
        "ami-launch-index": str(instance.launch_index),
        "ami-manifest-path": "(unknown)",
        "block-device-mapping": instance.block_devices,
        "hostname": primary.local_hostname,
        "instance-action": "none",
        "instance-id": instance.instance_id,
        "instance-life-cycle": "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": primary.local_hostname,
        "local-ipv4": primary.private_ips[0],
        "mac": primary.mac,
        "network": {"interfaces": {"macs": {one.mac: _interface(one) for one in instance.interfaces}}},
        "placement": {
            "availability-zone": instance.availability_zone,
            "region": instance.region,
        },
        "profile": "default-hvm",
        "reservation-id": instance.reservation_id,
        "security-groups": "\n".join(primary.security_groups),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    }
    if primary.public_ips:
        data["public-ipv4"] = primary.public_ips[0]
        data["public-hostname"] = primary.public_hostname
    if primary.ipv6_ips:
        data["ipv6"] = primary.ipv6_ips[0]
    if instance.public_key:
        data["public-keys"] = {"0": {"openssh-key": instance.public_key.strip() + "\n"}}
    if instance.tags is not None:
        data["tags"] = {"instance": instance.tags}
    return data


def _interface(interface: InterfaceMetadata) -> Tree:
    facts: dict[str, str | bytes | Tree] = {
        "device-number": str(interface.device_number),
        "interface-id": interface.interface_id,
        "local-hostname": interface.local_hostname,
        "local-ipv4s": "\n".join(interface.private_ips),
        "mac": interface.mac,
        "owner-id": interface.owner_id,
        "security-group-ids": "\n".join(interface.security_group_ids),
        "security-groups": "\n".join(interface.security_groups),
        "subnet-id": interface.subnet_id,
        "subnet-ipv4-cidr-block": interface.subnet_cidr,
        "vpc-id": interface.vpc_id,
        "vpc-ipv4-cidr-block": interface.vpc_cidrs[0],
        "vpc-ipv4-cidr-blocks": "\n".join(interface.vpc_cidrs),
    }
    if interface.public_ips:
        facts["public-ipv4s"] = "\n".join(interface.public_ips)
        facts["public-hostname"] = interface.public_hostname
        facts["ipv4-associations"] = interface.associations
    if interface.ipv6_ips:
        facts["ipv6s"] = "\n".join(interface.ipv6_ips)
        facts["subnet-ipv6-cidr-blocks"] = "\n".join(interface.subnet_ipv6_cidrs)
        facts["vpc-ipv6-cidr-blocks"] = "\n".join(interface.vpc_ipv6_cidrs)
    return facts


def _identity_document(instance: InstanceMetadata) -> str:
    return json.dumps(
        {
            "accountId": instance.account_id,
            "architecture": instance.architecture,
            "availabilityZone": instance.availability_zone,
            "billingProducts": None,
            "devpayProductCodes": None,
            "marketplaceProductCodes": None,
            "imageId": instance.image_id,
            "instanceId": instance.instance_id,
            "instanceType": instance.instance_type,
            "kernelId": None,
            "pendingTime": instance.pending_time,
            "privateIp": instance.interfaces[0].private_ips[0],
            "ramdiskId": None,
            "region": instance.region,
            "version": "2017-09-30",
        },
        indent=2,
    )


def look_up(instance: InstanceMetadata, path: str) -> bytes | None:
    """Answer a GET, or give None for what does not exist (404).

    Args:
        instance: whose metadata.
        path: the request's path, such as "/latest/meta-data/instance-id"; with or without a slash at its end.
    """
    parts = [part for part in path.split("/") if part]
    if not parts:
        return "\n".join(VERSIONS).encode()
    version, *rest = parts
    if version not in VERSIONS:
        return None
    node = _walk(metadata_tree(instance), rest)
    if rest[-1:] == ["public-keys"] and node is not None:
        return f"0={instance.key_name}".encode()
    return _served(node)


def _walk(tree: Tree, parts: Sequence[str]) -> str | bytes | Tree | None:
    node: str | bytes | Tree = tree
    for part in parts:
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


def _served(node: str | bytes | Tree | None) -> bytes | None:
    if isinstance(node, str):
        return node.encode()
    if isinstance(node, Mapping):
        return "\n".join(_listed(name, child) for name, child in sorted(node.items())).encode()
    return node


def _listed(name: str, child: str | bytes | Tree) -> str:
    return f"{name}/" if isinstance(child, Mapping) else name


class _Tokens:
    """The session tokens of one instance (IMDSv2)."""

    def __init__(self) -> None:
        self._expiry: dict[str, float] = {}
        self._lock = threading.Lock()

    def issue(self, seconds: int) -> str:
        token = secrets.token_urlsafe(40)
        now = time.monotonic()
        with self._lock:
            self._expiry = {one: expiry for one, expiry in self._expiry.items() if expiry > now}
            self._expiry[token] = now + seconds
        return token

    def valid(self, token: str) -> bool:
        with self._lock:
            return self._expiry.get(token, 0.0) > time.monotonic()


class MetadataServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The metadata service of one instance, on a Unix socket that only its machine is told of.

    Args:
        socket_path: at most 107 bytes; created here and removed on close.
        describe: gives the metadata as they are now; called for every request.
    """

    daemon_threads = True
    # A boot asks for some sixty things, and each question is a connection of its own.
    request_queue_size = 64

    def __init__(self, socket_path: Path, describe: Callable[[], InstanceMetadata]) -> None:
        self.describe = describe
        self.tokens = _Tokens()
        self._socket_path = socket_path
        super().__init__(str(socket_path), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": POLL_SECONDS}, name="metadata", daemon=True
        )

    def __enter__(self) -> MetadataServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()
        self._socket_path.unlink(missing_ok=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a connection that the guest dropped go without a word."""


class _Handler(BaseHTTPRequestHandler):
    server: MetadataServer
    server_version = "EC2ws"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        instance = self.server.describe()
        if not instance.enabled:
            return self._answer(403)
        token = self.headers.get(TOKEN_HEADER)
        refused = instance.tokens_required if token is None else not self.server.tokens.valid(token)
        if refused:
            return self._answer(401)
        body = look_up(instance, unquote(urlsplit(self.path).path))
        if body is None:
            return self._answer(404)
        return self._answer(200, body)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        if not self.server.describe().enabled or "X-Forwarded-For" in self.headers:
            return self._answer(403)
        if urlsplit(self.path).path.rstrip("/") != "/latest/api/token":
            return self._answer(404)
        seconds = self.headers.get(TOKEN_TTL_HEADER, "")
        if not seconds.isascii() or not seconds.isdigit() or not 1 <= int(seconds) <= MAX_TOKEN_SECONDS:
            return self._answer(400)
        token = self.server.tokens.issue(int(seconds))
        return self._answer(200, token.encode(), {TOKEN_TTL_HEADER: seconds})

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def address_string(self) -> str:
        return "guest"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Say nothing: a path tells nothing, and a token would be a secret."""
