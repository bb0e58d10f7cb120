"""The instances of a run, with the fixtures and tests that use them."""

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
"""The fixture of instances that were launched without this plugin's fixtures."""


@dataclass(eq=False)
class Launched:
    """An instance that was launched in this process.

    Args:
        instance: the instance.
        cloud: the EC2 session that launched it.
        fixture: the fixture that launched it.
        node: the test, class, module, or session that owns it.
        failed: whether a test that used it failed; default no.
        is_reachable: whether its logs are accessible, as far as is known; default yes.
    """

    instance: EC2Instance
    cloud: EC2
    fixture: str
    node: Node
    failed: bool = False
    is_reachable: bool = True

    def is_used_by(self, item: pytest.Item) -> bool:
        """Return whether a test uses the instance."""
        if self.fixture == DIRECT:
            return self.node is item or self.instance in getattr(item, "funcargs", {}).values()
        return self.node in item.listchain() and self.fixture in getattr(item, "fixturenames", ())


@dataclass
class Instances:
    """The instances that were launched and not deleted yet, oldest first."""

    _launched: dict[str, Launched] = field(default_factory=dict)

    def add(self, launched: Launched) -> None:
        """Add an instance."""
        self._launched[launched.instance.id] = launched

    def remove(self, launched: Launched) -> None:
        """Remove an instance that is deleted or kept."""
        self._launched.pop(launched.instance.id, None)

    def launched_by(self, cloud: EC2) -> list[Launched]:
        """Return the instances of an EC2 session."""
        return [launched for launched in self._launched.values() if launched.cloud is cloud]

    def used_by(self, item: pytest.Item, clouds: Iterable[EC2] = ()) -> list[Launched]:
        """Return the instances that a test uses.

        Args:
            item: the test.
            clouds: the EC2 sessions that may have launched instances without this plugin's fixtures; default none.
        """
        for cloud in clouds:
            self.add_direct(cloud, item)
        return [launched for launched in self._launched.values() if launched.is_used_by(item)]

    def add_direct(self, cloud: EC2, node: Node) -> None:
        """Add the instances that were launched without this plugin's fixtures.

        Args:
            cloud: the EC2 session.
            node: the owner of new instances.
        """
        for instance in cloud.created_instances:
            # An instance that a fixture released exists until EC2 has terminated it.
            if instance.id not in self._launched and not instance.deletion_requested:
                self.add(Launched(instance, cloud, DIRECT, node))
