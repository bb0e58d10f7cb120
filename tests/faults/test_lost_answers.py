"""Calls that create something, of which the answer is lost: one thing comes of each, and nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from getpass import getuser

import pytest

from faults.conftest import EVERY, OTHER_REGION, Account
from pycloudlib import EC2
from pycloudlib.ec2.api import retries, session
from pycloudlib.ec2.network.addresses import ElasticAddresses
from pycloudlib.errors import CloudError
from support.faulty_ec2 import Break, Refusal


def _launch(ec2: EC2, account: Account) -> object:
    ec2.use_key(account.public_key)
    return ec2.launch(ec2.released_image("bookworm"), username=getuser(), wait=False)


def _launched(ec2: EC2, account: Account):
    ec2.use_key(account.public_key)
    return ec2.launch(ec2.released_image("bookworm"), username=getuser())


def _volume(ec2: EC2):
    return ec2.create_volume(1)


MAKERS: dict[str, Callable[[EC2, Account], object]] = {
    "ImportKeyPair": lambda ec2, account: ec2.upload_key(account.public_key, name="lost"),
    "CreateVpc": lambda ec2, _: ec2.get_or_create_vpc("lost"),
    "CreateSecurityGroup": lambda ec2, _: ec2.get_or_create_vpc("lost"),
    "CreateInternetGateway": lambda ec2, _: ec2.get_or_create_vpc("lost"),
    "CreateRouteTable": lambda ec2, _: ec2.get_or_create_vpc("lost"),
    "CreateSubnet": lambda ec2, _: ec2.get_or_create_vpc("lost"),
    "RunInstances": _launch,
    "CreateVolume": lambda ec2, _: _volume(ec2),
    "CreateSnapshot": lambda ec2, _: _volume(ec2).snapshot(),
    "AllocateAddress": lambda ec2, _: ElasticAddresses(ec2._region_context).allocate(),
    "CreateNetworkInterface": lambda ec2, account: _launched(ec2, account).add_network_interface(),
    "RegisterImage": lambda ec2, _: ec2.register_image(_volume(ec2).snapshot(), "lost"),
    "CopyImage": lambda ec2, _: ec2.image(ec2.released_image("bookworm")).copy_to_region(OTHER_REGION),
    "CreateImage": lambda ec2, account: ec2.snapshot(_launched(ec2, account), clean=False),
}
"""What makes each of these calls."""

JOINERS: dict[str, Callable[[EC2, Account], object]] = {
    "AttachInternetGateway": lambda ec2, _: ec2.get_or_create_vpc("lost"),
    "CreateRoute": lambda ec2, _: ec2.get_or_create_vpc("lost"),
    "AssociateRouteTable": lambda ec2, _: ec2.get_or_create_vpc("lost"),
    "AuthorizeSecurityGroupIngress": lambda ec2, _: ec2.get_or_create_vpc("lost"),
    "AttachVolume": lambda ec2, account: _launched(ec2, account).add_volume(1),
    "AttachNetworkInterface": lambda ec2, account: _launched(ec2, account).add_network_interface(),
    "AssociateAddress": lambda ec2, account: _launched(ec2, account).add_network_interface(ipv4_public_ip_count=1),
}
"""What joins two things by each of these calls."""

QUICK = ("ImportKeyPair", "CreateVpc", "RunInstances", "CreateSnapshot", "AllocateAddress")
ACTIONS = tuple(MAKERS) if EVERY == 1 else QUICK
"""Those that are tried; a whole VPC for each of its parts takes its time."""


def _made_with(action: str, account: Account) -> int:
    """How many resources there are before they are deleted."""
    with account.connect() as ec2:
        MAKERS[action](ec2, account)
        return len(account.leftovers())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "READ_TIMEOUT", 2)
    monkeypatch.setattr(retries, "LOOK_FOR_LOST", 0.2)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)


@pytest.fixture(autouse=True)
def tidy(account: Account) -> Iterator[None]:
    account.faulty.behave()
    yield
    account.faulty.behave()
    account.reset()


@pytest.mark.parametrize("action", ACTIONS)
def test_what_was_made_is_found_and_not_made_again(action: str, account: Account) -> None:
    usual = _made_with(action, account)
    account.faulty.fail_action(action, Break.AFTER)
    assert _made_with(action, account) == usual
    assert account.leftovers() == []


@pytest.mark.parametrize("action", ACTIONS)
def test_what_was_made_before_the_network_went_away_is_deleted_when_it_is_back(action: str, account: Account) -> None:
    account.faulty.fail_action(action, Break.AFTER, for_good=True)
    ec2 = account.connect()
    with pytest.raises(CloudError):
        MAKERS[action](ec2, account)
    account.faulty.behave()
    assert account.leftovers() != []
    assert ec2.clean() == []
    assert account.leftovers() == []


@pytest.mark.parametrize("action", ACTIONS)
def test_what_was_not_made_is_made_by_another_attempt(action: str, account: Account) -> None:
    account.faulty.fail_action(action, Refusal("Unavailable", 503))
    with account.connect() as ec2:
        MAKERS[action](ec2, account)
        assert account.faulty.asked.count(action) == 2
    assert account.leftovers() == []


@pytest.mark.parametrize("action", JOINERS if EVERY == 1 else ("CreateRoute", "AttachVolume", "AttachNetworkInterface"))
def test_what_was_joined_by_a_call_whose_answer_was_lost_is_fine(action: str, account: Account) -> None:
    account.faulty.fail_action(action, Break.AFTER)
    with account.connect() as ec2:
        JOINERS[action](ec2, account)
        assert account.faulty.asked.count(action) > 1
    assert account.leftovers() == []
