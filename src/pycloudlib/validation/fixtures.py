"""The fixtures of checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pycloudlib.validation.facts import Facts
from pycloudlib.validation.life import Life

if TYPE_CHECKING:
    from pycloudlib.ec2.instance import EC2Instance

LIFE = pytest.StashKey[Life]()
"""The stash key under which the plugin stores the launched instance."""


@pytest.fixture(scope="session")
def life(pytestconfig: pytest.Config) -> Life:
    """The lifecycle steps of the instance."""
    return pytestconfig.stash[LIFE]


@pytest.fixture(scope="session")
def facts(life: Life) -> Facts:
    """The findings about the instance."""
    return life.facts


@pytest.fixture(scope="session")
def instance(life: Life) -> EC2Instance:
    """The instance itself, for checks that need more than findings."""
    return life.instance
