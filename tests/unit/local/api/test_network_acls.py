"""Entries of network ACLs: in EC2's form, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from support.local_network import Network
from support.plain_ec2 import refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ENTRY: dict[str, Any] = {
    "RuleNumber": 5,
    "Protocol": "6",
    "RuleAction": "allow",
    "Egress": False,
    "CidrBlock": "10.0.0.0/8",
    "PortRange": {"From": 22, "To": 80},
}


@pytest.fixture
def acl_id(client: EC2Client, network: Network) -> Iterator[str]:
    acl_id = client.create_network_acl(VpcId=network.vpc_id)["NetworkAcl"]["NetworkAclId"]
    yield acl_id
    client.delete_network_acl(NetworkAclId=acl_id)


def entry_with(change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**ENTRY, **change}.items() if value is not None}


def entries(client: EC2Client, acl_id: str) -> list[Any]:
    (acl,) = client.describe_network_acls(NetworkAclIds=[acl_id])["NetworkAcls"]
    return [one for one in acl["Entries"] if one["RuleNumber"] == ENTRY["RuleNumber"]]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"CidrBlock": "10.1.2.3/8"}, {"CidrBlock": "10.0.0.0/8"}),
        ({"Protocol": "udp"}, {"Protocol": "17"}),
        ({"Protocol": "all", "PortRange": None}, {"Protocol": "-1"}),
        ({"Protocol": "47", "PortRange": None}, {"Protocol": "47"}),
        (
            {"Protocol": "icmp", "PortRange": None, "IcmpTypeCode": {"Type": 8, "Code": -1}},
            {"Protocol": "1", "IcmpTypeCode": {"Type": 8, "Code": -1}},
        ),
        ({"CidrBlock": None, "Ipv6CidrBlock": "2001:DB8::1/32"}, {"Ipv6CidrBlock": "2001:db8::/32"}),
    ],
)
def test_entries_are_in_canonical_form(
    client: EC2Client, acl_id: str, change: dict[str, Any], shown: dict[str, Any]
) -> None:
    client.create_network_acl_entry(NetworkAclId=acl_id, **entry_with(change))
    (found,) = entries(client, acl_id)
    assert {name: found[name] for name in shown} == shown
    client.replace_network_acl_entry(NetworkAclId=acl_id, **entry_with(change))
    assert entries(client, acl_id) == [found]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"PortRange": None}, "MissingParameter"),
        ({"PortRange": {"From": 1}}, "MissingParameter"),
        ({"PortRange": {"From": 9, "To": 1}}, "InvalidParameterValue"),
        ({"PortRange": {"From": 1, "To": 65536}}, "InvalidParameterValue"),
        ({"Protocol": "nonsense"}, "InvalidParameterValue"),
        ({"Protocol": "256"}, "InvalidParameterValue"),
        ({"Protocol": "1"}, "MissingParameter"),
        ({"Protocol": "1", "IcmpTypeCode": {"Type": 256, "Code": 0}}, "InvalidParameterValue"),
        ({"CidrBlock": "nonsense"}, "InvalidParameterValue"),
        ({"CidrBlock": None, "Ipv6CidrBlock": "10.0.0.0/8"}, "InvalidParameterValue"),
        ({"RuleNumber": 0}, "InvalidParameterValue"),
        ({"RuleNumber": 32767}, "InvalidParameterValue"),
    ],
)
def test_entries_that_ec2_would_refuse_are_refused(
    client: EC2Client, acl_id: str, change: dict[str, Any], code: str
) -> None:
    assert refusal(client.create_network_acl_entry, NetworkAclId=acl_id, **entry_with(change)) == code
    assert entries(client, acl_id) == []
