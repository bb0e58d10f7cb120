"""Run an operation on many instances in parallel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar


class Identified(Protocol):
    """An object with an id."""

    @property
    def id(self) -> str:
        """The id."""


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
    waiting: SimpleQueue[One] = SimpleQueue()
    for subject in subjects:
        waiting.put(subject)
    results: dict[str, T] = {}
    errors: dict[str, Exception] = {}

    def work() -> None:
        while True:
            try:
                subject = waiting.get_nowait()
            except Empty:
                return
            try:
                results[subject.id] = call(subject)
            except Exception as error:
                errors[subject.id] = error

    # Use daemon threads: an executor's threads would delay the exit of an interrupted process.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(at_once, len(subjects)))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:
        _drop_all(waiting)
        raise
    return Outcome(_in_order(subjects, results), _in_order(subjects, errors))


def _drop_all(waiting: SimpleQueue[One]) -> None:
    """Drop the queued subjects."""
    while not waiting.empty():
        try:
            waiting.get_nowait()
        except Empty:
            return


def _in_order(subjects: Sequence[One], found: dict[str, T]) -> dict[str, T]:
    return {subject.id: found[subject.id] for subject in subjects if subject.id in found}
