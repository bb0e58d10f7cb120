"""One thing done to many instances at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar


class Identified(Protocol):
    """Whatever has an id."""

    @property
    def id(self) -> str:
        """The id."""


One = TypeVar("One", bound=Identified)
T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of each, by its id, in the order of those it was done to.

    Args:
        results: what it gave back.
        errors: what it raised.
    """

    results: dict[str, T] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


def fan_out(subjects: Sequence[One], call: Callable[[One], T], *, at_once: int) -> Outcome[T]:
    """Do something to each of many; one that fails stops no other.

    Ctrl-C is raised at once; what is under way then goes on by itself.

    Args:
        subjects: each has an id.
        call: what is done to one.
        at_once: how many are at it at the same time, at most.
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

    # Daemons, and no executor: an executor's threads would hold up the exit of a user who gives up.
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
    """Let nobody begin with another one."""
    while not waiting.empty():
        try:
            waiting.get_nowait()
        except Empty:
            return


def _in_order(subjects: Sequence[One], found: dict[str, T]) -> dict[str, T]:
    return {subject.id: found[subject.id] for subject in subjects if subject.id in found}
