from __future__ import annotations

import pytest

from pycloudlib.ec2.api.regions import region_names, require_region
from pycloudlib.errors import InvalidArgumentError, ThrottledError
from support.scripted_ec2 import ScriptedEC2


def regions(*names: str) -> str:
    items = "".join(f"<item><regionName>{name}</regionName></item>" for name in names)
    return f"<regionInfo>{items}</regionInfo>"


def test_names_are_sorted(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeRegions", regions("us-east-1", "eu-west-1"))
    assert region_names(scripted_client) == ["eu-west-1", "us-east-1"]


def test_a_known_region_is_taken(scripted_client, script: ScriptedEC2) -> None:
    script.answer("DescribeRegions", regions("RegionOne"))
    require_region(scripted_client, "RegionOne")


@pytest.mark.parametrize(
    ("name", "message"),
    [("eu-west-2", "did you mean eu-west-1"), ("xyz", "there are eu-west-1, us-east-1"), (7, "must be a string")],
)
def test_any_other_one_is_refused(scripted_client, script: ScriptedEC2, name: str, message: str) -> None:
    script.answer("DescribeRegions", regions("us-east-1", "eu-west-1"))
    with pytest.raises(InvalidArgumentError, match=message):
        require_region(scripted_client, name)


def test_who_may_not_list_the_regions_is_believed(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeRegions", "UnauthorizedOperation")
    require_region(scripted_client, "eu-west-1")


def test_other_failures_are_raised(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeRegions", "RequestLimitExceeded")
    with pytest.raises(ThrottledError):
        require_region(scripted_client, "eu-west-1")
