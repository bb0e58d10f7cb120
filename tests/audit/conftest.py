"""A simulated local EC2 without records for the requests of each module."""

from __future__ import annotations

import pytest

from pycloudlib.local import LocalEC2
from support.audit_world import World
from support.plain_ec2 import reset


@pytest.fixture(scope="module")
def world(session_ec2: LocalEC2) -> World:
    reset(session_ec2)
    return World(session_ec2)
