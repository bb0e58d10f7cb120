"""The local EC2's way in: under which path it answers, and which services of AWS's it has.

moto has many services and gives them all to whoever asks. Here are those that somebody who works with EC2 needs beside
it; any other one is refused rather than made up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

from pycloudlib.local.signatures import Key, refusal_of

SERVICES = ("ec2", "sns", "sts")
"""What is served, by the name that requests are signed for."""

PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
"""Under which the API may be."""

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

# AWS4-HMAC-SHA256 Credential=AKIA.../20260102/us-east-1/ec2/aws4_request, SignedHeaders=..., Signature=...
_CREDENTIAL = re.compile(r"Credential=[^/,]*/[^/,]*/[^/,]*/([^/,]+)/aws4_request")

MOTO_API = "/moto-api/"
"""What is told to moto itself, such as to forget everything; unsigned."""


class FrontDoor:
    """A WSGI application that hands on what is for one under a path, and refuses the rest.

    Args:
        application: answers the requests, as if it were at the root.
        path: where it is, such as "/services/Cloud"; "" for the root.
        key: what requests must be signed with; None for anything.
    """

    def __init__(self, application: Application, path: str, key: Key | None = None) -> None:
        self._application = application
        self._path = path.rstrip("/")
        self._key = key

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        below = _below(self._path, environ.get("PATH_INFO", ""))
        if below is None:
            return _answer(start_response, "404 Not Found", "text/plain", f"The API is at {self._path}\n")
        service = _service(environ)
        refusal = refusal_of(environ, self._key) if self._key else None
        if refusal:
            return _refuse(environ, start_response, refusal.status, refusal.code, refusal.reason)
        if below.startswith(MOTO_API):
            return self._application({**environ, "PATH_INFO": below}, start_response)
        if service is None:
            reason = "AWS was not able to validate the provided access credentials: sign with version 4"
            return _refuse(environ, start_response, "401 Unauthorized", "AuthFailure", reason)
        if service not in SERVICES:
            reason = f"The local EC2 does not have the service '{service}'; it has {', '.join(SERVICES)}"
            return _refuse(environ, start_response, "400 Bad Request", "UnsupportedOperation", reason)
        mounted = {**environ, "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + self._path, "PATH_INFO": below}
        return self._application(mounted, start_response)


def _below(path: str, requested: str) -> str | None:
    """What of a requested path is below another one, from its slash on; None when it is elsewhere."""
    if requested != path and not requested.startswith(f"{path}/"):
        return None
    return requested.removeprefix(path) or "/"


def _service(environ: Environ) -> str | None:
    signed = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    return signed[1].lower() if signed else None


def _refuse(environ: Environ, start_response: Any, status: str, code: str, reason: str) -> Iterable[bytes]:
    """Refuse in the words of the protocol that was spoken."""
    error = f"<Error><Code>{escape(code)}</Code><Message>{escape(reason)}</Message></Error>"
    if "json" in environ.get("CONTENT_TYPE", ""):
        body = json.dumps({"__type": code, "message": reason})
        return _answer(start_response, status, "application/x-amz-json-1.1", body)
    if _service(environ) == "s3":
        return _answer(start_response, status, "text/xml", error)
    body = f"<Response><Errors>{error}</Errors><RequestID>{uuid4()}</RequestID></Response>"
    return _answer(start_response, status, "text/xml", body)


def _answer(start_response: Any, status: str, content_type: str, text: str) -> Iterable[bytes]:
    body = text.encode()
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]
