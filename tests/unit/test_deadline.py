from __future__ import annotations

import math

import pytest

from pycloudlib.deadline import SYSTEM_CLOCK, Deadline
from pycloudlib.errors import InvalidArgumentError
from support.fake_clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


def test_deadline_counts_down_and_stops_at_zero(clock: FakeClock) -> None:
    deadline = Deadline.after(10, clock)
    clock.sleep(4)
    assert (deadline.remaining, deadline.timeout, deadline.has_passed) == (6, 6, False)
    clock.sleep(7)
    assert (deadline.remaining, deadline.timeout, deadline.has_passed) == (0, 0, True)


@pytest.mark.parametrize("seconds", [0, -5])
def test_deadline_without_time_has_passed(seconds: float, clock: FakeClock) -> None:
    assert Deadline.after(seconds, clock).has_passed


@pytest.mark.parametrize("seconds", ["5", True, math.nan, [5]])
def test_deadline_refuses_what_is_no_number(seconds: object) -> None:
    with pytest.raises(InvalidArgumentError, match="it must be a number of seconds"):
        Deadline.after(seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [math.inf, 1e30])
def test_deadline_beyond_all_patience_never_passes(seconds: float) -> None:
    assert Deadline.after(seconds).timeout is None


@pytest.mark.parametrize("make", [Deadline.never, lambda clock: Deadline.after(None, clock)])
def test_deadline_never_passes(make: object, clock: FakeClock) -> None:
    assert callable(make)
    deadline = make(clock)
    clock.sleep(1e9)
    assert (deadline.has_passed, deadline.remaining, deadline.timeout) == (False, math.inf, None)


def test_at_most_shortens_but_never_extends(clock: FakeClock) -> None:
    deadline = Deadline.after(10, clock)
    assert deadline.at_most(3).remaining == 3
    assert deadline.at_most(3).seconds == 3
    clock.sleep(8)
    assert deadline.at_most(3) is deadline
    assert Deadline.never(clock).at_most(3).timeout == 3


def test_system_clock_moves_forward() -> None:
    before = SYSTEM_CLOCK.now()
    SYSTEM_CLOCK.sleep(0.001)
    assert SYSTEM_CLOCK.now() > before
