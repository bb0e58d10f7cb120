"""Run the checks with pytest in this process, isolated from the user's own pytest settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pycloudlib.errors import InvalidArgumentError, PycloudlibError
from pycloudlib.validation import fixtures
from pycloudlib.validation.facts import Facts
from pycloudlib.validation.plugin import CHECKS, Outcome, ValidationPlugin
from pycloudlib.validation.subject import Subject

SETTINGS = Path(__file__).parent / "pytest.ini"

FOREIGN = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "CI", "BUILD_NUMBER")
"""Variables for the user's own tests. With CI set, pytest would print each failure twice."""


@dataclass(frozen=True)
class Selection:
    """The selection of checks.

    Args:
        keywords: an expression for pytest's -k; default all.
        markers: an expression for pytest's -m; default all.
        directories: the directories of further checks; default none.
    """

    keywords: str = ""
    markers: str = ""
    directories: Sequence[Path] = field(default=())


@dataclass(frozen=True)
class Validation:
    """The result of a validation.

    Args:
        facts: the findings about the instance.
        outcomes: the outcome of each check, in the order of execution.
    """

    facts: Facts
    outcomes: tuple[Outcome, ...]

    def count(self, outcome: str) -> int:
        """Return the number of checks with an outcome: "passed", "failed", or "skipped"."""
        return sum(result.outcome == outcome for result in self.outcomes)


def validate(subject: Subject, selection: Selection, *, junit: Path | None = None) -> Validation:
    """Run the checks on an instance of the image, printing the outcomes like pytest.

    Args:
        subject: the image to launch.
        selection: the selection of checks.
        junit: the path of a JUnit report; default none.

    Raises:
        InvalidArgumentError: no check matches, or one cannot be imported.
        PycloudlibError: the launch failed.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    plugin = ValidationPlugin(subject)
    arguments = _arguments(selection, junit)
    with _without_user_settings(), _inside(CHECKS):
        status = pytest.main(arguments, plugins=[plugin, fixtures])
    if plugin.interrupt is not None:
        raise plugin.interrupt
    if plugin.error is not None:
        raise plugin.error
    if plugin.collection_errors:
        raise InvalidArgumentError(f"a check cannot be imported: {'; '.join(plugin.collection_errors)}")
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise InvalidArgumentError("no check matches -k and -m")
    if status == pytest.ExitCode.INTERNAL_ERROR:
        raise PycloudlibError("pytest failed with an internal error; see its output above")
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or plugin.facts is None:
        raise InvalidArgumentError("pytest rejected its arguments; see its output above")
    return Validation(plugin.facts, tuple(plugin.outcomes))


def _arguments(selection: Selection, junit: Path | None) -> list[str]:
    return [
        *("-c", str(SETTINGS), "--rootdir", str(CHECKS), "--confcutdir", str(CHECKS)),
        *("-p", "no:cacheprovider", "--import-mode=importlib", "--no-header", "-v", "-rfEs"),
        *(["-k", selection.keywords] if selection.keywords else []),
        *(["-m", selection.markers] if selection.markers else []),
        *([f"--junit-xml={junit.absolute()}", "-o", "junit_suite_name=validation"] if junit else []),
        str(CHECKS),
        *(str(directory.absolute()) for directory in selection.directories),
    ]


@contextmanager
def _inside(directory: Path) -> Iterator[None]:
    """Change the working directory while the context is active: pytest names tests relative to it."""
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _without_user_settings() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in FOREIGN if name in os.environ}
    loading = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        os.environ.update(kept)
        if loading is None:
            del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        else:
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = loading
