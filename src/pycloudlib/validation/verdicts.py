"""What makes a pytest test a check of an image: a reason and a remedy, and how it says that it failed."""

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
    """What a check tells beside what it found.

    Args:
        reason: why an image has to pass it; empty for a plain test.
        remedy: what to do about an image that does not.
    """

    reason: str = ""
    remedy: str = ""


def check(*, reason: str, remedy: str) -> Callable[[Test], Test]:
    """Make a test a check: its failure tells why it matters and what to do.

    Args:
        reason: why an image has to pass it.
        remedy: what to do about an image that does not.
    """

    def decorate(test: Test) -> Test:
        # No marker of pytest's, which would have to be made known wherever such a module is imported.
        setattr(test, _ADVICE, Advice(reason, remedy))
        return test

    return decorate


def advice_of(test: object) -> Advice:
    """What a test tells beside what it found; nothing, if it is no check.

    Args:
        test: the function.
    """
    found = getattr(test, _ADVICE, None)
    return found if isinstance(found, Advice) else Advice()


def fail(message: str) -> NoReturn:
    """Say what is wrong with the image.

    Args:
        message: what was found, in one line or several.
    """
    pytest.fail(message, pytrace=False)


def not_applicable(why: str) -> NoReturn:
    """Skip a check that says nothing about this image, or about this launch of it.

    Args:
        why: in one line.
    """
    pytest.skip(why)


def title(test_name: str) -> str:
    """The name of a check as it is shown: "test_no_failed_units[x]" is "no failed units [x]"."""
    name, bracket, parameters = test_name.partition("[")
    words = re.sub(r"^(test|check)_", "", name).replace("_", " ")
    return f"{words} [{parameters}" if bracket else words


def listed(found: list[str], limit: int = 8) -> str:
    """Lines of a message: what was found, not more than can be read.

    Args:
        found: one line each.
        limit: how many are shown; default 8.
    """
    shown = [f"  {line}" for line in found[:limit]]
    more = len(found) - limit
    return "\n".join([*shown, *([f"  and {more} more"] if more > 0 else [])])
