"""IAM's roles and STS's sessions: what AWS would refuse is refused, and listings come in pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pycloudlib.local import LocalEC2
from support.plain_ec2 import refusal
from support.services import TRUST, connect

POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


@pytest.fixture(scope="module")
def iam(local: LocalEC2) -> Any:
    return connect(local, "iam")


@pytest.fixture(scope="module")
def sts(local: LocalEC2) -> Any:
    return connect(local, "sts")


@pytest.fixture
def role(iam: Any) -> Iterator[dict[str, Any]]:
    yield iam.create_role(RoleName="reader", AssumeRolePolicyDocument=TRUST)["Role"]
    iam.delete_role(RoleName="reader")


def trust(**statement: Any) -> str:
    policy = json.loads(TRUST)
    policy["Statement"][0] |= statement
    return json.dumps(policy)


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[" * 5000,
        "[]",
        "{}",
        '{"Version": "2012-10-17"}',
        TRUST.replace("2012-10-17", "2013-01-01"),
        trust(Action="ec2:RunInstances"),
        trust(Effect="Maybe"),
        trust(Resource="*"),
        trust().replace("Principal", "Subject"),
        json.dumps({"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}),
    ],
    ids=range(11),
)
def test_malformed_trust_policies_are_refused(iam: Any, role: dict[str, Any], document: str) -> None:
    wanted = {"RoleName": "distrusted", "AssumeRolePolicyDocument": document}
    assert refusal(iam.create_role, **wanted) == "MalformedPolicyDocument"
    changed = {"RoleName": "reader", "PolicyDocument": document}
    assert refusal(iam.update_assume_role_policy, **changed) == "MalformedPolicyDocument"
    assert iam.get_role(RoleName="reader")["Role"]["AssumeRolePolicyDocument"] == json.loads(TRUST)


def test_older_trust_policies_are_kept(iam: Any, role: dict[str, Any]) -> None:
    older = TRUST.replace("2012-10-17", "2008-10-17")
    iam.update_assume_role_policy(RoleName="reader", PolicyDocument=older)
    assert iam.get_role(RoleName="reader")["Role"]["AssumeRolePolicyDocument"] == json.loads(older)


@pytest.mark.parametrize(
    "change",
    [
        {"RoleName": "x" * 65},
        {"RoleName": "a b"},
        {"RoleName": ""},
        {"Path": "no/slash"},
        {"MaxSessionDuration": 100},
        {"Description": "x" * 1001},
        {"Tags": [{"Key": "x" * 129, "Value": ""}]},
        {"Tags": [{"Key": "x", "Value": "x" * 257}]},
    ],
)
def test_members_of_a_role_fit_the_model(iam: Any, change: dict[str, Any]) -> None:
    wanted = {"RoleName": "unfit", "AssumeRolePolicyDocument": TRUST, **change}
    assert refusal(iam.create_role, **wanted) == "ValidationError"


def test_sessions_need_a_role(sts: Any, role: dict[str, Any]) -> None:
    arn = role["Arn"]
    assert refusal(sts.assume_role, RoleArn=f"{arn}s", RoleSessionName="test") == "AccessDenied"
    assert refusal(sts.assume_role, RoleArn=arn, RoleSessionName="a b") == "ValidationError"
    assert refusal(sts.assume_role, RoleArn="reader", RoleSessionName="test") == "ValidationError"
    assert refusal(sts.assume_role, RoleArn="x" * 30, RoleSessionName="test") == "ValidationError"
    assert sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]["SessionToken"]


def test_sessions_last_no_longer_than_their_role_allows(iam: Any, sts: Any, role: dict[str, Any]) -> None:
    wanted = {"RoleArn": role["Arn"], "RoleSessionName": "test", "DurationSeconds": 7200}
    assert refusal(sts.assume_role, **wanted) == "ValidationError"
    iam.update_role(RoleName="reader", MaxSessionDuration=7200)
    assert sts.assume_role(**wanted)["Credentials"]["SessionToken"]


@pytest.mark.parametrize(
    "member",
    ["PolicyArns", "Tags", "TransitiveTagKeys", "SourceIdentity", "SerialNumber", "TokenCode"],
)
def test_members_of_a_session_without_effect_are_refused_by_name(sts: Any, role: dict[str, Any], member: str) -> None:
    values: dict[str, Any] = {
        "PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}],
        "Tags": [{"Key": "a", "Value": "b"}],
        "TransitiveTagKeys": ["a"],
        "SerialNumber": "arn:aws:iam::123456789012:mfa/me",
        "TokenCode": "123456",
    }
    wanted = {"RoleArn": role["Arn"], "RoleSessionName": "test", member: values.get(member, "me")}
    with pytest.raises(sts.exceptions.ClientError, match=member) as caught:
        sts.assume_role(**wanted)
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"


def test_other_accounts_begin_with_a_session(local: LocalEC2, sts: Any) -> None:
    arn = "arn:aws:iam::210987654321:role/first"
    made = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    keys = {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
        "aws_session_token": made["SessionToken"],
    }
    assert connect(local, "sts", **keys).get_caller_identity()["Account"] == "210987654321"
    connect(local, "iam", **keys).create_role(RoleName="second", AssumeRolePolicyDocument=TRUST)
    assert refusal(sts.assume_role, RoleArn=arn, RoleSessionName="test") == "AccessDenied"
    assert sts.assume_role(RoleArn=arn.replace("first", "second"), RoleSessionName="test")["Credentials"]


@pytest.fixture
def listed(iam: Any) -> Iterator[dict[str, Any]]:
    """What each listing needs, with two records at least."""
    names = ["listed-1", "listed-2"]
    policies = [
        iam.create_policy(PolicyName=name, PolicyDocument=POLICY, Tags=[{"Key": one, "Value": ""} for one in names])
        for name in names
    ]
    arns = [one["Policy"]["Arn"] for one in policies]
    iam.create_policy_version(PolicyArn=arns[0], PolicyDocument=POLICY)
    for name in names:
        tags = [{"Key": one, "Value": ""} for one in names]
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Tags=tags)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.attach_role_policy(RoleName=name, PolicyArn=arns[0])
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName="listed-1")
        iam.put_role_policy(RoleName="listed-1", PolicyName=name, PolicyDocument=POLICY)
    iam.attach_role_policy(RoleName="listed-1", PolicyArn=arns[1])
    yield {"RoleName": "listed-1", "PolicyArn": arns[0]}
    for name in names:
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName="listed-1")
        iam.delete_instance_profile(InstanceProfileName=name)
        iam.delete_role_policy(RoleName="listed-1", PolicyName=name)
        iam.detach_role_policy(RoleName=name, PolicyArn=arns[0])
    iam.detach_role_policy(RoleName="listed-1", PolicyArn=arns[1])
    for name in names:
        iam.delete_role(RoleName=name)
    iam.delete_policy_version(PolicyArn=arns[0], VersionId="v2")
    for arn in arns:
        iam.delete_policy(PolicyArn=arn)


@pytest.mark.parametrize(
    ("action", "member", "needs"),
    [
        ("list_attached_role_policies", "AttachedPolicies", "RoleName"),
        ("list_entities_for_policy", "PolicyRoles", "PolicyArn"),
        ("list_instance_profiles", "InstanceProfiles", ""),
        ("list_instance_profiles_for_role", "InstanceProfiles", "RoleName"),
        ("list_policies", "Policies", ""),
        ("list_policy_tags", "Tags", "PolicyArn"),
        ("list_policy_versions", "Versions", "PolicyArn"),
        ("list_role_policies", "PolicyNames", "RoleName"),
        ("list_role_tags", "Tags", "RoleName"),
        ("list_roles", "Roles", ""),
    ],
)
def test_listings_come_in_pages(iam: Any, listed: dict[str, Any], action: str, member: str, needs: str) -> None:
    wanted = {needs: listed[needs]} if needs else {}
    call = getattr(iam, action)
    whole = call(**wanted, MaxItems=1000)[member]
    pages: list[Any] = []
    marker: dict[str, str] = {}
    while True:
        page = call(**wanted, **marker, MaxItems=1)
        pages.append(page[member])
        if not page["IsTruncated"]:
            break
        marker = {"Marker": page["Marker"]}
    assert len(whole) >= 2
    assert pages == [[one] for one in whole]
    for invalid in ("x", "0", "999"):
        assert refusal(call, **wanted, Marker=invalid) == "ValidationError"
