"""The pytest plugin of a validation: it launches the machine once checks are collected, and takes down outcomes."""

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
"""The group of checks that leave the machine another one than it was."""

CHECKS = Path(__file__).parent / "checks"


@dataclass(frozen=True)
class Outcome:
    """What came of a check.

    Args:
        group: its file, such as "console".
        title: its name, in words.
        outcome: "passed", "failed" or "skipped".
        message: what was found, or why it was skipped; empty when it passed.
        reason: why an image has to pass it.
        remedy: what to do about one that does not.
        seconds: how long it took.
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
        subject: the machine to be launched.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.facts: Facts | None = None
        self.outcomes: list[Outcome] = []
        self.collection_errors: list[str] = []
        self.interrupt: BaseException | None = None
        self.error: PycloudlibError | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        """Let the markers be known: one for each group."""
        for path in sorted(CHECKS.glob("test_*.py")):
            config.addinivalue_line("markers", f"{_group(path)}: the checks of this file")

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Mark each check with its group."""
        item.add_marker(_group(item.path))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take down what cannot be imported, in one line each."""
        if report.failed:
            self.collection_errors.append(f"{report.nodeid}: {_last_line(report.longreprtext)}")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let what changes the machine come last; the rest stays in its order."""
        items.sort(key=lambda item: item.get_closest_marker(LAST) is not None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Launch the machine when there is something to check."""
        if session.testsfailed or not session.items or session.config.option.collectonly:
            return None
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")

        def tell(line: str) -> None:
            reporter.write_line(line)
            reporter.flush()

        self._subject.progress = tell
        try:
            self.facts = self._subject.launch()
            session.config.stash[LIFE] = Life(self._subject, self.facts)
        except PycloudlibError as error:
            self.error = error
            return True
        self._subject.progress = lambda _: None
        return None

    # An old-style wrapper, for pluggy before 1.2.
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Result[pytest.TestReport], None]:
        """Let a failure tell its reason and its remedy, and take the outcome down."""
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
        """Keep Ctrl-C and SIGTERM apart for whoever started this."""
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
