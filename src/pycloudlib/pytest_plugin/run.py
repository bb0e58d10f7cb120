"""One run of pytest, as one process sees it: alone, as a worker of pytest-xdist, or as the controller of workers."""

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
"""What the controller sends to a worker stands under this key."""

IN_USE = "in-use-"
"""How the names of the files in the run's directory begin that tell in which regions tests have asked for the cloud."""


@dataclass
class Run:
    """What one process knows of the run.

    Args:
        options: what the run wants.
        run_id: what pytest-xdist calls the run; empty without workers.
        worker_input: what the controller sent; None in the controller, and without workers.
        token: names the directory of the run, so that nobody else can guess it.
        stderr: the file descriptor of standard error, whatever pytest captures.
        instances: those that were launched here.
        clouds: what is open here, and what was asked of it.
        regions: where tests have asked for the cloud.
        kept: the instances that live on, by id.
        unreported: those of them that the controller does not know of yet.
        unswept: what the controller could not delete in the end.
        undo: what is to be done at the end of this process, the latest first.
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
    _directory: Path | None = None
    _local_run: LocalRun | None = None

    @property
    def is_worker(self) -> bool:
        """Whether this is a worker of pytest-xdist."""
        return self.worker_input is not None

    @property
    def directory(self) -> Path:
        """A directory that all processes of this run on this computer share; made when it is first asked for."""
        if self._directory is None:
            token = self.worker_input[INPUT]["token"] if self.worker_input is not None else self.token
            self._directory = _shared_directory(token)
            if not self.is_worker:
                self.undo.append(self._remove_directory)
        return self._directory

    def begin_with_workers(self, run_id: str) -> None:
        """Take note, in the controller, that there are workers.

        Args:
            run_id: what pytest-xdist calls the run.
        """
        self.run_id = run_id
        self.directory  # noqa: B018  (made now, so that what workers write there is found and removed)

    def input_for_worker(self, local: LocalAccess) -> dict[str, Any]:
        """What the controller sends to a worker, in texts and numbers.

        Args:
            local: how the local EC2 is reached.
        """
        return {"token": self.token, "local": local.to_mapping()}

    def _remove_directory(self) -> None:
        # The key of an instance that is kept on the local EC2 is in there.
        if not (self.kept and self.options.local):
            shutil.rmtree(self.directory, ignore_errors=True)

    def local_access(self) -> LocalAccess:
        """How the local EC2 of the run is reached; it is started when it is first asked for."""
        if self.worker_input is not None:
            return LocalAccess.from_mapping(self.worker_input[INPUT]["local"])
        if self._local_run is None:
            self._local_run = LocalRun(self.options, self.directory)
            self.undo.append(self._stop_local)
        return self._local_run.access

    def _stop_local(self) -> None:
        if self._local_run is not None and not self.kept:
            self._local_run.stop()

    def note_use(self, region: str) -> None:
        """Take note that a test has asked for the cloud; the controller sees it, on this computer at once.

        Args:
            region: where.
        """
        self.regions.add(region)
        (self.directory / f"{IN_USE}{region}").touch()

    def regions_in_use(self) -> set[str]:
        """Where tests have asked for the cloud, as far as is known here."""
        files = self._directory.glob(f"{IN_USE}*") if self._directory is not None else ()
        return self.regions | {file.name.removeprefix(IN_USE) for file in files}

    def keep(self, launched: Launched) -> None:
        """Let an instance live on.

        Args:
            launched: the instance.

        Raises:
            CloudError: EC2 refused; it is not kept.
        """
        kept = keep(launched.cloud, launched.instance, self.options.sweep_arguments)
        if self.options.local:
            kept = replace(kept, delete=f"pycloudlib local stop --name {self.local_access().name}")
        self.unreported.append(kept)
        self.note_kept(kept)

    def note_kept(self, kept: Kept) -> None:
        """Take note of an instance that lives on, here or at a worker."""
        self.kept[kept.instance_id] = kept

    def take_unreported(self) -> list[dict[str, str]]:
        """Give what was kept since the last time, in texts that can be sent to the controller."""
        taken, self.unreported = self.unreported, []
        return [asdict(kept) for kept in taken]

    def close(self) -> None:
        """Undo what this process did for the run, the latest first."""
        while self.undo:
            self.undo.pop()()


def _shared_directory(token: str) -> Path:
    directory = Path(tempfile.gettempdir()) / f"pycloudlib-pytest-{token}"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


RUN = pytest.StashKey[Run]()


def run_of(config: pytest.Config) -> Run:
    """The run that a configuration belongs to."""
    return config.stash[RUN]
