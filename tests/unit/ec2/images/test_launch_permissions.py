from __future__ import annotations

import pytest

from pycloudlib.ec2.images.launch_permissions import LaunchPermissions, checked_targets, launch_permissions, remove_all
from pycloudlib.errors import InvalidArgumentError
from support.scripted_ec2 import ScriptedEC2

ARN = "arn:aws:organizations::123456789012:organization/o-1"
UNIT = "arn:aws:organizations::123456789012:ou/o-1/ou-1"


def permissions_xml(*items: str) -> str:
    return f"<launchPermission>{''.join(f'<item>{item}</item>' for item in items)}</launchPermission>"


def test_all_kinds_of_permissions_are_read(script: ScriptedEC2, scripted_client) -> None:
    script.answer(
        "DescribeImageAttribute",
        permissions_xml(
            "<userId>222222222222</userId>",
            "<group>all</group>",
            f"<organizationArn>{ARN}</organizationArn>",
            "<userId>111111111111</userId>",
            f"<organizationalUnitArn>{UNIT}</organizationalUnitArn>",
        ),
    )
    found = launch_permissions(scripted_client, "ami-1")
    assert found == LaunchPermissions(
        everybody=True, account_ids=("111111111111", "222222222222"), organizations=(ARN, UNIT)
    )
    assert not found.private


def test_making_it_private_takes_organizations_away_too(script: ScriptedEC2, scripted_client) -> None:
    script.answer("DescribeImageAttribute", permissions_xml(f"<organizationArn>{ARN}</organizationArn>"))
    script.answer("ModifyImageAttribute", "<return>true</return>")
    remove_all(scripted_client, "ami-1")
    assert script.asked[-1]["LaunchPermission.Remove.1.OrganizationArn"] == ARN


def test_removing_permissions_of_a_private_image_is_a_no_op(script: ScriptedEC2, scripted_client) -> None:
    script.answer("DescribeImageAttribute", permissions_xml())
    remove_all(scripted_client, "ami-1")
    assert script.count("ModifyImageAttribute") == 0


def test_accounts_are_taken_once_each_and_in_order() -> None:
    assert checked_targets(["2" * 12, "1" * 12, "2" * 12]) == [{"UserId": "2" * 12}, {"UserId": "1" * 12}]
    assert checked_targets("all") == [{"Group": "all"}]


def test_an_account_number_as_a_number_is_refused() -> None:
    # It may have lost the zeros that it began with.
    with pytest.raises(InvalidArgumentError, match="12345678901: must be a string of 12 digits"):
        checked_targets(12345678901)
