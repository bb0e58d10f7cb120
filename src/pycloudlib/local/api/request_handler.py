"""The connection handler of the API's HTTP server."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from pycloudlib.local.api.chunked_body import ChunkedBody
from pycloudlib.local.api.http_messages import Environ, body_is_received, error_document
from pycloudlib.local.api.moto_adapter import MotoRequestHandler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

logger = logging.getLogger(__name__)

READ_SECONDS = 60.0
"""The socket timeout in seconds, for receiving a request and for sending a response."""
DISCARD_SECONDS = 2.0
DISCARD_BYTES = 64 * 1024 * 1024
"""The limits on data that a client sends after a rejected request: seconds without data, and bytes."""

SMALL_RESPONSE = 64 * 1024
"""Bytes. The parts of a larger response are not joined: many connections may share one."""

_NO_BODY = (204, 304)

Headers = Sequence[tuple[str, str]]
Body = Sequence[bytes]


class ServerOfConnections(Protocol):
    """The part of the server that the handler uses."""

    idle_seconds: float
    app: WSGIApplication


class RequestHandler(MotoRequestHandler):
    """Handles the requests of a connection in turn, as long as each was received completely."""

    server: ServerOfConnections  # type: ignore[assignment]
    timeout = READ_SECONDS
    protocol_version = "HTTP/1.1"
    # The response to an invalid request line also has a status line and headers.
    default_request_version = "HTTP/1.1"
    # Otherwise a response larger than a packet waits for the client's ACK of the previous packet.
    disable_nagle_algorithm = True
    error_content_type = "text/xml;charset=UTF-8"
    _is_first = True
    _is_received = True

    @property
    def error_message_format(self) -> str:  # type: ignore[override]
        """The body of the response to invalid HTTP."""
        return error_document("MalformedQueryString", "%(message)s")

    def handle(self) -> None:
        """Handle all requests of the connection."""
        super().handle()
        if not self._is_received:
            self._discard()

    def handle_one_request(self) -> None:
        """Handle the next request; close the connection if none comes."""
        if not self._wait_for_request():
            self.close_connection = True
            return
        self._is_received = False
        super().handle_one_request()

    def make_environ(self) -> Environ:
        """Return the WSGI environ of the request."""
        environ = super().make_environ()
        if "wsgi.input_terminated" in environ:
            environ["wsgi.input"] = ChunkedBody(self.rfile)
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) > 1:
            environ["CONTENT_LENGTH"] = ",".join(lengths)  # rejected later; werkzeug would use the last one
        return environ

    def run_wsgi(self) -> None:
        """Call the application, and send its response."""
        try:
            environ = self.make_environ()
        except ValueError as error:
            # Not send_error, whose log line parses the target again.
            self.close_connection = True
            self._respond(*self._error("400 Bad Request", "MalformedQueryString", f"Bad request target: {error}"))
            return
        try:
            status, headers, body = self._call_application(environ)
        except ConnectionError:
            self.close_connection = True
            return
        except Exception:
            # A bug in the application: the client gets an error, and the connection goes on.
            logger.exception("%s failed", self.path)
            status, headers, body = self._error(
                "500 Internal Server Error", "InternalError", "The local EC2 failed; its log says how"
            )
        self._is_received = body_is_received(environ)
        if not self._is_received or not self._keeps_alive():
            self.close_connection = True
        self._respond(status, headers, body)

    def _error(self, status: str, code: str, reason: str) -> tuple[str, Headers, Body]:
        headers = [("Content-Type", self.error_content_type)]
        return status, headers, [error_document(code, reason).encode()]

    def _wait_for_request(self) -> bool:
        """Wait for the first byte of a request; return whether one arrived."""
        self.connection.settimeout(READ_SECONDS if self._is_first else self.server.idle_seconds)
        self._is_first = False
        try:
            return bool(self.rfile.peek(1))  # type: ignore[attr-defined]  # it is a BufferedReader
        except OSError:
            return False
        finally:
            self.connection.settimeout(READ_SECONDS)

    def _call_application(self, environ: Environ) -> tuple[str, Headers, Body]:
        started: list[tuple[str, Headers]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], object]:
            started.append((status, headers))
            return _refuse_write

        chunks = self.server.app(environ, start_response)
        try:
            body = list(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        return (*started[-1], body)

    def _keeps_alive(self) -> bool:
        """Return whether the client may send another request on the connection."""
        if self.request_version != self.protocol_version:
            return False
        options = ",".join(self.headers.get_all("Connection", [])).lower().split(",")
        return "close" not in (option.strip() for option in options)

    def _respond(self, status: str, headers: Headers, body: Body) -> None:
        """Send a response, with one system call if it fits the socket's send buffer."""
        lines = [f"{self.protocol_version} {status}"]
        lines += [f"{name}: {value}" for name, value in headers if name.lower() != "content-length"]
        lines += [f"Date: {self.date_time_string()}", f"Server: {self.version_string()}"]
        has_body = int(status.split(maxsplit=1)[0]) not in _NO_BODY
        if has_body:
            lines.append(f"Content-Length: {sum(map(len, body))}")
        if self.close_connection:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        try:
            self._write([head, *body] if has_body and self.command != "HEAD" else [head])
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _write(self, parts: Sequence[bytes]) -> None:
        if sum(map(len, parts)) <= SMALL_RESPONSE:
            parts = [b"".join(parts)]
        for part in parts:
            self.wfile.write(part)

    def _discard(self) -> None:
        """Read what the client still sends: closing earlier would reset the connection and lose the response."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(DISCARD_SECONDS)
            remaining = DISCARD_BYTES
            while remaining > 0 and (data := self.connection.recv(65536)):
                remaining -= len(data)


def _refuse_write(_: bytes) -> None:
    raise NotImplementedError("applications return their response")
