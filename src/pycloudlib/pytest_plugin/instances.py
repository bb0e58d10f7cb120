"""The instances of a run: who launched them, who uses them, and whether they live on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.ec2.instance import EC2Instance

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
