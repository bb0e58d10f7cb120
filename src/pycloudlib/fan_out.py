"""Work on many items in parallel: the one pool of worker threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)


class Identified(Protocol):
    """An object with an id."""

    @property
    def id(self) -> str:
        """The id."""


Item = TypeVar("Item")
One = TypeVar("One", bound=Identified)
T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The outcome of each operation, by id, in the order of the subjects.

    Args:
        results: the return values.
        errors: the exceptions.
    """

    results: dict[str, T] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


def fan_out(subjects: Sequence[One], call: Callable[[One], T], *, at_once: int) -> Outcome[T]:
    """Run an operation on each subject in parallel. An error does not stop the other operations.

    Ctrl-C raises immediately; operations in progress then continue in the background.

    Args:
        subjects: the subjects, each with an id.
        call: the operation on one subject.
        at_once: the maximum number of concurrent operations.

    Returns:
        The results and the errors, by id.
    """
    results: dict[str, T] = {}
    errors: dict[str, Exception] = {}

    def note(subject: One) -> None:
        try:
            results[subject.id] = call(subject)
        except Exception as error:
            errors[subject.id] = error

    for_each(subjects, note, at_once=at_once)
    return Outcome(_in_order(subjects, results), _in_order(subjects, errors))


def for_each(items: Sequence[Item], work: Callable[[Item], object], *, at_once: int) -> None:
    """Work on each item in parallel, in order. If no thread can be started, this one does the work.

    Ctrl-C raises immediately; work in progress then continues in the background.

    Args:
        items: the items.
        work: the work on one item, which handles its own errors.
        at_once: the maximum number of concurrent threads.

    Raises:
        BaseException: the first exception of the work; the work on the other items completes.
    """
    waiting: SimpleQueue[Item] = SimpleQueue()
    for item in items:
        waiting.put(item)
    faults: list[BaseException] = []

    def work_on_all() -> None:
        for item in _drain(waiting):
            try:
                work(item)
            except BaseException as error:
                # Otherwise the thread would swallow it.
                faults.append(error)

    try:
        threads = _start_threads(work_on_all, min(at_once, len(items)))
        if not threads:
            for item in _drain(waiting):
                work(item)
        for thread in threads:
            thread.join()
    finally:
        # After Ctrl-C, no thread starts another item.
        list(_drain(waiting))
    if faults:
        raise faults[0]


def _start_threads(work: Callable[[], None], count: int) -> list[threading.Thread]:
    # Use daemon threads: an executor's threads would delay the exit of an interrupted process.
    started: list[threading.Thread] = []
    try:
        while len(started) < count:
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        # The thread limit is reached, or the interpreter is shutting down.
        logger.debug("continuing with %d threads: %s", len(started), error)
    return started


def _drain(queue: SimpleQueue[Item]) -> Iterator[Item]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return


def _in_order(subjects: Sequence[One], results: dict[str, T]) -> dict[str, T]:
    return {subject.id: results[subject.id] for subject in subjects if subject.id in results}
