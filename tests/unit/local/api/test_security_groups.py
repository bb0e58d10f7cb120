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


@pytest.fixture
def rule(client: EC2Client) -> Iterator[dict[str, Any]]:
    """A rule for a CIDR block, in a group of its own."""
    group_id = client.create_security_group(GroupName="modified", Description="rules")["GroupId"]
    made = client.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[tcp(1, CIDR)])
    yield made["SecurityGroupRules"][0]  # type: ignore[misc]
    client.delete_security_group(GroupId=group_id)


CIDR = "192.0.2.0/24"


def tcp(port: int, cidr: str) -> Any:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}


def modify(client: EC2Client, rule: dict[str, Any], *rule_ids: str, **change: Any) -> Any:
    wanted = {"IpProtocol": "tcp", "FromPort": 5, "ToPort": 6, "CidrIpv4": CIDR, **change}
    request = {name: value for name, value in wanted.items() if value is not None}
    updates = [
        {"SecurityGroupRuleId": one, "SecurityGroupRule": request} for one in rule_ids or [rule["SecurityGroupRuleId"]]
    ]
    return client.modify_security_group_rules(GroupId=rule["GroupId"], SecurityGroupRules=updates)  # type: ignore[arg-type]


def described(client: EC2Client, rule: dict[str, Any]) -> Any:
    return client.describe_security_group_rules(SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])[
        "SecurityGroupRules"
    ][0]


def test_rule_is_modified(client: EC2Client, rule: dict[str, Any]) -> None:
    client.create_tags(Resources=[rule["SecurityGroupRuleId"]], Tags=[{"Key": "k", "Value": "v"}])
    modify(client, rule, CidrIpv4="198.51.100.7/24", Description="web")
    found = described(client, rule)
    assert (found["FromPort"], found["ToPort"], found["CidrIpv4"]) == (5, 6, "198.51.100.0/24")
    assert (found["Description"], found["Tags"]) == ("web", [{"Key": "k", "Value": "v"}])
    modify(client, rule, IpProtocol="-1", FromPort=None, ToPort=None)
    found = described(client, rule)
    assert (found["IpProtocol"], found["FromPort"], found["Description"]) == ("-1", -1, "web")


def test_source_of_a_rule_is_modified(client: EC2Client, rule: dict[str, Any]) -> None:
    group_id = rule["GroupId"]
    others = client.create_security_group(GroupName="others", Description="sources")["GroupId"]
    sources: Any = [
        {"IpProtocol": "tcp", "FromPort": 2, "ToPort": 2, "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}]},
        {"IpProtocol": "tcp", "FromPort": 3, "ToPort": 3, "UserIdGroupPairs": [{"GroupId": group_id}]},
    ]
    made: Any = client.authorize_security_group_egress(GroupId=group_id, IpPermissions=sources)["SecurityGroupRules"]
    modify(client, made[0], CidrIpv4=None, CidrIpv6="2001:db8:1::/48")
    modify(client, made[1], CidrIpv4=None, ReferencedGroupId=others)
    assert described(client, made[0])["CidrIpv6"] == "2001:db8:1::/48"
    found = described(client, made[1])
    assert (found["ReferencedGroupInfo"]["GroupId"], found["FromPort"], found["IsEgress"]) == (others, 5, True)
    client.revoke_security_group_egress(GroupId=group_id, SecurityGroupRuleIds=[found["SecurityGroupRuleId"]])
    client.delete_security_group(GroupId=others)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"CidrIpv4": "nonsense"}, "InvalidParameterValue"),
        ({"FromPort": 99999}, "InvalidParameterValue"),
        ({"FromPort": 9}, "InvalidParameterValue"),
        ({"FromPort": None}, "MissingParameter"),
        ({"IpProtocol": "nonsense"}, "InvalidParameterValue"),
        ({"IpProtocol": None}, "MissingParameter"),
        ({"Description": "\u20ac"}, "InvalidParameterValue"),
        ({"CidrIpv4": None}, "MissingParameter"),
        ({"CidrIpv6": "::/0"}, "InvalidParameterCombination"),
        ({"CidrIpv4": None, "CidrIpv6": "::/0"}, "InvalidParameterValue"),
        ({"CidrIpv4": None, "ReferencedGroupId": "sg-0123456789abcdef9"}, "InvalidGroup.NotFound"),
        ({"CidrIpv4": None, "PrefixListId": "pl-0123456789abcdef9"}, "InvalidPrefixListID.NotFound"),
        ({"FromPort": 2, "ToPort": 2}, "InvalidPermission.Duplicate"),
    ],
)
def test_modification_that_ec2_would_refuse_changes_nothing(
    client: EC2Client, rule: dict[str, Any], change: dict[str, Any], code: str
) -> None:
    client.authorize_security_group_ingress(GroupId=rule["GroupId"], IpPermissions=[tcp(2, CIDR)])
    before = described(client, rule)
    assert refusal(modify, client=client, rule=rule, **change) == code
    assert described(client, rule) == before


def test_modifications_of_a_request_are_made_together(client: EC2Client, rule: dict[str, Any]) -> None:
    before = described(client, rule)
    with pytest.raises(ClientError, match="sgr-0123456789abcdef9"):
        modify(client, rule, rule["SecurityGroupRuleId"], "sgr-0123456789abcdef9")
    assert described(client, rule) == before


def test_revoked_ports_are_validated(client: EC2Client, rule: dict[str, Any]) -> None:
    wanted = {**tcp(1, CIDR), "ToPort": None}
    wanted.pop("ToPort")
    code = refusal(client.revoke_security_group_ingress, GroupId=rule["GroupId"], IpPermissions=[wanted])
    assert code == "MissingParameter"


def test_rules_for_groups_are_found_without_their_description(client: EC2Client, rule: dict[str, Any]) -> None:
    group_id = rule["GroupId"]

    def wanted(protocol: str, **more: str) -> Any:
        pair = {"GroupId": group_id, **more}
        return [{"IpProtocol": protocol, "FromPort": 9, "ToPort": 9, "UserIdGroupPairs": [pair]}]

    client.authorize_security_group_ingress(GroupId=group_id, IpPermissions=wanted("tcp", Description="itself"))
    for again in (wanted("tcp"), wanted("6", Description="other")):
        code = refusal(client.authorize_security_group_ingress, GroupId=group_id, IpPermissions=again)
        assert code == "InvalidPermission.Duplicate"
    client.revoke_security_group_ingress(GroupId=group_id, IpPermissions=wanted("6"))
    remaining = client.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissions"]
    assert [one["FromPort"] for one in remaining] == [1]


def test_unknown_prefix_list_is_refused(client: EC2Client, rule: dict[str, Any]) -> None:
    wanted = {
        "IpProtocol": "tcp",
        "FromPort": 1,
        "ToPort": 1,
        "PrefixListIds": [{"PrefixListId": "pl-0123456789abcdef9"}],
    }
    for authorize in (client.authorize_security_group_ingress, client.authorize_security_group_egress):
        assert refusal(authorize, GroupId=rule["GroupId"], IpPermissions=[wanted]) == "InvalidPrefixListID.NotFound"
