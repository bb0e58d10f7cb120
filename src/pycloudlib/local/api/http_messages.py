"""HTTP below the API: request bodies, and EC2's error responses."""

from __future__ import annotations

import io
import re
import select
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

Environ = dict[str, Any]

MAX_BODY = 4 * 1024 * 1024
"""The maximum length of a request body in bytes, far above EC2's largest requests."""

_MAX_DIGITS = 20
"""The maximum length of a Content-Length."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that XML 1.0 does not allow."""

_TCP_SOCKETS = Path("/proc/net/tcp")

_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>{code}</Code><Message>{reason}</Message></Error></Errors>\
<RequestID>{request_id}</RequestID></Response>"""


class ClientGoneError(ConnectionError):
    """The client has closed the connection before the response."""


@dataclass(frozen=True)
class Refusal:
    """An error response.

    Args:
        status: the HTTP status line, such as "400 Bad Request".
        code: AWS's error code.
        reason: the error message.
    """

    status: str
    code: str
    reason: str


def error_document(code: str, reason: str, request_id: str | None = None) -> str:
    """Return EC2's XML document of an error; default with a new request id."""
    shown = escape(NOT_XML.sub("\ufffd", reason))
    return _ERROR.format(code=escape(code), reason=shown, request_id=request_id or uuid4())


def receive_body(environ: Environ) -> Refusal | None:
    """Read a request's body, so that its handler never waits for the client.

    Args:
        environ: the WSGI environ; its body remains readable.

    Returns:
        The reason to reject the request; None to accept it.
    """
    refusal = _check_framing(environ)
    if refusal is not None:
        return refusal
    chunked = bool(environ.pop("wsgi.input_terminated", False))
    length = MAX_BODY + 1 if chunked else int(environ.get("CONTENT_LENGTH") or "0")
    try:
        body: bytes = environ["wsgi.input"].read(length)
    except OSError:
        return _incomplete()
    if len(body) > MAX_BODY:
        return _too_large()
    if not chunked and len(body) < length:
        return _incomplete()
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
    return None


def body_is_received(environ: Environ) -> bool:
    """Return whether a request was read to its end, where the next one begins.

    Args:
        environ: the WSGI environ, after the response.
    """
    if isinstance(environ["wsgi.input"], io.BytesIO):
        return True  # read by receive_body
    return environ.get("CONTENT_LENGTH", "0") == "0" and "HTTP_TRANSFER_ENCODING" not in environ


def body_of(environ: Environ) -> bytes:
    """Return a request's body, which remains readable."""
    body: bytes = environ["wsgi.input"].read()
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def require_client(environ: Environ) -> None:
    """Require that the client still waits for the response.

    A client that has only shut down its sending side still waits.

    Raises:
        ClientGoneError: the client has closed the connection.
    """
    connection: socket.socket | None = environ.get("werkzeug.socket")
    if connection is None:
        return
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    try:
        ended = poll.poll(0) and not connection.recv(1, socket.MSG_PEEK)
        if ended and not _is_open(connection.getpeername(), connection.getsockname()):
            raise ClientGoneError("the client has closed the connection")
    except OSError as error:
        raise ClientGoneError("the connection to the client is broken") from error


def _is_open(local: tuple[str, int], remote: tuple[str, int]) -> bool:
    """Return whether a process of this host has a TCP socket open, whatever the connection state.

    See proc_pid_net(5): the inode of a socket without a process is 0.
    """
    ends = [_format_for_proc(local), _format_for_proc(remote)]
    with _TCP_SOCKETS.open(encoding="ascii") as table:
        return any(fields[1:3] == ends and fields[9] != "0" for fields in map(str.split, table))


def _format_for_proc(address: tuple[str, int]) -> str:
    number = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    return f"{number:08X}:{address[1]:04X}"


def _check_framing(environ: Environ) -> Refusal | None:
    """Reject a request whose length is undefined or too large (RFC 9112, section 6)."""
    chunked = "wsgi.input_terminated" in environ
    length = environ.get("CONTENT_LENGTH") or "0"
    if environ.get("HTTP_TRANSFER_ENCODING", "chunked").strip().lower() != "chunked":
        return Refusal("501 Not Implemented", "MalformedQueryString", "The only Transfer-Encoding here is chunked")
    if chunked and "CONTENT_LENGTH" in environ:
        return _malformed("A request has a Content-Length or a Transfer-Encoding, not both")
    if not (length.isascii() and length.isdigit()):
        return _malformed("The Content-Length is not a number")
    # int() refuses numbers of thousands of digits.
    return _too_large() if len(length) > _MAX_DIGITS or int(length) > MAX_BODY else None


def _incomplete() -> Refusal:
    return _malformed("The request ended before its body was complete")


def _malformed(reason: str) -> Refusal:
    return Refusal("400 Bad Request", "MalformedQueryString", reason)


def _too_large() -> Refusal:
    reason = f"A request has at most {MAX_BODY} bytes"
    return Refusal("413 Request Entity Too Large", "RequestEntityTooLarge", reason)
