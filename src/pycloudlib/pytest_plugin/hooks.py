"""The entry point: what pytest calls before anybody has asked for anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pycloudlib.pytest_plugin import options

if TYPE_CHECKING:
    from pluggy import Result


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hooks that a suite may implement."""
    from pycloudlib.pytest_plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, and add markers, fixtures and reports."""
    from pycloudlib.pytest_plugin import fixtures, markers, report
    from pycloudlib.pytest_plugin.run import RUN, Run
    from pycloudlib.pytest_plugin.workers import Controller

    for description in markers.DESCRIPTIONS:
        config.addinivalue_line("markers", description)
    worker_input = getattr(config, "workerinput", None)
    run = Run(
        options.read_options(config),
        run_id=worker_input["testrunuid"] if worker_input else "",
        worker_input=worker_input,
        stderr=_stderr(),
    )
    run.undo.append(lambda: os.close(run.stderr))
    config.stash[RUN] = run
    config.pluginmanager.register(fixtures, "pycloudlib-fixtures")
    config.pluginmanager.register(report, "pycloudlib-report")
    if worker_input is None:
        config.pluginmanager.register(Controller(run), "pycloudlib-controller")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Undo what was begun for the run."""
    from pycloudlib.pytest_plugin.run import RUN

    if RUN in config.stash:
        config.stash[RUN].close()


# pluggy before 1.2, which pytest 7.0 may run on, has no other kind of wrapper.
@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Result[pytest.CollectReport], None]:
    """Check the markers of collected tests: report a wrong one as an error of its module or class."""
    outcome = yield
    report = None if outcome.excinfo else outcome.get_result()
    if report is None or not report.passed:
        return
    from pycloudlib.pytest_plugin.markers import problems_of_markers

    problems = problems_of_markers(one for one in report.result if isinstance(one, pytest.Item))
    if problems:
        # Not a UsageError, for which pytest-xdist has no room.
        report.outcome, report.longrepr, report.result = "failed", "\n".join(problems), []


def _stderr() -> int:
    """Standard error, as it is while pytest captures nothing."""
    return os.dup(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
