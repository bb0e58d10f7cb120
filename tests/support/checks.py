"""The checks of images, applied to facts that were recorded from a real machine and then broken on purpose."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest

from pycloudlib.guest.probes import ProbeResult
from pycloudlib.validation.facts import Facts
from pycloudlib.validation.plugin import CHECKS
from pycloudlib.validation.verdicts import Advice, advice_of

GOOD_IMAGE = Path(__file__).parent / "good_image.json"
"""What a machine of the default image told: `pycloudlib validate bookworm --local --save-facts`."""


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: its group and its name, as pytest shows it.
        test: the test itself.
    """

    name: str
    test: Callable[..., None]

    @property
    def advice(self) -> Advice:
        """Its reason and its remedy."""
        return advice_of(self.test)

    @property
    def takes(self) -> str:
        """The one fixture that it takes."""
        (name,) = inspect.signature(self.test).parameters
        return name


def modules() -> Iterator[ModuleType]:
    for path in sorted(CHECKS.glob("test_*.py")):
        yield importlib.import_module(f"pycloudlib.validation.checks.{path.stem}")


def all_checks() -> list[Check]:
    return [
        Check(f"{module.__name__.rpartition('.test_')[2]}::{name.removeprefix('test_')}", test)
        for module in modules()
        for name, test in vars(module).items()
        if name.startswith("test_") and callable(test) and test.__module__ == module.__name__
    ]


def good_facts() -> Facts:
    return Facts.from_json(GOOD_IMAGE.read_text())


def told(facts: Facts, **texts: str | ProbeResult) -> Facts:
    """The same facts with other answers."""
    changed: Mapping[str, ProbeResult] = {
        name: text if isinstance(text, ProbeResult) else ProbeResult(text) for name, text in texts.items()
    }
    assert set(changed) <= set(facts.answers)
    return replace(facts, answers={**facts.answers, **changed})


def outcome(check: Check, subject: object) -> str:
    """What comes of a check: nothing, or "failed: ..." or "skipped: ..."."""
    try:
        check.test(subject)
    except pytest.fail.Exception as failure:
        return f"failed: {failure}"
    except pytest.skip.Exception as skip:
        return f"skipped: {skip}"
    return ""


def failures(facts: Facts) -> dict[str, str]:
    """The checks of facts that fail, with what they say."""
    found = {check.name: outcome(check, facts) for check in all_checks() if check.takes == "facts"}
    return {name: text for name, text in found.items() if text.startswith("failed: ")}
