"""The API's HTTP server: one thread per connection, and no connection outlives the server."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer

from pycloudlib.local.api.request_handler import RequestHandler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

IDLE_SECONDS = 15.0
"""Seconds that an idle connection, which occupies a thread, stays open."""


class HTTPServer(ThreadedWSGIServer):
    """Serves a WSGI application on connections that stay open between requests.

    Args:
        listener: a listening socket; the caller closes it.
        application: handles the requests.
        idle_seconds: seconds that an idle connection stays open; default IDLE_SECONDS.
    """

    def __init__(
        self, listener: socket.socket, application: WSGIApplication, *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self.idle_seconds = idle_seconds
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        host, port = listener.getsockname()[:2]
        super().__init__(host, port, application, RequestHandler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close the socket, and each connection after the response to its current request."""
        super().server_close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the client has closed it
                    connection.shutdown(socket.SHUT_RD)
