"""The HTTP server of the instance metadata service: session tokens (IMDSv2), and client identification."""

from __future__ import annotations

import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pycloudlib.local.network.metadata import InstanceMetadata, look_up

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_TOKEN_SECONDS = 21600
POLL_SECONDS = 0.1
"""The interval in seconds at which a server checks for its shutdown."""
TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105  (the header's name)
TOKEN_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"  # noqa: S105


class _Tokens:
    """The session tokens of one instance (IMDSv2)."""

    def __init__(self) -> None:
        self._expiry: dict[str, float] = {}
        self._lock = threading.Lock()

    def issue(self, seconds: int) -> str:
        token = secrets.token_urlsafe(40)
        now = time.monotonic()
        with self._lock:
            self._expiry = {issued: expiry for issued, expiry in self._expiry.items() if expiry > now}
            self._expiry[token] = now + seconds
        return token

    def valid(self, token: str) -> bool:
        with self._lock:
            return self._expiry.get(token, 0.0) > time.monotonic()


class MetadataSource:
    """An instance's metadata and the session tokens issued for the instance.

    Args:
        describe: returns the current metadata; called for every request.
    """

    def __init__(self, describe: Callable[[], InstanceMetadata]) -> None:
        self.describe = describe
        self.tokens = _Tokens()


class _MetadataServer(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """Serves metadata requests in a thread, inside its context."""

    daemon_threads = True
    # A boot sends about 60 requests, each on its own connection.
    request_queue_size = 64

    def source_for(self, client_address: Any) -> MetadataSource | None:
        """Return the metadata of the client's instance; None if it has none."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), name="metadata", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections dropped by the guest."""


class MetadataServer(_MetadataServer, socketserver.UnixStreamServer):
    """The metadata service of one instance, on a Unix socket of its machine.

    Args:
        socket_path: the path of the socket, at most 107 bytes; created here and removed on close.
        describe: returns the current metadata; called for every request.
    """

    def __init__(self, socket_path: Path, describe: Callable[[], InstanceMetadata]) -> None:
        self._source = MetadataSource(describe)
        self._socket_path = socket_path
        super().__init__(str(socket_path), _Handler)

    def source_for(self, client_address: Any) -> MetadataSource:
        """Return the instance's metadata: no other instance connects here."""
        return self._source

    def server_close(self) -> None:
        """Close and remove the socket."""
        super().server_close()
        self._socket_path.unlink(missing_ok=True)


class SharedMetadataServer(_MetadataServer, socketserver.TCPServer):
    """The metadata service of all instances of a VPC, identified by client address.

    Args:
        listener: a listening socket; closed with the server.
        find_source: returns an instance's metadata by a private address; None for an unknown address.
    """

    def __init__(self, listener: socket.socket, find_source: Callable[[str], MetadataSource | None]) -> None:
        self._find_source = find_source
        socketserver.BaseServer.__init__(self, listener.getsockname(), _Handler)
        self.socket = listener

    def source_for(self, client_address: Any) -> MetadataSource | None:
        """Return the metadata of the instance with the client's address."""
        return self._find_source(client_address[0])


class _Handler(BaseHTTPRequestHandler):
    server: _MetadataServer
    server_version = "EC2ws"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        source = self.server.source_for(self.client_address)
        if source is None:
            return self._respond(404)
        instance = source.describe()
        if not instance.enabled:
            return self._respond(403)
        token = self.headers.get(TOKEN_HEADER)
        refused = instance.tokens_required if token is None else not source.tokens.valid(token)
        if refused:
            return self._respond(401)
        body = look_up(instance, unquote(urlsplit(self.path).path))
        if body is None:
            return self._respond(404)
        return self._respond(200, body)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        source = self.server.source_for(self.client_address)
        if source is None:
            return self._respond(404)
        if not source.describe().enabled or "X-Forwarded-For" in self.headers:
            return self._respond(403)
        if urlsplit(self.path).path.rstrip("/") != "/latest/api/token":
            return self._respond(404)
        seconds = self.headers.get(TOKEN_TTL_HEADER, "")
        if not seconds.isascii() or not seconds.isdigit() or not 1 <= int(seconds) <= MAX_TOKEN_SECONDS:
            return self._respond(400)
        token = source.tokens.issue(int(seconds))
        return self._respond(200, token.encode(), {TOKEN_TTL_HEADER: seconds})

    def _respond(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
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
        """Log nothing: paths carry no information, and tokens are secret."""
