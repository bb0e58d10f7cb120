from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from operator import gt

import pytest

from pycloudlib.errors import CleanupError, CloudError, PycloudlibError
from pycloudlib.lifecycle import Ledger, UndoOrder

PATIENCE = 30.0
"""Seconds after which a test that would hang fails."""


class Undone:
    """Remembers what was undone, in order."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def undo(self, resource_id: str) -> Callable[[], None]:
        return lambda: self.ids.append(resource_id)


def failing(error: BaseException) -> Callable[[], None]:
    def undo() -> None:
        raise error

    return undo


def test_what_is_recorded_is_known_in_the_order_of_creation() -> None:
    ledger = Ledger()
    for name in ("i-2", "i-1"):
        ledger.record("instance", name, lambda: None, order=UndoOrder.INSTANCE)
    ledger.record("key pair", "k", lambda: None, order=UndoOrder.KEY_PAIR)
    assert ledger.ids("instance") == ["i-2", "i-1"]
    assert ledger.ids("volume") == []
    assert "i-1" in ledger
    assert len(ledger) == 3


def test_what_is_forgotten_is_not_undone() -> None:
    ledger, undone = Ledger(), Undone()
    ledger.record("instance", "i-1", undone.undo("i-1"), order=UndoOrder.INSTANCE)
    ledger.forget("i-1")
    ledger.forget("never recorded")
    assert "i-1" not in ledger
    assert ledger.undo_all() == []
    assert undone.ids == []


def test_the_highest_order_is_undone_first_whatever_was_created_first() -> None:
    ledger, undone = Ledger(), Undone()
    for order in (UndoOrder.KEY_PAIR, UndoOrder.INSTANCE, UndoOrder.NETWORK, UndoOrder.IMAGE):
        ledger.record("thing", order.name, undone.undo(order.name), order=order)
    assert ledger.undo_all() == []
    assert undone.ids == ["INSTANCE", "IMAGE", "NETWORK", "KEY_PAIR"]


def test_what_has_the_same_order_is_undone_newest_first() -> None:
    ledger, undone = Ledger(), Undone()
    for name in ("a", "b", "c"):
        ledger.record("thing", name, undone.undo(name), order=1)
    ledger.undo_all(max_workers=1)
    assert undone.ids == ["c", "b", "a"]


def test_the_orders_are_those_of_dependency() -> None:
    order = UndoOrder
    depending_first = [
        order.INSTANCE,
        order.IMAGE,
        order.SNAPSHOT,
        order.VOLUME,
        order.INTERFACE,
        order.ADDRESS,
        order.SECURITY_GROUP,
        order.NETWORK,
        order.KEY_PAIR,
    ]
    assert set(depending_first) == set(order)
    assert all(gt(*pair) for pair in pairwise(depending_first))


def test_what_has_the_same_order_is_undone_in_parallel() -> None:
    ledger, everybody = Ledger(), threading.Barrier(5)
    for number in range(5):
        ledger.record("instance", f"i-{number}", lambda: everybody.wait(PATIENCE), order=UndoOrder.INSTANCE)
    assert ledger.undo_all() == []


def test_no_more_than_the_workers_allowed_are_busy_at_once() -> None:
    ledger, lock, busy, most = Ledger(), threading.Lock(), [0], [0]
    pair = threading.Barrier(2)

    def undo() -> None:
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        pair.wait(PATIENCE)
        with lock:
            busy[0] -= 1

    for number in range(6):
        ledger.record("instance", f"i-{number}", undo, order=1)
    assert ledger.undo_all(max_workers=2) == []
    assert most == [2]


def test_a_lower_order_begins_when_the_higher_one_is_done() -> None:
    ledger, done, seen = Ledger(), Undone(), []
    for number in range(4):
        ledger.record("instance", f"i-{number}", done.undo(f"i-{number}"), order=UndoOrder.INSTANCE)
    ledger.record("network", "vpc-1", lambda: seen.append(len(done.ids)), order=UndoOrder.NETWORK)
    ledger.undo_all()
    assert seen == [4]


def test_everything_is_tried_and_every_failure_names_its_resource() -> None:
    ledger, undone = Ledger(), Undone()
    refusal = CloudError("in use", code="DependencyViolation")
    ledger.record("instance", "i-1", failing(refusal), order=UndoOrder.INSTANCE)
    ledger.record("instance", "i-2", undone.undo("i-2"), order=UndoOrder.INSTANCE)
    ledger.record("network", "vpc-1", failing(ValueError()), order=UndoOrder.NETWORK)
    ledger.record("key pair", "k", undone.undo("k"), order=UndoOrder.KEY_PAIR)
    errors = ledger.undo_all()
    assert undone.ids == ["i-2", "k"]
    assert [str(error) for error in errors] == ["instance i-1: in use", "network vpc-1: ValueError"]
    assert all(isinstance(error, PycloudlibError) for error in errors)
    assert errors[0].__cause__ is refusal
    assert "2 resources could not be deleted:\n  instance i-1: in use\n" in str(CleanupError(errors))


def test_a_failure_that_names_its_resource_already_does_not_name_it_twice() -> None:
    ledger = Ledger()
    ledger.record("instance", "i-1", failing(CloudError("i-1 is protected")), order=1)
    assert [str(error) for error in ledger.undo_all()] == ["i-1 is protected"]


def test_returned_exceptions_are_failures_too() -> None:
    ledger = Ledger()
    ledger.record("instance", "i-1", lambda: [CloudError("no"), CloudError("never")], order=1)
    ledger.record("instance", "i-2", list, order=1)
    assert {str(error) for error in ledger.undo_all()} == {"instance i-1: no", "instance i-1: never"}
    assert ledger.ids("instance") == ["i-1"]


def test_an_exit_inside_an_undoing_is_a_failure_like_any_other() -> None:
    ledger, undone = Ledger(), Undone()
    ledger.record("instance", "i-1", failing(SystemExit("stop")), order=2)
    ledger.record("network", "vpc-1", undone.undo("vpc-1"), order=1)
    assert [str(error) for error in ledger.undo_all()] == ["instance i-1: stop"]
    assert undone.ids == ["vpc-1"]


def test_what_failed_stays_and_is_tried_again() -> None:
    ledger, answers = Ledger(), iter([[CloudError("not yet")], []])
    ledger.record("instance", "i-1", lambda: next(answers), order=1)
    assert len(ledger.undo_all()) == 1
    assert "i-1" in ledger
    assert ledger.undo_all() == []
    assert "i-1" not in ledger


def test_undoing_twice_does_everything_once() -> None:
    ledger, undone = Ledger(), Undone()
    ledger.record("instance", "i-1", undone.undo("i-1"), order=1)
    assert ledger.undo_all() == []
    assert ledger.undo_all() == []
    assert undone.ids == ["i-1"]


def test_two_threads_that_undo_at_once_do_everything_once() -> None:
    ledger, undone, start = Ledger(), Undone(), threading.Barrier(2)

    def undo_all() -> None:
        start.wait(PATIENCE)
        ledger.undo_all()

    for number in range(20):
        ledger.record("instance", f"i-{number}", undone.undo(f"i-{number}"), order=number % 3)
    threads = [threading.Thread(target=undo_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(undone.ids) == sorted(f"i-{number}" for number in range(20))


def test_an_undoing_may_forget_itself_and_what_went_with_it() -> None:
    ledger, undone = Ledger(), Undone()

    def delete_network() -> None:
        ledger.forget("vpc-1")
        ledger.forget("sg-1")

    ledger.record("network", "vpc-1", delete_network, order=2)
    ledger.record("security group", "sg-1", undone.undo("sg-1"), order=1)
    assert ledger.undo_all() == []
    assert undone.ids == []


def test_undoing_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    ledger = Ledger()
    for number in range(8):
        ledger.record("instance", f"i-{number}", lambda: None, order=1)
    ledger.undo_all()
    assert threading.active_count() == before


def test_without_further_threads_everything_is_undone_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def start_from_the_main_thread_only(thread: threading.Thread) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_from_the_main_thread_only)
    ledger, undone = Ledger(), Undone()
    for name in ("a", "b", "c"):
        ledger.record("thing", name, undone.undo(name), order=1)
    assert ledger.undo_all() == []
    assert undone.ids == ["c", "b", "a"]


def test_a_fault_of_the_undoing_itself_is_raised() -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    ledger = Ledger()
    ledger.record("thing", "a", failing(UnspeakableError()), order=1)
    with pytest.raises(ZeroDivisionError):
        ledger.undo_all(max_workers=1)


# Ctrl-C


@pytest.fixture
def interruption_seen() -> Iterator[threading.Event]:
    """Set when the main thread has taken notice of Ctrl-C."""
    seen = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "interrupted" in record.getMessage():
                seen.set()

    handler, logger = Handler(), logging.getLogger("pycloudlib.lifecycle")
    logger.addHandler(handler)
    yield seen
    logger.removeHandler(handler)


def press_ctrl_c() -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)


def test_ctrl_c_is_raised_after_the_remaining_work_is_done(
    interruption_seen: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, undone = Ledger(), Undone()

    def interrupted() -> list[Exception]:
        press_ctrl_c()
        assert interruption_seen.wait(PATIENCE)
        return [CloudError("still there")]

    ledger.record("instance", "i-1", interrupted, order=UndoOrder.INSTANCE)
    ledger.record("network", "vpc-1", undone.undo("vpc-1"), order=UndoOrder.NETWORK)
    with pytest.raises(KeyboardInterrupt):
        ledger.undo_all()
    assert undone.ids == ["vpc-1"]
    assert "could not delete instance i-1: still there" in caplog.messages


def test_a_second_ctrl_c_gives_up_at_once(interruption_seen: threading.Event) -> None:
    ledger, given_up, undone = Ledger(), threading.Event(), Undone()

    def interrupted_twice() -> None:
        press_ctrl_c()
        assert interruption_seen.wait(PATIENCE)
        press_ctrl_c()
        assert given_up.wait(PATIENCE)

    ledger.record("instance", "i-1", interrupted_twice, order=2)
    ledger.record("network", "vpc-1", undone.undo("vpc-1"), order=1)
    with pytest.raises(KeyboardInterrupt):
        ledger.undo_all()
    assert "i-1" in ledger
    given_up.set()
    assert ledger.undo_all() == []
    assert undone.ids == ["vpc-1"]
