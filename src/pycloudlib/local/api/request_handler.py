"""The connections of the API's HTTP server."""

from __future__ import annotations

from pycloudlib.local.api.http_messages import error_document
from pycloudlib.local.api.moto_adapter import MotoRequestHandler

READ_SECONDS = 60.0
"""Seconds that the server waits for the next bytes of a request, or for the client to take those of a response."""


class RequestHandler(MotoRequestHandler):
    """Handles a connection."""

    timeout = READ_SECONDS
    error_content_type = "text/xml;charset=UTF-8"

    @property
    def error_message_format(self) -> str:  # type: ignore[override]
        """The body of the response to what is not HTTP."""
        return error_document("MalformedQueryString", "%(message)s")
