"""A pytest run as seen by one process: alone, as a pytest-xdist worker, or as the controller."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.pytest_plugin.instances import Instances, Launched
from pycloudlib.pytest_plugin.kept import Kept, keep
from pycloudlib.pytest_plugin.local_run import LocalAccess, LocalRun
from pycloudlib.pytest_plugin.options import CloudOptions

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.pytest_plugin.api_calls import ApiCalls

INPUT = "pycloudlib"
"""The key of the controller's data in a worker's input."""

IN_USE = "in-use-"
"""The prefix of files in the run's directory that name the regions in use."""


@dataclass
class Run:
    """The state of the run in one process.

    Args:
        options: the options of the run.
        run_id: pytest-xdist's run id; empty without workers.
        worker_input: the controller's data; None in the controller, and without workers.
        token: the unpredictable name of the run's directory.
        stderr: the file descriptor of standard error, unaffected by pytest's capture.
        instances: the instances that were launched here.
        clouds: the EC2 sessions opened here, with their API calls.
        regions: the regions in which tests requested the cloud.
        kept: the kept instances, by id.
        unreported: the kept instances that the controller does not know yet.
        unswept: the resources that the controller could not delete at the end.
        undo: the cleanup functions of this process, called in reverse order.
        started_local: the access to the local EC2 inside which this run is; None outside.
    """

    options: CloudOptions
    run_id: str = ""
    worker_input: Mapping[str, Any] | None = None
    token: str = field(default_factory=partial(secrets.token_hex, 16))
    stderr: int = 2
    instances: Instances = field(default_factory=Instances)
    clouds: dict[EC2, ApiCalls] = field(default_factory=dict)
    regions: set[str] = field(default_factory=set)
    kept: dict[str, Kept] = field(default_factory=dict)
    unreported: list[Kept] = field(default_factory=list)
    unswept: list[str] = field(default_factory=list)
    undo: list[Callable[[], object]] = field(default_factory=list)
    started_local: LocalAccess | None = None
    _directory: Path | None = None
    _local_run: LocalRun | None = None

    @property
    def is_worker(self) -> bool:
        """Whether this process is a pytest-xdist worker."""
        return self.worker_input is not None

    @property
    def directory(self) -> Path:
        """The directory that all processes of this run on this computer share, created on first use."""
        if self._directory is None:
            token = self.worker_input[INPUT]["token"] if self.worker_input is not None else self.token
            self._directory = _shared_directory(token)
            if not self.is_worker:
                self.undo.append(self._remove_directory)
        return self._directory

    def begin_with_workers(self, run_id: str) -> None:
        """Record, in the controller, that there are workers.

        Args:
            run_id: pytest-xdist's run id.
        """
        self.run_id = run_id
        self.directory  # noqa: B018  (created now, so that this process removes it with the workers' files)

    def input_for_worker(self, local: LocalAccess) -> dict[str, Any]:
        """Return the controller's data for a worker, as strings and numbers.

        Args:
            local: the access to the local EC2.
        """
        return {"token": self.token, "local": local.to_mapping()}

    def _remove_directory(self) -> None:
        # The directory contains the key of instances that are kept on the local EC2.
        if not (self.kept and self.options.local):
            shutil.rmtree(self.directory, ignore_errors=True)

    def local_access(self) -> LocalAccess:
        """Return the access to the run's local EC2, which is started on first use."""
        if self.worker_input is not None:
            return LocalAccess.from_mapping(self.worker_input[INPUT]["local"])
        if self._local_run is None:
            self._local_run = LocalRun(self.options, self.directory, self.started_local)
            self.undo.append(self._stop_local)
        return self._local_run.access

    def _stop_local(self) -> None:
        if self._local_run is not None and not self.kept:
            self._local_run.stop()

    def note_use(self, region: str) -> None:
        """Record that a test requested the cloud. The controller learns of it, on this computer immediately.

        Args:
            region: the region.
        """
        self.regions.add(region)
        (self.directory / f"{IN_USE}{region}").touch()

    def regions_in_use(self) -> set[str]:
        """Return the regions in which tests requested the cloud, as far as this process knows."""
        files = self._directory.glob(f"{IN_USE}*") if self._directory is not None else ()
        return self.regions | {file.name.removeprefix(IN_USE) for file in files}

    def keep(self, launched: Launched) -> None:
        """Keep an instance.

        Args:
            launched: the instance.

        Raises:
            CloudError: EC2 rejected the request; the instance is not kept.
        """
        kept = keep(launched.cloud, launched.instance, self.options.sweep_arguments)
        if self.options.local:
            kept = replace(kept, delete=f"pycloudlib local stop --name {self.local_access().name}")
        self.unreported.append(kept)
        self.note_kept(kept)

    def note_kept(self, kept: Kept) -> None:
        """Record a kept instance of this process or a worker."""
        self.kept[kept.instance_id] = kept

    def take_unreported(self) -> list[dict[str, str]]:
        """Return the newly kept instances since the last call, as strings for the controller."""
        taken, self.unreported = self.unreported, []
        return [asdict(kept) for kept in taken]

    def close(self) -> None:
        """Call the cleanup functions of this process in reverse order."""
        while self.undo:
            self.undo.pop()()


def _shared_directory(token: str) -> Path:
    directory = Path(tempfile.gettempdir()) / f"pycloudlib-pytest-{token}"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


RUN = pytest.StashKey[Run]()


def run_of(config: pytest.Config) -> Run:
    """Return the run of a configuration."""
    return config.stash[RUN]
