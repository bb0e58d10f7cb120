"""Launches for a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pycloudlib.errors import CleanupError, PycloudlibError
from pycloudlib.pytest_plugin.instances import Launched, Node
from pycloudlib.pytest_plugin.run import Run

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.ec2.instance import EC2Instance


class Launcher:
    """Launches instances for one fixture, and deletes or keeps them at the end.

    Args:
        run: the run.
        cloud: the EC2 session.
        fixture: the name of the fixture.
        node: the test, class, module, or session that owns the instances.
    """

    def __init__(self, run: Run, cloud: EC2, fixture: str, node: Node) -> None:
        self._run = run
        self._cloud = cloud
        self._fixture = fixture
        self._node = node
        self._launched: list[Launched] = []

    def launch(self, image_id: str, **arguments: Any) -> EC2Instance:
        """Launch an instance. If it does not become ready, keep it until `close()`, so that its logs can be collected.

        Args:
            image_id: the AMI id.
            **arguments: the arguments of EC2.launch().

        Raises:
            PycloudlibError: see `EC2.launch()`.
        """
        try:
            instance = self._cloud.launch(image_id, **arguments, keep_on_failure=True)
        except PycloudlibError as error:
            if error.instance is not None:
                self._add(error.instance)
            raise
        self._add(instance)
        return instance

    def _add(self, instance: Any) -> None:
        launched = Launched(instance, self._cloud, self._fixture, self._node)
        self._launched.append(launched)
        self._run.instances.add(launched)

    def close(self) -> None:
        """Delete the instances without waiting, which the cloud's own cleanup does.

        Raises:
            CleanupError: some instances could not be deleted.
        """
        errors = [error for launched in self._take_all() for error in _keep_or_delete(self._run, launched)]
        if errors:
            raise CleanupError(errors)

    def discard(self) -> None:
        """Delete the instances, even if the options select them to be kept.

        Raises:
            CleanupError: some instances could not be deleted.
        """
        errors = [error for launched in self._take_all() for error in launched.instance.delete(wait=False)]
        if errors:
            raise CleanupError(errors)

    def _take_all(self) -> Iterator[Launched]:
        while self._launched:
            launched = self._launched.pop()
            self._run.instances.remove(launched)
            yield launched


def _keep_or_delete(run: Run, launched: Launched) -> list[Exception]:
    """Keep an instance that the options select, or else delete it."""
    if launched.instance.deletion_requested:
        return []
    if not run.options.keep.applies(failed=launched.failed):
        return launched.instance.delete(wait=False)
    try:
        run.keep(launched)
    except PycloudlibError as error:
        return [error]
    return []
