"""Shared responses: each is built once for all identical requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from pycloudlib.local.api.models.records_lock import RecordsLock

T = TypeVar("T")

MOST = 4
"""The maximum number of cached responses; one with a thousand instances takes 4 MB."""


@dataclass(frozen=True)
class _Response:
    version: int
    body: bytes


class SharedResponses:
    """Cached response bodies, valid until the records change.

    A body includes every change made before its request arrived. One thread builds a body at a time. Requests that
    arrive meanwhile wait, and identical ones share the next body. Many simultaneous large responses therefore take the
    time and the memory of two.

    Args:
        lock: the lock of the records.
    """

    def __init__(self, lock: RecordsLock) -> None:
        self._lock = lock
        self._building = threading.Lock()
        self._responses: dict[Hashable, _Response] = {}

    def body(
        self,
        request: Hashable,
        *,
        read: Callable[[], T],
        serialize: Callable[[T], bytes],
        require_client: Callable[[], None],
    ) -> bytes:
        """Return the body of the response to a request.

        Args:
            request: a key, equal for identical requests.
            read: reads the records; called with the lock held.
            serialize: converts the result of `read` to a body; called without the lock.
            require_client: raises an exception if the client is gone; called before `read`.
        """
        arrived_at = self._lock.version
        shared = self._find(request, arrived_at)
        if shared is not None:
            return shared
        with self._building:
            shared = self._find(request, arrived_at)
            if shared is not None:
                return shared
            require_client()
            with self._lock.reading():
                version = self._lock.version
                records = read()
            response = _Response(version, serialize(records))
            self._keep(request, response)
        return response.body

    def _find(self, request: Hashable, version: int) -> bytes | None:
        response = self._responses.get(request)
        return response.body if response is not None and response.version >= version else None

    def _keep(self, request: Hashable, response: _Response) -> None:
        current = {key: kept for key, kept in self._responses.items() if kept.version == response.version}
        if len(current) == MOST:
            del current[next(iter(current))]
        self._responses = {**current, request: response}
