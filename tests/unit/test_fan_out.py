from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from pycloudlib.fan_out import fan_out, for_each


@dataclass(frozen=True)
class Thing:
    id: str


THINGS = [Thing(f"i-{number}") for number in range(20)]


def test_results_go_by_id_in_the_order_of_the_subjects() -> None:
    outcome = fan_out(THINGS, lambda thing: thing.id.upper(), at_once=4)
    assert list(outcome.results.items()) == [(thing.id, thing.id.upper()) for thing in THINGS]
    assert outcome.errors == {}


def test_one_that_fails_stops_no_other() -> None:
    def call(thing: Thing) -> str:
        if thing.id in ("i-3", "i-7"):
            raise ValueError(thing.id)
        return thing.id

    outcome = fan_out(THINGS, call, at_once=3)
    assert list(outcome.errors) == ["i-3", "i-7"]
    assert len(outcome.results) == 18


def test_as_many_are_at_it_as_may_be() -> None:
    together = threading.Barrier(4)
    outcome = fan_out(THINGS, lambda _: together.wait(timeout=30) is not None, at_once=4)
    assert all(outcome.results.values())
    assert outcome.errors == {}


def test_no_more_are_at_it_than_may_be() -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def call(_: Thing) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        with lock:
            busy -= 1

    fan_out(THINGS, call, at_once=2)
    assert most <= 2


def test_nothing_to_do_is_done() -> None:
    assert fan_out([], lambda thing: thing, at_once=4).results == {}


def test_ctrl_c_is_raised_at_once_and_nobody_begins_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    go_on = threading.Event()

    def call(thing: Thing) -> None:
        go_on.wait(timeout=30)
        done.append(thing.id)

    def interrupted(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    join = threading.Thread.join
    before = set(threading.enumerate())
    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fan_out(THINGS, call, at_once=2)
    monkeypatch.undo()
    go_on.set()
    for thread in set(threading.enumerate()) - before:
        join(thread, timeout=30)
    assert len(done) <= 2


def test_caller_works_if_no_thread_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[tuple[str, threading.Thread]] = []
    for_each(THINGS, lambda thing: done.append((thing.id, threading.current_thread())), at_once=4)
    assert done == [(thing.id, threading.current_thread()) for thing in THINGS]


def test_fault_is_raised_after_all_items() -> None:
    done: list[str] = []

    def work(thing: Thing) -> None:
        if thing.id == "i-3":
            raise ZeroDivisionError
        done.append(thing.id)

    with pytest.raises(ZeroDivisionError):
        for_each(THINGS, work, at_once=4)
    assert len(done) == len(THINGS) - 1
