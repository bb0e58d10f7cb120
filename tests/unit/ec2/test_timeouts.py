"""A timeout that is no number is refused before anything is created, stopped or deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.fleet import Fleet
from pycloudlib.errors import InvalidArgumentError
from support.faulty_ec2 import FaultyEC2, faulty_ec2
from support.moto_server import BOOKWORM_DAILY
from unit.ec2.conftest import ConnectTo

ASKING = ("Describe", "Get")
"""How the names of actions begin that change nothing."""


@dataclass
class World:
    """What timeouts are for."""

    ec2: EC2
    fleet: Fleet
    faulty: FaultyEC2


@pytest.fixture(scope="module")
def proxy(moto_url: str) -> Iterator[FaultyEC2]:
    with faulty_ec2(moto_url) as faulty:
        yield faulty


@pytest.fixture
def world(connect: ConnectTo, proxy: FaultyEC2) -> World:
    ec2 = connect(proxy.url)
    return World(ec2, ec2.launch_many(BOOKWORM_DAILY, 1, wait=False), proxy)


def new_vpc(world: World, timeout: Any) -> object:
    return world.ec2.get_or_create_vpc("new", timeout=timeout)


def delete_vpc(world: World, timeout: Any) -> object:
    return world.ec2.get_or_create_vpc("old").delete(timeout)


def snapshot(world: World, timeout: Any) -> object:
    return world.ec2.snapshot(world.fleet[0], clean=False, timeout=timeout)


def copy_image(world: World, timeout: Any) -> object:
    return world.ec2.image(BOOKWORM_DAILY).copy_to_region("eu-west-1", timeout=timeout)


def snapshot_volume(world: World, timeout: Any) -> object:
    return world.fleet[0].volumes()[0].snapshot(timeout=timeout)


def register_image(world: World, timeout: Any) -> object:
    return world.ec2.register_image("snap-1", "registered", timeout=timeout)


def remove_volume(world: World, timeout: Any) -> object:
    return world.fleet[0].remove_volume(world.fleet[0].volumes()[0], timeout)


def wait_for_fleet(world: World, timeout: Any) -> object:
    return world.fleet.wait(timeout)


CALLS = (new_vpc, delete_vpc, snapshot, copy_image, register_image, snapshot_volume, remove_volume, wait_for_fleet)


@pytest.mark.parametrize("timeout", ["5", float("nan"), True])
@pytest.mark.parametrize("call", CALLS)
def test_timeout_that_is_no_number_is_refused_first(
    world: World, call: Callable[[World, Any], object], timeout: object
) -> None:
    if call is delete_vpc:
        world.ec2.get_or_create_vpc("old")
    world.faulty.behave()
    with pytest.raises(InvalidArgumentError, match=r"the timeout is .*; it must be a number of seconds"):
        call(world, timeout)
    assert [action for action in world.faulty.asked if not action.startswith(ASKING)] == []
