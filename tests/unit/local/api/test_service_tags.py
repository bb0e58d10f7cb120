"""Tags of the services beside EC2: what AWS refuses is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from pycloudlib.local import LocalEC2
from support.plain_ec2 import refusal
from support.services import TRUST, connect

Call = Callable[[list[dict[str, str]]], Any]

NUMBERS = count()
POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'

CREATE: dict[str, Callable[[Any, list[dict[str, str]]], Any]] = {
    "CreateRole": lambda iam, tags: iam.create_role(RoleName=name(), AssumeRolePolicyDocument=TRUST, Tags=tags),
    "CreateInstanceProfile": lambda iam, tags: iam.create_instance_profile(InstanceProfileName=name(), Tags=tags),
    "CreatePolicy": lambda iam, tags: iam.create_policy(PolicyName=name(), PolicyDocument=POLICY, Tags=tags),
    "TagInstanceProfile": lambda iam, tags: iam.tag_instance_profile(InstanceProfileName="tagged", Tags=tags),
    "PutParameter": lambda ssm, tags: ssm.put_parameter(Name=f"/{name()}", Value="v", Type="String", Tags=tags),
    "CreateTopic": lambda sns, tags: sns.create_topic(Name=name(), Tags=tags),
}
SERVICE = {"PutParameter": "ssm", "CreateTopic": "sns"}
"""The service of an action; all others are of IAM."""

MANY = [{"Key": f"key{number}", "Value": ""} for number in range(51)]


def name() -> str:
    return f"name{next(NUMBERS)}"


def tag(key: str, value: str = "") -> dict[str, str]:
    return {"Key": key, "Value": value}


@pytest.fixture(scope="module")
def clients(local: LocalEC2) -> dict[str, Any]:
    made = {service: connect(local, service) for service in ("iam", "ssm", "sns", "sts")}
    made["iam"].create_instance_profile(InstanceProfileName="tagged")
    return made


@pytest.fixture(params=CREATE)
def action(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def create(clients: dict[str, Any], action: str) -> Call:
    return lambda tags: CREATE[action](clients[SERVICE.get(action, "iam")], tags)


INVALID = {"iam": "ValidationError", "ssm": "ValidationException", "sns": "InvalidParameter"}
OTHERWISE = {"iam": "InvalidInput", "ssm": "ValidationException", "sns": "InvalidParameter"}
TOO_MANY = {"iam": "ValidationError", "ssm": "TooManyTagsError", "sns": "TagLimitExceeded"}


def test_long_tags_are_refused(create: Call, action: str) -> None:
    code = INVALID[SERVICE.get(action, "iam")]
    for wrong in (tag(""), tag("k" * 129), tag("k", "v" * 257)):
        assert refusal(create, tags=[wrong]) == code
    create([tag("k" * 128, "v" * 256)])


def test_tags_with_other_characters_are_refused(create: Call, action: str) -> None:
    code = INVALID[SERVICE.get(action, "iam")]
    create([tag("a_.:/=+-@ 9", "b c"), tag("żółw\u00a0٣中", "über")])
    if action == "CreateTopic":
        return  # SNS's model has no pattern
    for wrong in (tag("a!"), tag("a\n"), tag("a", "*"), tag("a", "line\nline"), tag("a", "\u20ac")):
        assert refusal(create, tags=[wrong]) == code


def test_reserved_keys_are_refused(create: Call, action: str) -> None:
    for wrong in ("aws:name", "AWS:name"):
        assert refusal(create, tags=[tag(wrong)]) == OTHERWISE[SERVICE.get(action, "iam")]
    create([tag("name", "aws:name"), tag("awsname")])


def test_duplicate_keys_are_refused(create: Call, action: str) -> None:
    assert refusal(create, tags=[tag("a"), tag("a", "b")]) == OTHERWISE[SERVICE.get(action, "iam")]


def test_more_than_50_tags_are_refused(create: Call, action: str) -> None:
    assert refusal(create, tags=MANY) == TOO_MANY[SERVICE.get(action, "iam")]
    create(MANY[:50])


def test_keys_of_roles_ignore_case(clients: dict[str, Any]) -> None:
    iam = clients["iam"]
    wanted = {"RoleName": name(), "AssumeRolePolicyDocument": TRUST}
    assert refusal(iam.create_role, **wanted, Tags=[tag("a"), tag("A")]) == "InvalidInput"
    iam.tag_instance_profile(InstanceProfileName="tagged", Tags=[tag("b"), tag("B")])
    tags = iam.get_instance_profile(InstanceProfileName="tagged")["InstanceProfile"]["Tags"]
    assert {"b", "B"} <= {one["Key"] for one in tags}


@pytest.mark.parametrize("keys", [["a!"], ["k" * 129], [""], [one["Key"] for one in MANY]])
def test_keys_to_remove_fit_the_model(clients: dict[str, Any], keys: list[str]) -> None:
    untag = clients["iam"].untag_instance_profile
    assert refusal(untag, InstanceProfileName="tagged", TagKeys=keys) == "ValidationError"


def test_tags_of_sessions_fit_the_model(clients: dict[str, Any]) -> None:
    wanted = {"RoleArn": "arn:aws:iam::123456789012:role/any", "RoleSessionName": "any"}
    assume_role = clients["sts"].assume_role
    for wrong in (tag("a!"), tag("k" * 129), tag("k", "v" * 257)):
        assert refusal(assume_role, **wanted, Tags=[wrong]) == "ValidationError"
    assert refusal(assume_role, **wanted, TransitiveTagKeys=["a!"]) == "ValidationError"
    assert refusal(assume_role, **wanted, Tags=[tag("a")]) == "UnsupportedOperation"
