"""The instances of a run: who launched them, who uses them, and whether they live on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.errors import CleanupError, PycloudlibError

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.ec2.instance import EC2Instance
    from pycloudlib.pytest_plugin.run import Run

Node = pytest.Item | pytest.Collector

DIRECT = "cloud"
"""The fixture by which what is launched without one of ours counts as launched."""


@dataclass(eq=False)
class Launched:
    """An instance that was launched in this process.

    Args:
        instance: itself.
        cloud: what launched it.
        fixture: by which fixture.
        node: for which test, class, module, or for the whole session.
        failed: whether a test failed that used it.
        is_reachable: whether its logs could be asked for, as far as is known.
    """

    instance: EC2Instance
    cloud: EC2
    fixture: str
    node: Node
    failed: bool = False
    is_reachable: bool = True

    def is_used_by(self, item: pytest.Item) -> bool:
        """Tell whether a test uses it."""
        if self.fixture == DIRECT:
            return self.node is item or self.instance in getattr(item, "funcargs", {}).values()
        return self.node in item.listchain() and self.fixture in getattr(item, "fixturenames", ())


@dataclass
class Instances:
    """All that were launched and are not deleted yet, oldest first."""

    _launched: dict[str, Launched] = field(default_factory=dict)

    def add(self, launched: Launched) -> None:
        """Take note of one."""
        self._launched[launched.instance.id] = launched

    def remove(self, launched: Launched) -> None:
        """Drop one that is deleted or kept."""
        self._launched.pop(launched.instance.id, None)

    def launched_by(self, cloud: EC2) -> list[Launched]:
        """Those that an EC2 object launched."""
        return [one for one in self._launched.values() if one.cloud is cloud]

    def used_by(self, item: pytest.Item, clouds: Iterable[EC2] = ()) -> list[Launched]:
        """Those that a test uses.

        Args:
            item: the test.
            clouds: what else may have launched some meanwhile, without our fixtures.
        """
        for cloud in clouds:
            self.add_direct(cloud, item)
        return [one for one in self._launched.values() if one.is_used_by(item)]

    def add_direct(self, cloud: EC2, node: Node) -> None:
        """Take note of what was launched without our fixtures.

        Args:
            cloud: what may have launched some.
            node: for what.
        """
        for instance in cloud.created_instances:
            # What a fixture let go is still there until EC2 has ended it.
            if instance.id not in self._launched and not instance.deletion_requested:
                self.add(Launched(instance, cloud, DIRECT, node))


class Launcher:
    """Launches for one fixture, and in the end deletes or keeps what it launched.

    Args:
        run: the run.
        cloud: what launches.
        fixture: the fixture's name.
        node: for which test, class, module, or for the whole session.
    """

    def __init__(self, run: Run, cloud: EC2, fixture: str, node: Node) -> None:
        self._run = run
        self._cloud = cloud
        self._fixture = fixture
        self._node = node
        self._launched: list[Launched] = []

    def launch(self, image_id: str, **arguments: Any) -> EC2Instance:
        """Launch an instance. One that never becomes ready stays until close(), so that its logs can be collected.

        Args:
            image_id: the AMI.
            **arguments: of EC2.launch().

        Raises:
            PycloudlibError: as EC2.launch().
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
        """Delete what it launched, and wait for nothing: the cloud's own clean-up does.

        Raises:
            CleanupError: with everything that could not be deleted.
        """
        errors = [error for launched in self._taken() for error in _let_go(self._run, launched)]
        if errors:
            raise CleanupError(errors)

    def discard(self) -> None:
        """Delete what it launched, even where instances are to be kept.

        Raises:
            CleanupError: with everything that could not be deleted.
        """
        errors = [error for launched in self._taken() for error in launched.instance.delete(wait=False)]
        if errors:
            raise CleanupError(errors)

    def _taken(self) -> Iterator[Launched]:
        while self._launched:
            launched = self._launched.pop()
            self._run.instances.remove(launched)
            yield launched


def _let_go(run: Run, launched: Launched) -> list[Exception]:
    """Keep an instance that is to live on, else delete it."""
    if launched.instance.deletion_requested:
        return []
    if not run.options.keep.applies(failed=launched.failed):
        return launched.instance.delete(wait=False)
    try:
        run.keep(launched)
    except PycloudlibError as error:
        return [error]
    return []
