"""Each filter of each Describe call finds what the response shows, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from pycloudlib.local.api.audit import PARENT, ActionAudit, audit_of, supported_actions
from support.audit_requests import operation_of
from support.audit_world import World

NONE = "no-such-value"
WELL_FORMED = {("DescribeSecurityGroupRules", "group-id"): "sg-0123456789abcdef9"}
"""What filters that refuse malformed values are tried with instead."""

FILTERED = [action for action in supported_actions() if audit_of(action).filters]  # type: ignore[union-attr]

SOME_TYPES = ["t2.micro", "t3.small", "m5d.large", "c6g.large", "i3.metal", "g4dn.xlarge"]
"""Of each kind one."""

NEEDED = {
    "DescribeImages": {"Owners": ["self"]},
    "DescribeInstanceStatus": {"IncludeAllInstances": True},
    "DescribeInstanceTypes": {"InstanceTypes": SOME_TYPES},
    "DescribeLaunchTemplateVersions": {"Versions": ["$Latest"]},
}
"""What a request for all records has to say; of the 900 instance types, a few serve as well."""


@pytest.fixture(scope="module")
def rich(world: World) -> World:
    """A world that has something of everything."""
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "k", "Value": "v"}]}]
    disk = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2}}
    interface = {"DeviceIndex": 0, "SubnetId": world.subnet, "Ipv6AddressCount": 1, "Groups": [world.group]}
    world.new_instance(
        KeyName=world.key, BlockDeviceMappings=[disk], TagSpecifications=tags, NetworkInterfaces=[interface]
    )
    world.new_instance("stopped")
    for create in (
        world.associated_address, world.table_with_route, world.table_association, world.new_snapshot, world.new_image,
        world.new_acl, world.accepted_peering, world.new_template, world.new_prefix_list, world.group_with_rules,
        world.attach_interface, world.new_egress_gateway, world.new_dhcp_options, world.new_placement_group,
        world.profile_association, world.new_nat_gateway,
    ):  # fmt: skip
        create()
    tagged = [world.vpc, world.subnet, world.volume, world.interface, world.group, world.image_snapshot, world.gateway]
    world.c.create_tags(Resources=tagged, Tags=[{"Key": "k", "Value": "v"}])
    return world


def honored(action: str) -> ActionAudit:
    found = audit_of(action)
    assert found is not None
    return found


def records_of(world: World, action: str, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    members = operation_of(action).input_shape.members  # type: ignore[union-attr]
    given = {"Filters" if "Filters" in members else "Filter": filters} if filters else {}
    response = getattr(world.c, xform_name(action))(**NEEDED.get(action, {}), **given)
    records = [(response, None)]
    for member in honored(action).items.split("."):
        records = [(inner, outer) for outer, _ in records for inner in outer.get(member, [])]
    return [{**record, PARENT: outer} for record, outer in records]


def values(record: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(record, list):
        for one in record:
            yield from values(one, path)
    elif not path:
        yield str(record).lower() if isinstance(record, bool) else str(record)
    elif isinstance(record, dict) and path[0] in record:
        yield from values(record[path[0]], path[1:])


def without_parent(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name != PARENT} for one in records]


@pytest.mark.parametrize("action", FILTERED)
def test_every_filter_finds_what_is_shown(rich: World, action: str) -> None:
    wrong = []
    everything = records_of(rich, action, [])
    for name, path in honored(action).filters.items():
        unknown = WELL_FORMED.get((action, name), NONE)
        if records_of(rich, action, [{"Name": name, "Values": [unknown]}]):
            wrong.append(f"{name}={unknown} finds something")
        shown = sorted({value for record in everything for value in values(record, path)} - {""})
        # Times are shown with a space by boto3.
        wanted = next((value for value in shown if "+00:00" not in value), None)
        if wanted is None:
            continue
        expected = [record for record in everything if wanted in values(record, path)]
        found = records_of(rich, action, [{"Name": name, "Values": [escaped(wanted)]}])
        if without_parent(found) != without_parent(expected):
            wrong.append(f"{name}={wanted} finds {len(found)} records instead of {len(expected)}")
    assert not wrong, "\n".join(wrong)


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")


@pytest.mark.parametrize("action", [one for one in FILTERED if "tag-key" in honored(one).filters])
def test_tags_are_filtered_by_key_and_value(rich: World, action: str) -> None:
    everything = records_of(rich, action, [])
    member = honored(action).filters["tag-key"][0]
    for value in ("v", "w", "*"):
        found = records_of(rich, action, [{"Name": "tag:k", "Values": [value]}])
        tags = [tag for record in found for tag in record.get(member, []) if tag["Key"] == "k"]
        assert len(tags) == len(found)
        assert value != "w" or not found
    tagged = [one for one in everything if any(tag["Key"] == "k" for tag in one.get(member, []))]
    assert len(records_of(rich, action, [{"Name": "tag:k", "Values": ["v"]}])) == len(tagged)


@pytest.mark.parametrize("action", FILTERED)
def test_other_filters_are_refused_by_name(world: World, action: str) -> None:
    for name in ("no-such-filter", *honored(action).refused_filters):
        with pytest.raises(ClientError) as caught:
            records_of(world, action, [{"Name": name, "Values": ["x"]}])
        error = caught.value.response["Error"]
        expected = "InvalidParameterValue" if name == "no-such-filter" else "UnsupportedOperation"
        assert (error["Code"], name in error["Message"]) == (expected, True)
