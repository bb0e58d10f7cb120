"""A subscriber of an SNS topic: an HTTP endpoint on loopback that keeps what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any


class Subscriber:
    """What was received, as long as the context that made it lasts.

    Args:
        url: where it listens.
    """

    def __init__(self, url: str = "") -> None:
        self.url = url
        self._received: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def take(self, document: dict[str, Any]) -> None:
        """Keep what was posted."""
        self._received.put(document)

    def next_notification(self, timeout: float = 60.0) -> dict[str, Any]:
        """Give the next notification, as soon as it has come; confirmations of the subscription are skipped."""
        while True:
            document = self._received.get(timeout=timeout)
            if document["Type"] == "Notification":
                return document

    @property
    def has_more(self) -> bool:
        """Whether anything was received that nobody has asked for yet."""
        return not self._received.empty()


@contextmanager
def subscriber() -> Iterator[Subscriber]:
    """Listen on a loopback port for as long as the context lasts."""
    kept = Subscriber()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()
