"""The lock of the API's records, which counts changes, and reports what has changed when it is released."""

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
    """A reentrant lock, held by whoever reads or changes the records.

    A watcher is told what it watches whenever that has changed. The lock compares on its outermost release, since
    every change is made with the lock held: by a request, or by a machine's thread.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._changed = False
        self._version = 0
        self._watcher: _Watcher[object] | None = None

    @property
    def version(self) -> int:
        """The number of changes so far, those of the current holder not included.

        Whoever takes the lock counts as changing the records, except within `reading()`. Without the lock, it counts at
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
        """Hold the lock without changing the records, so that nothing is compared afterwards."""
        self._enter(changes=False)
        try:
            yield
        finally:
            self._leave()

    def watch(self, read: Callable[[], T], listener: Callable[[T], None]) -> Callable[[], None]:
        """Report a part of the records: at once, and whenever it has changed.

        Reports come in the order of the changes, one at a time. The thread that made a change returns from its `with`
        block after the report. A listener's exception is logged. There is one watcher at a time.

        Args:
            read: returns the part, to be compared by equality; it is called with the lock held.
            listener: is called without the lock. It must not wait for another thread that changes the records.

        Returns:
            Ends the watch.
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
        """Return what reports the change; None if there is none. To be called with the records' lock held."""
        try:
            value = self._read()
        except Exception:
            # The change is made, and its request is not to fail.
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
                return  # a later value has been reported, which this change is part of
            self._reported = number
            try:
                self._listener(value)
            except Exception:
                # As above: whoever made the change has succeeded, whatever becomes of the report.
                logger.exception("a change of the records could not be passed on")
