from __future__ import annotations

import pytest

from pycloudlib.ec2.network.interface_counts import AddressCounts, InterfaceLimits, limits_of
from pycloudlib.errors import InvalidArgumentError
from support.scripted_ec2 import ScriptedEC2


def test_interface_limits_come_from_the_type_description(moto_client) -> None:
    assert limits_of(moto_client, "t3.micro") == InterfaceLimits("t3.micro", interfaces=2, ipv4=2, ipv6=2)


def test_without_an_answer_nothing_is_limited_here(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeInstanceTypes", "InvalidAction")
    assert limits_of(scripted_client, "t3.micro") is None


def test_undescribed_type_has_no_limits(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeInstanceTypes", "<instanceTypeSet/>")
    assert limits_of(scripted_client, "t3.micro") is None


def test_as_many_addresses_as_possible_are_fine_and_one_more_is_not() -> None:
    limits = InterfaceLimits("t3.micro", interfaces=2, ipv4=2, ipv6=1)
    limits.check(AddressCounts(ipv4=2, ipv6=1, public=2))
    with pytest.raises(InvalidArgumentError, match=r"a t3\.micro takes 2 IPv4 addresses, not 3"):
        limits.check(AddressCounts(ipv4=3, ipv6=0, public=0))
    with pytest.raises(InvalidArgumentError, match=r"a t3\.micro takes 1 IPv6 addresses, not 2"):
        limits.check(AddressCounts(ipv4=1, ipv6=2, public=0))


@pytest.mark.parametrize(
    "counts", [(0, 0, 0), (1, -1, 0), (1, 0, -1), (1, 0, 2), (1.0, 0, 0), (1, None, 0), (257, 0, 0)]
)
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidArgumentError):
        AddressCounts(*counts)
