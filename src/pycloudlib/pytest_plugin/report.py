"""Reports on instances: the location of logs, JUnit properties, and kept instances."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.errors import PycloudlibError
from pycloudlib.pytest_plugin import fixtures
from pycloudlib.pytest_plugin.instances import Launched
from pycloudlib.pytest_plugin.kept import Kept
from pycloudlib.pytest_plugin.logs import collect, directory_of
from pycloudlib.pytest_plugin.run import Run, run_of

if TYPE_CHECKING:
    from pluggy import Result

PREPARE = "pytest_cloud_prepare_image"
"""The suite's hook, whose errors may be the suite's own."""
SECTION = "cloud logs"
KEPT = "pycloudlib_kept"
"""The report attribute with the instances that a worker kept, for the controller."""
USED = "pycloudlib_regions"
"""The report attribute with the regions that a worker uses, for the controller."""


@dataclass
class Reported:
    """The data that was already reported for a test.

    Args:
        properties: the instances whose properties are in the report.
        logs: the instances whose logs have been collected.
    """

    properties: set[str] = field(default_factory=set)
    logs: set[str] = field(default_factory=set)


REPORTED = pytest.StashKey[Reported]()


# Use an old-style wrapper: see hooks.py.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Result[pytest.TestReport], None]:
    """Add the data of the test's instances to a report."""
    run = run_of(item.config)
    used = run.instances.used_by(item, run.clouds)
    reported = item.stash.setdefault(REPORTED, Reported())
    _add_properties(item, used, reported)
    outcome = yield
    if outcome.excinfo:
        return
    report = outcome.get_result()
    _shorten(item, call, report)
    _add_logs(run, item, report, used, reported)
    _send_to_controller(run, report)


def _shorten(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Reduce an error of this plugin's fixtures to its message: the library's frames do not help the suite."""
    excinfo = call.excinfo
    if excinfo is None or call.when != "setup" or item.config.getoption("fulltrace"):
        return
    frames = [(entry.frame.code.raw.co_filename, entry.name) for entry in excinfo.traceback]
    is_ours = isinstance(excinfo.value, PycloudlibError) and any(path == fixtures.__file__ for path, _ in frames)
    if is_ours and not any(name == PREPARE for _, name in frames):
        report.longrepr = excinfo.getrepr(style="value", chain=False)


def _add_properties(item: pytest.Item, used: list[Launched], reported: Reported) -> None:
    for launched in used:
        instance = launched.instance
        if instance.id in reported.properties:
            continue
        reported.properties.add(instance.id)
        item.user_properties += [
            ("cloud_instance_id", instance.id),
            ("cloud_image", instance.image_id),
            ("cloud_instance_type", instance.instance_type),
            ("cloud_region", launched.cloud.region),
        ]
        if instance.timeline.ready is not None:
            item.user_properties.append(("cloud_seconds_to_ready", str(instance.timeline.ready)))


def _add_logs(run: Run, item: pytest.Item, report: pytest.TestReport, used: list[Launched], reported: Reported) -> None:
    if report.failed:
        for launched in used:
            launched.failed = True
    is_over = report.when == "call" or report.failed
    if not is_over or not run.options.logs.applies(failed=report.failed):
        return
    directory = run.options.logs_dir / directory_of(item.nodeid)
    lines: list[str] = []
    for launched in used:
        if launched.instance.id in reported.logs or launched.instance.deletion_requested:
            continue
        reported.logs.add(launched.instance.id)
        folder = directory / launched.instance.id
        calls = run.clouds.get(launched.cloud)
        notes = collect(launched, folder, calls.of(launched.instance.id) if calls else ())
        lines += [f"{launched.instance.id}: {folder}", *(f"    not collected: {note}" for note in notes)]
    if lines:
        report.sections.append((SECTION, "\n".join(lines)))
        if ("cloud_logs", str(directory)) not in item.user_properties:
            item.user_properties.append(("cloud_logs", str(directory)))


def _send_to_controller(run: Run, report: pytest.TestReport) -> None:
    if run.is_worker:
        setattr(report, KEPT, run.take_unreported())
        setattr(report, USED, sorted(run.regions))


def process_report(run: Run, report: Any) -> None:
    """Process a worker's report in the controller.

    Args:
        run: the controller's run.
        report: the report of a test.
    """
    run.regions |= set(getattr(report, USED, ()))
    for kept in getattr(report, KEPT, ()):
        run.note_kept(Kept(**kept))


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the kept instances, and the resources that could not be swept."""
    run = run_of(config)
    if run.kept:
        terminalreporter.section("kept instances")
        for instance in run.kept.values():
            terminalreporter.write_line(str(instance))
    if run.unswept:
        terminalreporter.section("cloud", red=True)
        for line in run.unswept:
            terminalreporter.write_line(line)
