"""The pytest plugin of a validation: launches the instance after the collection, and records the outcomes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.errors import PycloudlibError
from pycloudlib.validation.fixtures import LIFE
from pycloudlib.validation.life import Life
from pycloudlib.validation.verdicts import advice_of, title

if TYPE_CHECKING:
    from pluggy import Result

    from pycloudlib.validation.facts import Facts
    from pycloudlib.validation.subject import Subject

LAST = "lifecycle"
"""The group of checks that modify the instance."""

CHECKS = Path(__file__).parent / "checks"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a check.

    Args:
        group: the group of the check, from its file name, such as "console".
        title: the title of the check.
        outcome: "passed", "failed", or "skipped".
        message: the finding, or why it was skipped; empty if it passed.
        reason: why an image must pass the check.
        remedy: how to repair an image that does not.
        seconds: the duration in seconds.
    """

    group: str
    title: str
    outcome: str
    message: str
    reason: str
    remedy: str
    seconds: float


class ValidationPlugin:
    """The hooks of one validation.

    Args:
        subject: the image to launch.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._groups: set[str] = set()
        self.facts: Facts | None = None
        self.outcomes: list[Outcome] = []
        self.collection_errors: list[str] = []
        self.interrupt: BaseException | None = None
        self.error: PycloudlibError | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        """Register a marker for each built-in group, since checks use them on import."""
        for path in sorted(CHECKS.glob("test_*.py")):
            self._register(config, _group(path))

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Mark each check with its group."""
        group = _group(item.path)
        self._register(item.config, group)
        item.add_marker(group)

    def _register(self, config: pytest.Config, group: str) -> None:
        if group in self._groups:
            return
        self._groups.add(group)
        config.addinivalue_line("markers", f"{group}: the checks of this file")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record import errors, one line each."""
        if report.failed:
            self.collection_errors.append(f"{report.nodeid}: {_last_line(report.longreprtext)}")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Move the checks that modify the instance to the end, in stable order."""
        items.sort(key=lambda item: item.get_closest_marker(LAST) is not None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Launch the instance if there are checks to run."""
        if session.testsfailed or not session.items or session.config.option.collectonly:
            return None
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")

        def print_line(line: str) -> None:
            reporter.write_line(line)
            reporter.flush()

        self._subject.progress = print_line
        try:
            self.facts = self._subject.launch()
            session.config.stash[LIFE] = Life(self._subject, self.facts)
        except PycloudlibError as error:
            self.error = error
            return True
        self._subject.progress = lambda _: None
        return None

    # Use an old-style wrapper, for pluggy before 1.2.
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Result[pytest.TestReport], None]:
        """Add the reason and the remedy to a failure, and record the outcome."""
        outcome = yield
        if outcome.excinfo:
            return
        report = outcome.get_result()
        advice = advice_of(getattr(item, "obj", None))
        message = _message(report, call)
        if report.failed:
            why, remedy = f"why:    {advice.reason}", f"remedy: {advice.remedy}"
            report.longrepr = "\n".join([message, why, remedy] if advice.reason else [message])
        if report.when == "call" or not report.passed:
            group, name = _group(item.path), title(item.name)
            self.outcomes.append(
                Outcome(group, name, report.outcome, message, advice.reason, advice.remedy, report.duration)
            )

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Record Ctrl-C or SIGTERM for the caller."""
        if not isinstance(excinfo.value, pytest.Session.Interrupted):
            self.interrupt = excinfo.value


def _group(path: Path) -> str:
    return path.stem.removeprefix("test_").removesuffix("_test")


def _message(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    if not report.failed:
        return ""
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, (pytest.fail.Exception, PycloudlibError)):
        return str(error)
    return report.longreprtext


def _last_line(text: str) -> str:
    errors = [line.removeprefix("E").strip() for line in text.splitlines() if line.startswith("E ")]
    lines = errors or [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it cannot be collected"
