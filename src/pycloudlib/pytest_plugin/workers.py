"""The controller of a run with pytest-xdist workers: sends them data, and sweeps their resources."""

from __future__ import annotations

from typing import Any

import pytest

from pycloudlib.errors import CloudSetupError, PycloudlibError
from pycloudlib.interrupts import cleaning_up_once
from pycloudlib.pytest_plugin.clouds import advice, is_unconfigured, open_cloud
from pycloudlib.pytest_plugin.local_run import LocalAccess
from pycloudlib.pytest_plugin.report import process_report
from pycloudlib.pytest_plugin.run import INPUT, Run

TOO_FAR = (
    "the local EC2 listens on this host only, and the worker {worker} runs on another host: "
    "use AWS, or an endpoint that both reach, for workers on other hosts"
)


class Controller:
    """The hooks of the controller; no-ops without workers.

    Args:
        run: the controller's run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._remote: set[str] = set()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Send a worker the access to the local EC2, which is started for the first worker."""
        run = self._run
        if not run.run_id:
            run.begin_with_workers(node.workerinput["testrunuid"])
            self._handle_signals()
        is_remote = not node.gateway.spec.popen
        if is_remote:
            self._remote.add(node.gateway.id)
        access = self._local_access(node.gateway.id, is_remote=is_remote)
        node.workerinput[INPUT] = run.input_for_worker(access)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """Record that a worker exited normally, and has reported everything."""
        if error is None:
            self._remote.discard(node.gateway.id)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Process a worker's report."""
        process_report(self._run, report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Sweep the run after the last worker; fail the run if resources could not be deleted."""
        run = self._run
        if not run.run_id or (run.options.local and not run.kept):
            return
        regions = run.regions_in_use()
        if regions:
            for region in sorted(regions):
                self._sweep(region)
        elif self._remote:
            # A remote worker died without a report, so it may have created resources.
            self._sweep(None)
        if run.unswept and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _handle_signals(self) -> None:
        handlers = cleaning_up_once(
            advice(self._run), is_needed=lambda: bool(self._run.regions_in_use()), stderr=self._run.stderr
        )
        handlers.__enter__()
        self._run.undo.append(lambda: handlers.__exit__(None, None, None))

    def _local_access(self, worker: str, *, is_remote: bool) -> LocalAccess:
        if not self._run.options.local:
            return LocalAccess()
        return LocalAccess(error=TOO_FAR.format(worker=worker)) if is_remote else self._run.local_access()

    def _sweep(self, region: str | None) -> None:
        run = self._run
        try:
            report = open_cloud(run, region).sweep(run=f"{run.run_id}-", owner="any", dry_run=False)
        except PycloudlibError as error:
            if region is None and isinstance(error, CloudSetupError) and is_unconfigured(error):
                return
            run.unswept.append(f"the run could not be swept: {error}; try again: {advice(run)}")
            return
        run.unswept += [f"not deleted: {orphan}" for orphan in report.left] + [
            f"lookup failed: {error}" for error in report.errors
        ]
