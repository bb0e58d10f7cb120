from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.errors import PycloudlibTimeoutError
from pycloudlib.waiting import SYSTEM_CLOCK, SystemClock, call_within, wait_until
from support.fake_clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000.0)


def true_at(attempt: int) -> Callable[[], str]:
    attempts = count(1)
    return lambda: "here" if next(attempts) == attempt else ""


def test_an_answer_at_once_needs_no_pause(clock: FakeClock) -> None:
    assert wait_until(lambda: "here", what="it", deadline=Deadline.after(5, clock)) == "here"
    assert clock.pauses == []


def test_the_first_true_answer_is_given_back(clock: FakeClock) -> None:
    assert wait_until(true_at(4), what="it", deadline=Deadline.after(5, clock), interval=1) == "here"
    assert clock.pauses == [1, 1, 1]


@pytest.mark.parametrize("false", [None, False, 0, "", [], ()])
def test_falsy_result_is_polled_again(false: object, clock: FakeClock) -> None:
    answers = iter([false, "here"])
    assert wait_until(lambda: next(answers), what="it", deadline=Deadline.after(5, clock)) == "here"


def test_pauses_grow_up_to_the_longest(clock: FakeClock) -> None:
    wait_until(true_at(6), what="it", deadline=Deadline.after(100, clock), interval=1, max_interval=3)
    assert clock.pauses == [1, 1.5, 2.25, 3, 3]


def test_jitter_shortens_pauses_within_its_limit(clock: FakeClock) -> None:
    wait_until(true_at(200), what="it", deadline=Deadline.after(1e9, clock), interval=2, jitter=0.5)
    assert all(1 <= pause <= 2 for pause in clock.pauses)
    assert len(set(clock.pauses)) > 1


def test_pauses_stay_finite_however_often_it_asks(clock: FakeClock) -> None:
    wait_until(true_at(3000), what="it", deadline=Deadline.after(1e9, clock), interval=1, max_interval=2)
    assert max(clock.pauses) == 2


def test_the_last_question_comes_when_the_time_is_over(clock: FakeClock) -> None:
    asked: list[float] = []

    def check() -> bool:
        asked.append(clock.now() - 1000)
        return False

    with pytest.raises(PycloudlibTimeoutError):
        wait_until(check, what="it", deadline=Deadline.after(5, clock), interval=2)
    assert asked == [0, 2, 4, 5]


def test_what_happens_during_the_last_pause_is_not_missed(clock: FakeClock) -> None:
    assert wait_until(lambda: clock.now() >= 1005, what="it", deadline=Deadline.after(5, clock), interval=4) is True


def test_a_timeout_of_nothing_asks_once(clock: FakeClock) -> None:
    attempts = count(1)
    with pytest.raises(PycloudlibTimeoutError):
        wait_until(lambda: next(attempts) > 1, what="it", deadline=Deadline.after(0, clock))
    assert next(attempts) == 2


def test_the_time_that_a_question_takes_counts(clock: FakeClock) -> None:
    def slow() -> None:
        clock.time += 10

    with pytest.raises(PycloudlibTimeoutError):
        wait_until(slow, what="it", deadline=Deadline.after(5, clock))
    assert clock.pauses == []


def test_timeout_contains_subject_duration_and_last_state(clock: FakeClock) -> None:
    states = iter(["pending", "stopping", "stopped", "stopped"])
    with pytest.raises(PycloudlibTimeoutError) as caught:
        wait_until(
            lambda: None,
            what="i-1 to be running",
            deadline=Deadline.after(2.5, clock),
            last_seen=lambda: next(states),
        )
    assert str(caught.value) == "waited 2.5 s for i-1 to be running; last seen: pending"
    assert (caught.value.what, caught.value.seconds, caught.value.last_seen) == ("i-1 to be running", 2.5, "pending")
    assert isinstance(caught.value, TimeoutError)


def test_timeout_without_a_state_omits_it(clock: FakeClock) -> None:
    with pytest.raises(PycloudlibTimeoutError) as caught:
        wait_until(lambda: None, what="it", deadline=Deadline.after(1, clock))
    assert (str(caught.value), caught.value.last_seen) == ("waited 1 s for it", "")


@pytest.mark.parametrize("error", [OSError("refused"), KeyboardInterrupt()])
def test_what_the_question_raises_passes_through(error: BaseException, clock: FakeClock) -> None:
    def check() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        wait_until(check, what="it", deadline=Deadline.after(5, clock))
    assert caught.value is error
    assert clock.pauses == []


def test_the_system_clock_goes_forward_by_sleeping() -> None:
    before = SYSTEM_CLOCK.now()
    SystemClock().sleep(0.001)
    assert SYSTEM_CLOCK.now() >= before + 0.001


def test_call_within_returns_and_raises_what_the_call_does() -> None:
    deadline = Deadline.after(60)
    assert call_within(lambda: "here", what="it", deadline=deadline) == "here"
    with pytest.raises(ZeroDivisionError):
        call_within(lambda: 1 / 0, what="it", deadline=deadline)


def test_call_within_stops_waiting_at_the_deadline() -> None:
    end = threading.Event()
    with pytest.raises(PycloudlibTimeoutError, match=r"waited 0\.01 s for the answer"):
        call_within(end.wait, what="the answer", deadline=Deadline.after(0.01))
    end.set()


def test_call_within_makes_the_call_itself_without_a_deadline() -> None:
    caller = call_within(threading.current_thread, what="it", deadline=Deadline.never())
    assert caller is threading.current_thread()
