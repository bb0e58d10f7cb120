"""The inputs of a machine, and the threads that handle them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from pycloudlib.local.machines.mailbox import LoopMailbox, ThreadMailbox

ENOUGH = 60.0


class Log:
    """What was handled; handling "last" ends the test."""

    def __init__(self, mailbox: ThreadMailbox | LoopMailbox) -> None:
        self.handled: list[str] = []
        self.threads: set[int] = set()
        self.late: list[str] = []
        self.over = threading.Event()
        self._mailbox = mailbox

    def handle(self, item: str) -> None:
        self.handled.append(item)
        self.threads.add(threading.get_ident())
        if item == "fault":
            raise ZeroDivisionError
        if item == "last":
            self.late = self._mailbox.close()
            self.over.set()


@pytest.fixture
def mailbox() -> ThreadMailbox:
    return ThreadMailbox("machine-i-1")


@pytest.fixture
def log(mailbox: ThreadMailbox) -> Log:
    return Log(mailbox)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_inputs_are_handled_in_order_by_one_thread(mailbox: ThreadMailbox, log: Log) -> None:
    mailbox.open(log.handle)
    for item in ("a", "b", "last"):
        assert mailbox.put(item)
    mailbox.join()
    assert log.handled == ["a", "b", "last"]
    assert len(log.threads) == 1
    assert threading.get_ident() not in log.threads


def test_fault_does_not_keep_the_next_input_from_being_handled(
    mailbox: ThreadMailbox, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.open(log.handle)
    mailbox.put("fault")
    mailbox.put("last")
    mailbox.join()
    assert log.handled == ["fault", "last"]
    assert "'fault' could not be handled" in caplog.text


def test_inputs_for_later_come_in_the_order_of_their_times(mailbox: ThreadMailbox, log: Log) -> None:
    mailbox.put_after(0.02, "last")
    mailbox.put_after(0.01, "b")
    mailbox.put_after(0.0, "a")
    mailbox.open(log.handle)
    mailbox.join()
    assert log.handled == ["a", "b", "last"]


def test_closed_mailbox_returns_what_was_not_handled_and_takes_no_more(mailbox: ThreadMailbox, log: Log) -> None:
    for item in ("last", "too late"):
        mailbox.put(item)
    assert mailbox.any_waiting(lambda item: item == "too late")
    mailbox.open(log.handle)
    mailbox.join()
    assert log.late == ["too late"]
    assert not mailbox.put("much too late")
    assert not mailbox.any_waiting(lambda _: True)


def test_loop_hands_inputs_over_in_order(loop: asyncio.AbstractEventLoop) -> None:
    mailbox = LoopMailbox(loop)
    log = Log(mailbox)
    mailbox.open(log.handle)
    mailbox.put_after(0.01, "last")
    assert mailbox.put("a")
    assert log.over.wait(ENOUGH)
    assert (log.handled, log.late) == (["a", "last"], [])
