"""The WSGI entry point of the local EC2: path, authentication, and supported services."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.api import query_signatures
from pycloudlib.local.api.http_messages import ClientGoneError, Environ, Refusal, body_of, error_document, receive_body
from pycloudlib.local.api.input_shapes import malformed
from pycloudlib.local.api.services import action_of, service_name, unsupported
from pycloudlib.local.api.signatures import FindKey, refusal_of

logger = logging.getLogger(__name__)

_METHODS = ("GET", "POST")
_OTHER_PROTOCOLS = ("HTTP_X_AMZ_TARGET", "HTTP_CONTENT_ENCODING")
_FAILED = Refusal("500 Internal Server Error", "InternalError", "The local EC2 failed; its log says how")

Application = Callable[[Environ, Any], Iterable[bytes]]
Document = Callable[[str], Any]
"""Returns a document, given the rest of the URL path after its name; raises LocalEC2Error to reject it."""

Operation = Callable[[str, Any], Any]
"""Changes the local EC2, given the rest of the URL path and the JSON body (None if empty), and returns a document;
raises LocalEC2Error to reject the request."""

MOTO_API = "/moto-api/"
"""The path of moto's own API, such as its reset; requests are unsigned."""
LOCAL_API = "/local-api/"
"""The path of JSON documents about the local EC2; requests are signed like EC2's."""


class LocalEC2Application:
    """A WSGI application that forwards requests below a path, and rejects all others.

    Args:
        application: handles the requests, mounted at the path.
        path: the path, such as "/services/Cloud"; "" for the root.
        find_key: returns the credentials with an access key; None to accept any credentials.
        region: the region of requests with a version 2 signature, which names none; default "us-east-1".
        documents: the documents below LOCAL_API, by name.
        operations: the operations below LOCAL_API, by method and name, such as ("PUT", "faults"); default none.
    """

    def __init__(
        self,
        application: Application,
        path: str,
        find_key: FindKey | None = None,
        region: str = "us-east-1",
        documents: Mapping[str, Document] | None = None,
        *,
        operations: Mapping[tuple[str, str], Operation] | None = None,
    ) -> None:
        self._application = application
        self._path = path.rstrip("/")
        self._find_key = find_key
        self._region = region
        self._documents = documents or {}
        self._operations = operations or {}

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Handle a request."""
        below = _below(self._path, environ.get("PATH_INFO", ""))
        if below is None:
            return _send(start_response, "404 Not Found", "text/plain", f"The API is at {self._path}\n")
        refusal = receive_body(environ) or self._check_signature(environ)
        if not refusal and below.startswith(LOCAL_API):
            return self._serve_document(environ, below.removeprefix(LOCAL_API), start_response)
        refusal = refusal or _check_service(environ, below)
        if refusal:
            return _refuse(environ, start_response, refusal)
        mounted = {**environ, "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + self._path, "PATH_INFO": below}
        if below.startswith(MOTO_API):
            return self._application({**environ, "PATH_INFO": below}, start_response)
        if service_name(environ) == "ec2":
            mounted = _as_query(mounted)
        elif service_name(environ) == "fis":
            # moto derives the action from the complete path.
            mounted |= {"SCRIPT_NAME": "", "RAW_URI": str(environ.get("RAW_URI", "")).removeprefix(self._path)}
        return self._without_html(mounted, start_response)

    def _serve_document(self, environ: Environ, path: str, start_response: Any) -> Iterable[bytes]:
        name, _, subject = path.partition("/")
        document, operation = self._documents.get(name), self._operations.get((environ["REQUEST_METHOD"], name))
        if document is None:
            return _send(start_response, "404 Not Found", "text/plain", f"There is no document {name}\n")
        if operation is None and environ["REQUEST_METHOD"] not in _METHODS:
            return _send(start_response, "405 Method Not Allowed", "text/plain", f"The document {name} is read-only\n")
        try:
            text = json.dumps(operation(subject, _json_body(environ)) if operation else document(subject))
        except LocalEC2Error as error:
            return _send(start_response, "409 Conflict", "text/plain", str(error))
        return _send(start_response, "200 OK", "application/json", text)

    def _check_signature(self, environ: Environ) -> Refusal | None:
        parameters = query_signatures.signed_parameters(environ)
        if parameters is None:
            return refusal_of(environ, self._find_key) if self._find_key else None
        refusal = query_signatures.refusal_of(environ, parameters, self._find_key) if self._find_key else None
        # moto reads the service, region, and access key from this header.
        scope = f"{parameters['AWSAccessKeyId']}/20000101/{self._region}/ec2/aws4_request"
        environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        return refusal

    def _without_html(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Handle a request, and convert HTML error pages of Flask and moto to errors of the protocol."""
        started: list[Any] = []
        try:
            body = list(self._application(environ, lambda *arguments: started.extend(arguments[:2])))
        except ClientGoneError:
            raise
        except Exception:
            # A bug here or in moto: clients expect an error of their protocol.
            logger.exception("%s failed", environ["PATH_INFO"])
            return _refuse(environ, start_response, _FAILED)
        status, headers = started
        is_html = any(value.startswith("text/html") for name, value in headers if name.lower() == "content-type")
        if not is_html or status.startswith("2"):  # moto labels some JSON as HTML
            start_response(status, headers)
            return body
        if status.startswith("5"):
            logger.error("%s: %s", status, b"".join(body).decode(errors="replace"))
            return _refuse(environ, start_response, _FAILED)
        return _refuse(environ, start_response, Refusal(status, "InvalidAction", f"HTTP: {status}"))


def _check_service(environ: Environ, below: str) -> Refusal | None:
    service = service_name(environ)
    if below.startswith(MOTO_API):
        return None
    if service is None:
        reason = "AWS was not able to validate the provided access credentials: sign with version 2 or 4"
        return Refusal("401 Unauthorized", "AuthFailure", reason)
    if service == "ec2":
        return _check_query_request(environ, below)
    action = action_of(environ, service, below)
    missing = unsupported(service, action)
    if missing is not None:
        return Refusal("400 Bad Request", "UnsupportedOperation", missing)
    return malformed(environ, service, action)


def _check_query_request(environ: Environ, below: str) -> Refusal | None:
    if below == "/" and environ["REQUEST_METHOD"] in _METHODS:
        return None
    return Refusal("400 Bad Request", "InvalidAction", f"EC2's API takes GET and POST requests at /, not {below}")


def _json_body(environ: Environ) -> Any:
    body = body_of(environ)
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError) as error:
        raise LocalEC2Error(f"the body is not JSON: {error}") from error


def _as_query(environ: Environ) -> Environ:
    """Return a Query API request without the headers by which moto recognizes other protocols."""
    plain = {name: value for name, value in environ.items() if name not in _OTHER_PROTOCOLS}
    return {**plain, "CONTENT_TYPE": "application/x-www-form-urlencoded"}


def _below(path: str, requested: str) -> str | None:
    """Return the part of a requested path below another path, with its leading slash; None if outside."""
    if requested != path and not requested.startswith(f"{path}/"):
        return None
    return requested.removeprefix(path) or "/"


def _refuse(environ: Environ, start_response: Any, refusal: Refusal) -> Iterable[bytes]:
    """Send an error response in the protocol of the request."""
    if service_name(environ) == "fis" or ("json" in environ.get("CONTENT_TYPE", "") and service_name(environ) != "ec2"):
        body = json.dumps({"__type": refusal.code, "message": refusal.reason})
        return _send(start_response, refusal.status, "application/x-amz-json-1.1", body)
    if service_name(environ) == "s3":
        error = f"<Error><Code>{escape(refusal.code)}</Code><Message>{escape(refusal.reason)}</Message></Error>"
        return _send(start_response, refusal.status, "text/xml", error)
    document = error_document(refusal.code, refusal.reason)
    return _send(start_response, refusal.status, "text/xml;charset=UTF-8", document)


def _send(start_response: Any, status: str, content_type: str, text: str) -> Iterable[bytes]:
    body = text.encode()
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]
