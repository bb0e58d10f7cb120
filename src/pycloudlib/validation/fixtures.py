"""What checks are given, by the names of their arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pycloudlib.validation.facts import Facts
from pycloudlib.validation.life import Life

if TYPE_CHECKING:
    from pycloudlib.ec2.instance import EC2Instance

LIFE = pytest.StashKey[Life]()
"""Where the plugin leaves the machine when it is launched."""


@pytest.fixture(scope="session")
def life(pytestconfig: pytest.Config) -> Life:
    """The machine's further life."""
    return pytestconfig.stash[LIFE]


@pytest.fixture(scope="session")
def facts(life: Life) -> Facts:
    """What is known about the machine."""
    return life.facts


@pytest.fixture(scope="session")
def instance(life: Life) -> EC2Instance:
    """The machine itself, for checks that ask for more."""
    return life.instance
