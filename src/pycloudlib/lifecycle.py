"""The ledger of created resources, which deletes them in reverse order of dependency."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from pycloudlib.deadline import Deadline
from pycloudlib.errors import IllegalStateError, PycloudlibError, PycloudlibTimeoutError
from pycloudlib.fan_out import for_each

log = logging.getLogger(__name__)

CALL_TIMEOUT = 120.0
"""Seconds for which `undo_all()` waits for create calls in flight in other threads."""

MAX_WORKERS = 16
"""Maximum number of concurrent deletions."""

WAKE_INTERVAL = 0.2
"""Maximum seconds until a waiting thread notices a signal."""


class UndoOrder(IntEnum):
    """The order of deletion by kind: the highest first, because it depends on the lower ones."""

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
class Entry:
    """A recorded resource.

    Args:
        kind: the kind in messages, such as "instance".
        resource_id: the id, or the name of a resource without an id.
        undo: deletes the resource, and waits until it is gone. On failure, it raises or returns a list of exceptions.
            It is a no-op if the resource is gone.
        order: the deletion order; see UndoOrder.
    """

    kind: str
    resource_id: str
    undo: Callable[[], object]
    order: int


class Ledger:
    """The resources that a run created, each with its deletion call. Thread-safe.

    `undo_all()` undoes or reports every resource that is recorded before it returns. While it runs, and after
    `close()`, `creating()` rejects new create calls. `undo_all()` waits for create calls already in flight, and undoes
    their resources too.

    Args:
        by_hand: returns, given a kind and an id, how a user deletes the resource without this library; default: errors
            do not say so.
    """

    def __init__(self, by_hand: Callable[[str, str], str] | None = None) -> None:
        self._by_hand = by_hand
        self._entries: dict[str, Entry] = {}
        self._in_flight: dict[str, int] = {}
        self._failed: set[str] = set()
        self._pending_undos = 0
        self._undos_begun = 0
        self._closed = False
        self._lock = threading.Lock()
        self._call_ended = threading.Condition(self._lock)
        self._undoing = threading.Lock()

    def record(self, kind: str, resource_id: str, undo: Callable[[], object], *, order: int) -> None:
        """Record a resource on the line after its creation.

        Args:
            kind: the kind in messages, such as "instance".
            resource_id: the id, or the name of a resource without an id.
            undo: deletes the resource; see Entry.
            order: the deletion order; see UndoOrder.
        """
        with self._lock:
            self._entries[resource_id] = Entry(kind, resource_id, undo, int(order))

    @contextmanager
    def creating(self, kind: str, tag: str, undo: Callable[[], object], *, order: int) -> Iterator[CreateCall]:
        """Record a create call before making it, because its response may be lost.

        The entry stays recorded until `CreateCall.created()` or `forget()` removes it.

        Args:
            kind: the kind of resource that the call may create, in messages.
            tag: the idempotency tag of the call.
            undo: finds the call's resources by that tag, and deletes them.
            order: the deletion order; see UndoOrder.

        Raises:
            IllegalStateError: the ledger is being undone, or is closed.
        """
        with self._lock:
            self._refuse_creation()
            self._entries[tag] = Entry(kind, tag, undo, int(order))
            self._in_flight[tag] = threading.get_ident()
            undos_before = self._undos_begun
        try:
            yield CreateCall(self, tag, undos_before)
        finally:
            with self._call_ended:
                self._in_flight.pop(tag, None)
                self._call_ended.notify_all()

    def forget(self, resource_id: str) -> None:
        """Drop a resource that is deleted or to be kept. No-op if it is not recorded."""
        with self._lock:
            self._entries.pop(resource_id, None)
            self._failed.discard(resource_id)

    def ids(self, kind: str) -> list[str]:
        """Return the recorded ids of a kind, in the order of creation."""
        return [entry.resource_id for entry in self._all() if entry.kind == kind]

    @property
    def has_failures(self) -> bool:
        """Whether a recorded resource could not be deleted."""
        with self._lock:
            return bool(self._failed)

    def failed_in(self, ids: Iterable[str]) -> list[str]:
        """Return the resources that could not be deleted, so that waiting for their deletion is pointless.

        Args:
            ids: the resource ids.
        """
        with self._lock:
            return [resource_id for resource_id in ids if resource_id in self._failed]

    @property
    def is_being_undone(self) -> bool:
        """Whether `undo_all()` is running."""
        with self._lock:
            return self._pending_undos > 0

    def close(self) -> None:
        """Reject later create calls; `undo_all()` still works."""
        with self._lock:
            self._closed = True

    def open(self) -> None:
        """Accept create calls again after `close()`."""
        with self._lock:
            self._closed = False

    def __contains__(self, resource_id: object) -> bool:
        with self._lock:
            return resource_id in self._entries

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def undo_all(self, max_workers: int = MAX_WORKERS, *, caller: int | None = None) -> list[Exception]:
        """Delete everything recorded: the highest order first, resources of the same order in parallel.

        Errors do not stop the work. Deleted resources are dropped; undeletable ones stay recorded for another attempt.
        Resources recorded meanwhile are deleted too. Ctrl-C does not stop the work: KeyboardInterrupt is raised when it
        is done. A second Ctrl-C raises immediately.

        Args:
            max_workers: the maximum number of concurrent deletions; default 16.
            caller: the thread on whose behalf this is called, which has no create call in flight; default the current
                thread.

        Returns:
            The errors, each naming its resource; empty if everything is deleted.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed meanwhile.
        """
        failures: list[Exception] = []
        thread = threading.get_ident() if caller is None else caller
        try:
            finish_despite_interrupt(lambda: failures.extend(self._undo_until_empty(max_workers, thread)))
        except KeyboardInterrupt:
            # The exception replaces the returned list.
            for failure in failures:
                log.error("could not delete %s", failure)
            raise
        return failures

    def _undo_until_empty(self, max_workers: int, caller: int) -> list[Exception]:
        # Refuse create calls before waiting for another undo_all(), which may take minutes.
        with self._lock:
            self._pending_undos += 1
            self._undos_begun += 1
        run = _UndoRun(max_workers, caller)
        try:
            with self._undoing:
                with self._lock:
                    self._failed.clear()
                self._wait_for_calls(caller)
                return self._undo_in_order(run)
        finally:
            if not run.is_over:
                with self._lock:
                    self._pending_undos -= 1

    def _wait_for_calls(self, caller: int) -> None:
        """Wait for other threads' create calls in flight, because their responses name the resources to delete."""
        deadline = Deadline.after(CALL_TIMEOUT)
        with self._call_ended:
            if not self._call_ended.wait_for(lambda: not self._other_calls_in_flight(caller), deadline.timeout):
                log.warning(
                    "create calls are still in flight after %g s; deleting the recorded resources first",
                    deadline.seconds,
                )

    def _undo_in_order(self, run: _UndoRun) -> list[Exception]:
        while group := self._next_group(run):
            order = group[0].order
            if run.order is not None and order > run.order:
                # Recorded late: the failed resources may depend on this one, so retry them.
                run.retry({entry.resource_id for entry in self._all() if entry.order < order})
            run.order = order
            run.tried |= {entry.resource_id for entry in group}
            run.failures.update(self._undo_group(group, run.max_workers))
        unanswered = [
            self._named(entry, PycloudlibTimeoutError("the call is still in flight; call clean() again later"))
            for entry in run.in_flight
        ]
        return [*(error for errors in run.failures.values() for error in errors), *unanswered]

    def _next_group(self, run: _UndoRun) -> list[Entry]:
        """Return the untried resources of the highest order, the newest first. Without any, end the run."""
        with self._lock:
            run.in_flight = [self._entries[tag] for tag in self._other_calls_in_flight(run.caller)]
            skipped = run.tried | {entry.resource_id for entry in run.in_flight}
            left = [entry for entry in self._entries.values() if entry.resource_id not in skipped]
            if not left:
                # Hold the lock: later resources do not belong to this run; see CreateCall.created().
                run.is_over = True
                self._pending_undos -= 1
                return []
        highest = max(entry.order for entry in left)
        return [entry for entry in reversed(left) if entry.order == highest]

    def _undo_group(self, entries: list[Entry], max_workers: int) -> dict[str, list[Exception]]:
        failures: dict[str, list[Exception]] = {}

        def undo(entry: Entry) -> None:
            errors = self._undo(entry)
            if errors:
                failures[entry.resource_id] = errors

        for_each(entries, undo, at_once=max_workers)
        return failures

    def _undo(self, entry: Entry) -> list[Exception]:
        # Another undo or thread may have deleted it meanwhile.
        if entry.resource_id not in self:
            return []
        log.debug("deleting %s %s", entry.kind, entry.resource_id)
        errors = _errors_of(entry.undo)
        if errors:
            with self._lock:
                self._failed.add(entry.resource_id)
        else:
            self.forget(entry.resource_id)
        return [self._named(entry, error) for error in errors]

    def _named(self, entry: Entry, error: BaseException) -> PycloudlibError:
        reason = str(error) or type(error).__name__
        message = reason if entry.resource_id in reason else f"{entry.kind} {entry.resource_id}: {reason}"
        by_hand = self._by_hand(entry.kind, entry.resource_id) if self._by_hand else ""
        named = PycloudlibError(f"{message}; by hand: {by_hand}" if by_hand else message)
        named.__cause__ = error
        return named

    def _all(self) -> list[Entry]:
        with self._lock:
            return list(self._entries.values())

    def _other_calls_in_flight(self, caller: int) -> list[str]:
        return [tag for tag, thread in self._in_flight.items() if thread != caller and tag in self._entries]

    def _refuse_creation(self) -> None:
        if self._pending_undos:
            raise IllegalStateError("clean() is running in another thread, so nothing can be created until it returns")
        if self._closed:
            raise IllegalStateError(
                "the 'with' block of this EC2 object has ended, so nothing would delete new resources; "
                "create a new EC2 object, or enter this one again"
            )

    def _replace(self, tag: str, entries: Iterable[Entry], undos_before: int, *, keep_call: bool) -> _Outcome:
        """Replace the entry of a create call with its resources; see `CreateCall.created()`."""
        with self._lock:
            for entry in entries:
                self._entries[entry.resource_id] = entry
            if not keep_call:
                self._entries.pop(tag, None)
            self._in_flight.pop(tag, None)
            if self._pending_undos:
                return _Outcome.UNDONE_BY_OTHERS
            return _Outcome.LATE if self._closed or self._undos_begun != undos_before else _Outcome.RECORDED


class _Outcome(Enum):
    """The fate of a resource that was just created."""

    RECORDED = 1
    UNDONE_BY_OTHERS = 2
    LATE = 3


@dataclass
class _UndoRun:
    """The state of one `undo_all()` call."""

    max_workers: int
    caller: int
    tried: set[str] = field(default_factory=set)
    failures: dict[str, list[Exception]] = field(default_factory=dict)
    in_flight: list[Entry] = field(default_factory=list)
    order: int | None = None
    is_over: bool = False

    def retry(self, candidates: Collection[str]) -> None:
        retried = self.failures.keys() & candidates
        self.tried -= retried
        self.failures = {key: errors for key, errors in self.failures.items() if key not in retried}


class CreateCall:
    """A create call in flight; see `Ledger.creating()`.

    Args:
        ledger: the ledger that records the call.
        tag: the idempotency tag of the call.
        undos_before: the number of `undo_all()` calls when the call was recorded.
    """

    def __init__(self, ledger: Ledger, tag: str, undos_before: int) -> None:
        self._ledger = ledger
        self._tag = tag
        self._undos_before = undos_before

    def created(self, entries: Iterable[Entry], *, keep_call: bool = False) -> None:
        """Record the resources of the call in place of the call.

        Args:
            entries: the created resources.
            keep_call: whether to keep the call recorded too; default no.

        Raises:
            IllegalStateError: the ledger was undone or closed since the call began. The resources are deleted: by the
                thread in `undo_all()` while it runs, or else here.
        """
        recorded = list(entries)
        outcome = self._ledger._replace(self._tag, recorded, self._undos_before, keep_call=keep_call)
        if outcome is _Outcome.RECORDED:
            return
        if outcome is _Outcome.LATE:
            for errors in self._ledger._undo_group(recorded, MAX_WORKERS).values():
                for error in errors:
                    log.error("could not delete %s", error)
        names = ", ".join(f"{entry.kind} {entry.resource_id}" for entry in recorded)
        raise IllegalStateError(f"clean() ran in another thread meanwhile, so that {names} is deleted again")


def finish_despite_interrupt(work: Callable[[], object]) -> None:
    """Run a function to its end even if Ctrl-C is pressed.

    Args:
        work: the function, which runs in another thread, because Ctrl-C interrupts only the main thread.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; raised after the function ends, or immediately when pressed again.
    """
    exceptions: list[BaseException] = []
    # Do not use join(): up to Python 3.12, an interrupted join() marks the thread as ended.
    ended = threading.Condition()
    is_over = False

    def guarded() -> None:
        nonlocal is_over
        try:
            work()
        except BaseException as error:
            exceptions.append(error)
        finally:
            with ended:
                is_over = True
                ended.notify_all()

    worker = threading.Thread(target=guarded, daemon=True)
    interrupt: KeyboardInterrupt | None = None
    while not is_over:
        try:
            if worker.ident is None:
                worker.start()
            with ended:
                # Wake up periodically: a signal just before the wait does not end it.
                ended.wait_for(lambda: is_over, WAKE_INTERVAL)
        except KeyboardInterrupt as error:
            if interrupt:
                raise
            interrupt = error
            log.warning("interrupted; deleting the remaining resources first. Press Ctrl-C again to abort")
    if interrupt:
        raise interrupt
    if exceptions:
        raise exceptions[0]


def _errors_of(undo: Callable[[], object]) -> list[BaseException]:
    try:
        outcome = undo()
    except BaseException as error:
        # Catch everything: otherwise the thread would swallow it.
        return [error]
    if isinstance(outcome, (list, tuple)):
        return [item for item in outcome if isinstance(item, BaseException)]
    return []
