"""The entry point: the hooks that pytest calls at startup."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from pycloudlib.pytest_plugin import options

if TYPE_CHECKING:
    from pluggy import Result


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the hooks that a suite can implement."""
    from pycloudlib.pytest_plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Move the session into a VPC, if the options say so."""
    if hasattr(config, "workerinput"):
        return
    from pycloudlib.pytest_plugin import inside

    inside.enter(config, options.read_options(config))


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, and register markers, fixtures, and reports."""
    from pycloudlib.pytest_plugin import fixtures, markers, report
    from pycloudlib.pytest_plugin.inside import INSIDE
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
        started_local=config.stash.get(INSIDE, None),
    )
    run.undo.append(lambda: os.close(run.stderr))
    config.stash[RUN] = run
    config.pluginmanager.register(fixtures, "pycloudlib-fixtures")
    if find_spec("testinfra") is not None:
        from pycloudlib.pytest_plugin import testinfra_hosts

        config.pluginmanager.register(testinfra_hosts, "pycloudlib-testinfra")
    config.pluginmanager.register(report, "pycloudlib-report")
    if worker_input is None:
        config.pluginmanager.register(Controller(run), "pycloudlib-controller")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Release the resources of the run."""
    from pycloudlib.pytest_plugin.run import RUN

    if RUN in config.stash:
        config.stash[RUN].close()


# Use an old-style wrapper: pluggy before 1.2, which pytest 7.0 may use, supports no other.
@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Result[pytest.CollectReport], None]:
    """Validate the markers of collected tests. Report an invalid one as an error of its module or class."""
    outcome = yield
    report = None if outcome.excinfo else outcome.get_result()
    if report is None or not report.passed:
        return
    from pycloudlib.pytest_plugin.markers import problems_of_markers

    problems = problems_of_markers(item for item in report.result if isinstance(item, pytest.Item))
    if problems:
        # Not a UsageError, which pytest-xdist cannot transfer.
        report.outcome, report.longrepr, report.result = "failed", "\n".join(problems), []


def _stderr() -> int:
    """Return a duplicate of standard error, from before pytest captures it."""
    return os.dup(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
