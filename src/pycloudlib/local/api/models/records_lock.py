"""The lock of the API's records, which counts changes and reports them on release."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class RecordsLock:
    """A reentrant lock for reading and changing the records.

    A watcher receives the watched part of the records after each change. The lock compares on its outermost
    release, since requests and machine threads hold it for every change.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._changed = False
        self._version = 0
        self._watcher: _Watcher[object] | None = None

    @property
    def version(self) -> int:
        """The number of changes so far, excluding those of the current holder.

        Every acquisition counts as a change, except with `reading()`. Read without the lock, the number includes at
        least every change whose holder has released the lock.
        """
        return self._version

    def __enter__(self) -> RecordsLock:
        self._enter(changes=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock without changing the records; the release then skips the comparison."""
        self._enter(changes=False)
        try:
            yield
        finally:
            self._leave()

    def watch(self, read: Callable[[], T], listener: Callable[[T], None]) -> Callable[[], None]:
        """Report a part of the records at once, and after each change.

        Reports come in the order of the changes, one at a time. The thread that made a change leaves its `with` block
        after the report. A listener's exception is logged. A new watcher replaces the previous one.

        Args:
            read: returns the part, which is compared by equality; called with the lock held.
            listener: receives each report; called without the lock. It must not wait for a thread that changes the
                records.

        Returns:
            A function that ends the watch.
        """
        watcher = _Watcher(read, listener)
        with self:
            self._watcher = watcher  # type: ignore[assignment]  # it reads and reports the same type
        return self._unwatch

    def _unwatch(self) -> None:
        with self.reading():
            self._watcher = None

    def _enter(self, *, changes: bool) -> None:
        self._lock.acquire()
        self._depth += 1
        self._changed = self._changed or changes

    def _leave(self) -> None:
        report: Callable[[], None] | None = None
        try:
            if self._depth == 1 and self._changed:
                self._changed = False
                self._version += 1
                report = self._watcher.compare() if self._watcher else None
        finally:
            self._depth -= 1
            self._lock.release()
        if report is not None:
            report()


class _Watcher(Generic[T]):
    def __init__(self, read: Callable[[], T], listener: Callable[[T], None]) -> None:
        self._read = read
        self._listener = listener
        self._latest: T | None = None
        self._number = 0
        self._reported = 0
        self._reporting = threading.Lock()

    def compare(self) -> Callable[[], None] | None:
        """Return a function that reports the change; None without a change. Call it with the lock held."""
        try:
            value = self._read()
        except Exception:
            # The change succeeded, so its request must not fail.
            logger.exception("cannot read the records that are watched")
            return None
        if self._number and value == self._latest:
            return None
        self._number += 1
        self._latest = value
        number = self._number
        return lambda: self._report(number, value)

    def _report(self, number: int, value: T) -> None:
        with self._reporting:
            if number < self._reported:
                return  # a later report included this change
            self._reported = number
            try:
                self._listener(value)
            except Exception:
                # As above: the change succeeded, whether or not the report does.
                logger.exception("a change of the records could not be passed on")
