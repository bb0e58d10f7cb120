"""HTTP beneath the API: the body of a request, and errors in EC2's form."""

from __future__ import annotations

import io
import re
import select
import socket
from dataclasses import dataclass
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

Environ = dict[str, Any]

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request's body; EC2's are far smaller."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no response can have."""

_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>{code}</Code><Message>{reason}</Message></Error></Errors>\
<RequestID>{request_id}</RequestID></Response>"""


class ClientGoneError(ConnectionError):
    """Nobody waits for the response any more."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused, in AWS's words.

    Args:
        status: of HTTP.
        code: AWS's.
        reason: AWS's message.
    """

    status: str
    code: str
    reason: str


def error_document(code: str, reason: str, request_id: str | None = None) -> str:
    """Return EC2's form of an error; default: with a request id of its own."""
    shown = escape(NOT_XML.sub("\ufffd", reason))
    return _ERROR.format(code=escape(code), reason=shown, request_id=request_id or uuid4())


def receive_body(environ: Environ) -> Refusal | None:
    """Read a request's body, so that nothing waits for the client afterwards.

    Args:
        environ: the request, as WSGI has it; its body can be read again.

    Returns:
        Why the request is refused; None when it is not.
    """
    chunked = bool(environ.pop("wsgi.input_terminated", False))
    length = environ.get("CONTENT_LENGTH") or "0"
    if not chunked and not (length.isascii() and length.isdigit()):
        return Refusal("400 Bad Request", "MalformedQueryString", "The Content-Length is not a number")
    wanted = MAX_BODY + 1 if chunked else int(length)
    if not chunked and wanted > MAX_BODY:
        return _too_large()
    try:
        body: bytes = environ["wsgi.input"].read(wanted)
    except OSError:
        return Refusal("400 Bad Request", "MalformedQueryString", "The request ended before its body was complete")
    if chunked and len(body) > MAX_BODY:
        return _too_large()
    if not chunked and len(body) < wanted:
        return Refusal("400 Bad Request", "MalformedQueryString", "The request ended before its body was complete")
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
    return None


def body_of(environ: Environ) -> bytes:
    """Return a request's body, which can be read again."""
    body: bytes = environ["wsgi.input"].read()
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def require_client(environ: Environ) -> None:
    """Check that the client of a request still waits for the response.

    A client that has shut down its sending side counts as gone: the two cannot be told apart.

    Raises:
        ClientGoneError: it has closed the connection.
    """
    connection: socket.socket | None = environ.get("werkzeug.socket")
    if connection is None:
        return
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    try:
        if poll.poll(0) and not connection.recv(1, socket.MSG_PEEK):
            raise ClientGoneError("the client has closed the connection")
    except OSError as error:
        raise ClientGoneError("the connection to the client is broken") from error


def _too_large() -> Refusal:
    reason = f"A request has at most {MAX_BODY} bytes"
    return Refusal("413 Request Entity Too Large", "RequestEntityTooLarge", reason)
