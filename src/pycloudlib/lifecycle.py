"""What this run created, and undoing it in reverse."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from queue import Empty, SimpleQueue

from pycloudlib.errors import PycloudlibError

log = logging.getLogger(__name__)


class UndoOrder(IntEnum):
    """When a kind of resource is deleted: the highest first, because it depends on the lower ones."""

    INSTANCE = 80
    IMAGE = 70
    SNAPSHOT = 60
    VOLUME = 50
    INTERFACE = 40
    ADDRESS = 35
    SECURITY_GROUP = 30
    NETWORK = 20
    KEY_PAIR = 10


@dataclass(frozen=True)
class _Entry:
    kind: str
    resource_id: str
    undo: Callable[[], object]
    order: int


class Ledger:
    """What was created, with how to undo each of it. Any thread may use it at any time.

    Args:
        by_hand: says, given kind and id, how a user deletes it without this library; default: nothing is said.
    """

    def __init__(self, by_hand: Callable[[str, str], str] | None = None) -> None:
        self._by_hand = by_hand
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()
        self._undoing = threading.Lock()

    def record(self, kind: str, resource_id: str, undo: Callable[[], object], *, order: int) -> None:
        """Remember a resource; to be called on the line after its creation.

        Args:
            kind: in words for the user, such as "instance".
            resource_id: its id, or the name of what has no id.
            undo: deletes it, and waits until it is gone. It fails by raising, or by returning a list of exceptions.
                Called for something that is gone already, it does nothing.
            order: see UndoOrder.
        """
        with self._lock:
            self._entries[resource_id] = _Entry(kind, resource_id, undo, int(order))

    def forget(self, resource_id: str) -> None:
        """Drop a resource that is deleted, or that shall be kept; one that is not recorded is no error."""
        with self._lock:
            self._entries.pop(resource_id, None)

    def ids(self, kind: str) -> list[str]:
        """The ids of what is recorded under a kind, in the order of creation."""
        return [entry.resource_id for entry in self._all() if entry.kind == kind]

    def __contains__(self, resource_id: object) -> bool:
        with self._lock:
            return resource_id in self._entries

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def undo_all(self, max_workers: int = 16) -> list[Exception]:
        """Delete everything recorded: the highest order first, what has the same order in parallel.

        Everything is tried, whatever fails. What is deleted is forgotten; what could not be deleted stays recorded, so
        that it can be tried again. Ctrl-C does not stop the work: it is raised when the work is done. A second one is
        raised at once.

        Args:
            max_workers: how many resources are deleted at the same time, at most; default 16.

        Returns:
            What went wrong, each naming its resource; empty when nothing is left.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed meanwhile.
        """
        failures: list[Exception] = []
        try:
            _finish_in_spite_of_interrupt(lambda: self._undo_in_order(max_workers, failures))
        except KeyboardInterrupt:
            # Nobody gets the list now.
            for failure in failures:
                log.error("could not delete %s", failure)
            raise
        return failures

    def _undo_in_order(self, max_workers: int, failures: list[Exception]) -> None:
        with self._undoing:
            newest_first = reversed(self._all())
            by_order = sorted(newest_first, key=lambda entry: entry.order, reverse=True)
            for _, group in groupby(by_order, key=lambda entry: entry.order):
                failures += self._undo_group(list(group), max_workers)

    def _undo_group(self, entries: list[_Entry], max_workers: int) -> list[Exception]:
        waiting: SimpleQueue[_Entry] = SimpleQueue()
        for entry in entries:
            waiting.put(entry)
        failures: list[Exception] = []

        def work() -> None:
            for entry in _drained(waiting):
                failures.extend(self._undo(entry))

        with _helpers(work, count=min(max_workers, len(entries)) - 1):
            work()
        return failures

    def _undo(self, entry: _Entry) -> list[Exception]:
        # Something that was forgotten since, by another entry's undoing or by another thread, is not deleted twice.
        if entry.resource_id not in self:
            return []
        log.debug("deleting %s %s", entry.kind, entry.resource_id)
        errors = _errors_of(entry.undo)
        if not errors:
            self.forget(entry.resource_id)
        return [self._named(entry, error) for error in errors]

    def _named(self, entry: _Entry, error: BaseException) -> PycloudlibError:
        reason = str(error) or type(error).__name__
        message = reason if entry.resource_id in reason else f"{entry.kind} {entry.resource_id}: {reason}"
        by_hand = self._by_hand(entry.kind, entry.resource_id) if self._by_hand else ""
        named = PycloudlibError(f"{message}; by hand: {by_hand}" if by_hand else message)
        named.__cause__ = error
        return named

    def _all(self) -> list[_Entry]:
        with self._lock:
            return list(self._entries.values())


def _drained(queue: SimpleQueue[_Entry]) -> Iterator[_Entry]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return


def _errors_of(undo: Callable[[], object]) -> list[BaseException]:
    try:
        outcome = undo()
    except BaseException as error:
        # Whatever it is: in this thread nobody else would ever see it.
        return [error]
    if isinstance(outcome, (list, tuple)):
        return [item for item in outcome if isinstance(item, BaseException)]
    return []


@contextmanager
def _helpers(work: Callable[[], None], count: int) -> Iterator[None]:
    # Daemons, and no executor: an executor's threads would hold up the exit of a user who gives up.
    helpers = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    started = []
    try:
        for helper in helpers:
            helper.start()
            started.append(helper)
    except RuntimeError as error:
        log.debug("going on with %d helpers: %s", len(started), error)
    yield
    for helper in started:
        helper.join()


def _finish_in_spite_of_interrupt(work: Callable[[], None]) -> None:
    # Ctrl-C reaches the main thread only: so the work is done in another one, and the main thread just waits for it.
    crashes: list[BaseException] = []
    # Not join(): a thread whose join() was interrupted counts as ended, in Python up to 3.12.
    done = threading.Event()

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            crashes.append(error)
        finally:
            done.set()

    worker = threading.Thread(target=guarded, daemon=True)
    interrupt: KeyboardInterrupt | None = None
    while not done.is_set():
        try:
            if worker.ident is None:
                worker.start()
            done.wait()
        except KeyboardInterrupt as error:
            if interrupt:
                raise
            interrupt = error
            log.warning("interrupted; deleting what is left first. Press Ctrl-C again to give up")
    if interrupt:
        raise interrupt
    if crashes:
        raise crashes[0]
