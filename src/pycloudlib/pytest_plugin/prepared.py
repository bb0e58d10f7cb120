"""The image under test, prepared once for all workers."""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.errors import PycloudlibError
from pycloudlib.pytest_plugin.launcher import Launcher
from pycloudlib.pytest_plugin.run import Run, run_of
from pycloudlib.waiting import wait_until

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2

logger = logging.getLogger(__name__)

PREPARE_TIMEOUT = 2 * 3600.0
"""Seconds for another worker to prepare the image: boot an instance, install packages, and create the image."""


def prepared_image(request: pytest.FixtureRequest, cloud: EC2, base_image_id: str, arguments: Mapping[str, Any]) -> str:
    """Return the prepared image, created here or by another worker on this computer.

    Args:
        request: the request of the calling fixture.
        cloud: the EC2 session.
        base_image_id: the image to prepare.
        arguments: the arguments of EC2.launch().

    Returns:
        The AMI id; the base image's if the suite has no preparation.

    Raises:
        PycloudlibError: the preparation failed, here or in another worker.
    """
    if not request.config.hook.pytest_cloud_prepare_image.get_hookimpls():
        return base_image_id
    run = run_of(request.config)
    outcome = run.directory / f"{cloud.region}-{base_image_id}.json"
    with _locked(outcome.with_suffix(".lock")):
        if outcome.exists():
            return _read(outcome)
        try:
            image_id = _prepare(request, run, cloud, base_image_id, arguments)
        except Exception as error:
            _write(outcome, {"error": f"{base_image_id} could not be prepared: {error}"})
            raise
        _write(outcome, {"image_id": image_id})
        return image_id


def _prepare(
    request: pytest.FixtureRequest, run: Run, cloud: EC2, base_image_id: str, arguments: Mapping[str, Any]
) -> str:
    launcher = Launcher(run, cloud, str(request.fixturename), request.node)
    request.addfinalizer(launcher.close)
    instance = launcher.launch(base_image_id, **{**arguments, "wait": True})
    request.config.hook.pytest_cloud_prepare_image(instance=instance, config=request.config)
    # Do not leave this to snapshot(), which would start the instance again.
    instance.clean()
    instance.shutdown()
    image_id = cloud.snapshot(instance, clean=False, tags={"prepared-from": base_image_id})
    launcher.discard()
    if run.is_worker:
        # Other workers may need the image after this one ends.
        cloud.leave_to_sweep(image_id)
    logger.info("prepared %s from %s", image_id, base_image_id)
    return image_id


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, which the kernel releases if the worker dies."""
    with path.open("w") as file:
        wait_until(
            lambda: _is_locked(file),
            what="another worker to prepare the image",
            deadline=Deadline.after(PREPARE_TIMEOUT),
            interval=0.1,
            max_interval=2.0,
        )
        yield


def _is_locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(outcome: Path) -> str:
    values: dict[str, str] = json.loads(outcome.read_text(encoding="utf-8"))
    if "error" in values:
        raise PycloudlibError(values["error"])
    return values["image_id"]


def _write(outcome: Path, values: Mapping[str, str]) -> None:
    partial = outcome.with_suffix(".partial")
    partial.write_text(json.dumps(values), encoding="utf-8")
    partial.replace(outcome)
