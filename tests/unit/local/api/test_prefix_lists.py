"""Managed prefix lists: entries of their family, as many as they may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from support.plain_ec2 import refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture
def prefix_list_id(client: EC2Client) -> Iterator[str]:
    """A list of at most two IPv4 blocks, with one."""
    made = client.create_managed_prefix_list(
        PrefixListName="web", MaxEntries=2, AddressFamily="IPv4", Entries=[{"Cidr": "192.0.2.0/24"}]
    )
    prefix_list_id = made["PrefixList"]["PrefixListId"]
    yield prefix_list_id
    client.delete_managed_prefix_list(PrefixListId=prefix_list_id)


def cidrs(client: EC2Client, prefix_list_id: str) -> list[str]:
    return [one["Cidr"] for one in client.get_managed_prefix_list_entries(PrefixListId=prefix_list_id)["Entries"]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"AddressFamily": "IPv5"}, "InvalidParameterValue"),
        ({"MaxEntries": 0}, "InvalidParameterValue"),
        ({"MaxEntries": 1001}, "InvalidParameterValue"),
        ({"Entries": [{"Cidr": "nonsense"}]}, "InvalidParameterValue"),
        ({"Entries": [{"Cidr": "192.0.2.1/24"}]}, "InvalidParameterValue"),
        ({"Entries": [{"Cidr": "2001:db8::/32"}]}, "InvalidParameterValue"),
        ({"Entries": [{"Cidr": "192.0.2.0/24"}] * 2}, "InvalidParameterValue"),
        (
            {"MaxEntries": 1, "Entries": [{"Cidr": "192.0.2.0/24"}, {"Cidr": "10.0.0.0/8"}]},
            "PrefixListMaxEntriesExceeded",
        ),
    ],
)
def test_lists_that_ec2_would_refuse_are_refused(client: EC2Client, change: dict[str, Any], code: str) -> None:
    wanted = {"PrefixListName": "wrong", "MaxEntries": 2, "AddressFamily": "IPv4", **change}
    assert refusal(client.create_managed_prefix_list, **wanted) == code
    found = client.describe_managed_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": ["wrong"]}])
    assert found["PrefixLists"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"AddEntries": [{"Cidr": "::/0"}]}, "InvalidParameterValue"),
        ({"AddEntries": [{"Cidr": "10.0.0.0/8"}, {"Cidr": "11.0.0.0/8"}]}, "PrefixListMaxEntriesExceeded"),
        ({"RemoveEntries": [{"Cidr": "10.0.0.0/8"}]}, "InvalidPrefixListModification"),
    ],
)
def test_modifications_that_ec2_would_refuse_change_nothing(
    client: EC2Client, prefix_list_id: str, change: dict[str, Any], code: str
) -> None:
    wanted = {"PrefixListId": prefix_list_id, "CurrentVersion": 1, **change}
    assert refusal(client.modify_managed_prefix_list, **wanted) == code
    assert cidrs(client, prefix_list_id) == ["192.0.2.0/24"]


def test_full_list_exchanges_entries(client: EC2Client, prefix_list_id: str) -> None:
    add: Any = [{"Cidr": "10.0.0.0/8"}, {"Cidr": "11.0.0.0/8"}]
    client.modify_managed_prefix_list(
        PrefixListId=prefix_list_id, CurrentVersion=1, AddEntries=add, RemoveEntries=[{"Cidr": "192.0.2.0/24"}]
    )
    assert sorted(cidrs(client, prefix_list_id)) == ["10.0.0.0/8", "11.0.0.0/8"]
