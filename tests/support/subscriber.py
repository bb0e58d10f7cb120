"""A subscriber of an SNS topic: an HTTP endpoint on loopback that keeps what it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from support.http_endpoint import QuietHandler, serving


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

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            kept.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.respond(200)

    with serving(Handler) as url:
        kept.url = f"{url}/"
        yield kept
