"""Rules of security groups, in the forms of old clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from pycloudlib.local import LocalEC2
from support.plain_ec2 import refusal
from support.query_api import QueryAPI

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture(scope="module")
def api(local: LocalEC2) -> QueryAPI:
    return QueryAPI(local)


@pytest.fixture
def name(client: EC2Client) -> Iterator[str]:
    name = f"web {uuid4()}"
    client.create_security_group(GroupName=name, Description="web")
    yield name
    client.delete_security_group(GroupName=name)


def rules(client: EC2Client, name: str) -> list[tuple[Any, ...]]:
    described = client.describe_security_groups(GroupNames=[name])["SecurityGroups"][0]
    return sorted(
        (
            one["IpProtocol"],
            one.get("FromPort"),
            one.get("ToPort"),
            *(pair["GroupId"] for pair in one["UserIdGroupPairs"]),
        )
        for one in described["IpPermissions"]
    )


def test_source_group_without_a_protocol_allows_all_three(api: QueryAPI, client: EC2Client, name: str) -> None:
    default = client.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]
    source = {"SourceSecurityGroupName": "default", "SourceSecurityGroupOwnerId": default["OwnerId"]}
    assert api.ask("AuthorizeSecurityGroupIngress", GroupName=name, **source).find("return") == "true"
    group_id = default["GroupId"]
    assert rules(client, name) == [
        ("icmp", -1, -1, group_id),
        ("tcp", 0, 65535, group_id),
        ("udp", 0, 65535, group_id),
    ]
    assert api.ask("RevokeSecurityGroupIngress", GroupName=name, **source).find("return") == "true"
    assert rules(client, name) == []


def test_source_group_with_a_protocol_allows_that_one(api: QueryAPI, client: EC2Client, name: str) -> None:
    wanted = {
        "GroupName": name,
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "SourceSecurityGroupName": "default",
    }
    assert api.ask("AuthorizeSecurityGroupIngress", **wanted).status == 200
    assert [one[:3] for one in rules(client, name)] == [("tcp", 22, 22)]


def test_source_group_has_to_be_there(api: QueryAPI, name: str) -> None:
    reply = api.ask("AuthorizeSecurityGroupIngress", GroupName=name, SourceSecurityGroupName="nobody")
    assert reply.code == "InvalidGroup.NotFound"


def test_rules_are_in_one_form_only(api: QueryAPI, name: str) -> None:
    wanted = {"GroupName": name, "CidrIp": "10.0.0.0/8", "IpPermissions__1__IpProtocol": "tcp"}
    assert api.ask("AuthorizeSecurityGroupIngress", **wanted).code == "InvalidParameterCombination"


def test_rule_without_a_source_is_refused(api: QueryAPI, name: str) -> None:
    wanted = {"GroupName": name, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    assert api.ask("AuthorizeSecurityGroupIngress", **wanted).code == "MissingParameter"


def test_protocol_without_ports_allows_all_of_it(client: EC2Client, name: str) -> None:
    permission: Any = {"IpProtocol": "47", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    client.authorize_security_group_ingress(GroupName=name, IpPermissions=[permission])
    assert rules(client, name) == [("47", -1, -1)]
    client.revoke_security_group_ingress(GroupName=name, IpPermissions=[permission])
    assert rules(client, name) == []


@pytest.mark.parametrize("description", ["x" * 256, "caf\u00e9", "a\nb"])
def test_rule_description_of_other_characters_is_refused(client: EC2Client, name: str, description: str) -> None:
    source = {"CidrIp": "10.0.0.0/8", "Description": description}
    permission: Any = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [source]}
    call = client.authorize_security_group_ingress
    assert refusal(call, GroupName=name, IpPermissions=[permission]) == "InvalidParameterValue"
    assert rules(client, name) == []


def test_cidr_blocks_are_canonicalized(client: EC2Client, name: str) -> None:
    def permission(cidr: str, cidr6: str) -> dict[str, Any]:
        ranges: dict[str, Any] = {"IpRanges": [{"CidrIp": cidr}], "Ipv6Ranges": [{"CidrIpv6": cidr6}]}
        return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **ranges}

    given, canonical = permission("100.68.0.18/18", "2001:DB8::5/64"), permission("100.68.0.0/18", "2001:db8::/64")
    client.authorize_security_group_ingress(GroupName=name, IpPermissions=[given])
    described = client.describe_security_groups(GroupNames=[name])["SecurityGroups"][0]
    assert described["IpPermissions"][0]["IpRanges"] == canonical["IpRanges"]
    assert described["IpPermissions"][0]["Ipv6Ranges"] == canonical["Ipv6Ranges"]
    with pytest.raises(ClientError, match=r"InvalidPermission\.Duplicate"):
        client.authorize_security_group_ingress(GroupName=name, IpPermissions=[canonical])
    client.revoke_security_group_ingress(GroupName=name, IpPermissions=[given])
    assert rules(client, name) == []


def test_rules_of_malformed_group_id_are_refused(client: EC2Client) -> None:
    with pytest.raises(ClientError, match=r"InvalidGroupId\.Malformed.*'web' is malformed"):
        client.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": ["web"]}])
    unknown = client.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": ["sg-005216b55886f0fdc"]}])
    assert unknown["SecurityGroupRules"] == []
