"""The mailbox of a machine: any thread adds inputs, which are handled one at a time, in order."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

logger = logging.getLogger(__name__)

Handle = Callable[[Any], None]
"""Handles one input."""


class Mailbox(ABC):
    """The inputs of one machine."""

    @abstractmethod
    def open(self, handle: Handle) -> None:
        """Start handling inputs."""

    @abstractmethod
    def put(self, item: Any) -> bool:
        """Add an input.

        Returns:
            Whether the input will be handled: False once the mailbox is closed.
        """

    @abstractmethod
    def put_after(self, seconds: float, item: Any) -> None:
        """Add an input later."""

    @abstractmethod
    def close(self) -> list[Any]:
        """Take no more inputs, and return those that were not handled yet. For the handler only."""


class ThreadMailbox(Mailbox):
    """Inputs handled by a dedicated thread.

    Args:
        name: the name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._items: deque[Any] = deque()
        self._later: list[tuple[float, int, Any]] = []
        self._numbers = itertools.count()
        self._closed = False
        self._thread: threading.Thread | None = None

    def open(self, handle: Handle) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._serve, args=(handle,), name=self._name, daemon=True)
        self._thread.start()

    def put(self, item: Any) -> bool:
        """Add an input."""
        with self._changed:
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify()
            return True

    def put_after(self, seconds: float, item: Any) -> None:
        """Add an input later."""
        with self._changed:
            heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), item))
            self._changed.notify()

    def close(self) -> list[Any]:
        """Take no more inputs, and return those that were not handled yet."""
        with self._changed:
            self._closed = True
            items, self._items = list(self._items), deque()
            return items

    def any_waiting(self, matches: Callable[[Any], bool]) -> bool:
        """Return whether a matching input is queued; for a handler that takes long."""
        with self._changed:
            return any(matches(item) for item in self._items)

    def join(self) -> None:
        """Wait until the thread has handled its last input. Call it from another thread, once a close is certain."""
        if self._thread is not None:
            self._thread.join()

    def _serve(self, handle: Handle) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._is_awake, self._later[:1]), self._until_next())
                self._move_due()
                if self._closed:
                    return
                if not self._items:
                    continue
                item = self._items.popleft()
            try:
                handle(item)
            except Exception:
                # A bug in this program must not block the inputs behind this one.
                logger.exception("%s: %r could not be handled", self._name, item)

    def _is_awake(self, first: list[Any]) -> bool:
        """Return whether an input is ready, or the earliest delayed input has changed."""
        return self._closed or bool(self._items) or self._later[:1] != first

    def _until_next(self) -> float | None:
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None

    def _move_due(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            self._items.append(heapq.heappop(self._later)[2])


class LoopMailbox(Mailbox):
    """Inputs handled by an event loop that many machines share.

    Args:
        loop: the event loop, which runs in another thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: Handle = lambda _: None

    def open(self, handle: Handle) -> None:
        """Start handling inputs."""
        self._handle = handle

    def put(self, item: Any) -> bool:
        """Add an input."""
        self._loop.call_soon_threadsafe(self._handle, item)
        return True

    def put_after(self, seconds: float, item: Any) -> None:
        """Add an input later."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self._handle, item)

    def close(self) -> list[Any]:
        """Return no inputs: the loop delivers every input, and the machine rejects late ones."""
        return []
