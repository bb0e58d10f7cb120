"""The definition of a check: a pytest test with a reason and a remedy, and functions to fail or skip it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., object])

_ADVICE = "__pycloudlib_advice__"


@dataclass(frozen=True)
class Advice:
    """The advice of a check.

    Args:
        reason: why an image must pass the check; empty for a plain test.
        remedy: how to repair an image that does not.
    """

    reason: str = ""
    remedy: str = ""


def check(*, reason: str, remedy: str) -> Callable[[Test], Test]:
    """Turn a test into a check, whose failure shows a reason and a remedy.

    Args:
        reason: why an image must pass the check.
        remedy: how to repair an image that does not.
    """

    def decorate(test: Test) -> Test:
        # Not a pytest marker, which every importing suite would have to register.
        setattr(test, _ADVICE, Advice(reason, remedy))
        return test

    return decorate


def advice_of(test: object) -> Advice:
    """Return the advice of a test; empty if it is not a check.

    Args:
        test: the test function.
    """
    advice = getattr(test, _ADVICE, None)
    return advice if isinstance(advice, Advice) else Advice()


def fail(message: str) -> NoReturn:
    """Fail the check.

    Args:
        message: the finding, one or several lines.
    """
    pytest.fail(message, pytrace=False)


def not_applicable(why: str) -> NoReturn:
    """Skip a check that does not apply to this image or launch.

    Args:
        why: the reason, one line.
    """
    pytest.skip(why)


def title(test_name: str) -> str:
    """Return the title of a check: "test_no_failed_units[x]" becomes "no failed units [x]"."""
    name, bracket, parameters = test_name.partition("[")
    words = re.sub(r"^(test|check)_", "", name).replace("_", " ")
    return f"{words} [{parameters}" if bracket else words


def listed(found: list[str], limit: int = 8) -> str:
    """Return findings as lines of a message, truncated to stay readable.

    Args:
        found: the findings, one line each.
        limit: the maximum number of lines; default 8.
    """
    shown = [f"  {line}" for line in found[:limit]]
    more = len(found) - limit
    return "\n".join([*shown, *([f"  and {more} more"] if more > 0 else [])])
