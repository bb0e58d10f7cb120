"""ModifyInstanceAttribute: one attribute, in the forms in which clients send it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from pycloudlib.local import LocalEC2
from support.local_network import Launch, wait_for
from support.query_api import QueryAPI

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

SCRIPT = b"#!/bin/sh\necho \xff\n"
ENCODED = base64.b64encode(SCRIPT).decode()


@pytest.fixture(scope="module")
def api(local: LocalEC2) -> QueryAPI:
    return QueryAPI(local)


@pytest.fixture
def stopped(client: EC2Client, launch: Launch) -> str:
    instance_id = launch(UserData="first")
    client.stop_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "stopped")
    return instance_id


def refusal(call: Callable[..., Any], **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


def user_data(client: EC2Client, instance_id: str) -> bytes | None:
    attribute = client.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")["UserData"]
    return base64.b64decode(attribute["Value"]) if attribute else None


def test_boto3_replaces_user_data(client: EC2Client, stopped: str) -> None:
    client.modify_instance_attribute(InstanceId=stopped, UserData={"Value": SCRIPT})
    assert user_data(client, stopped) == SCRIPT
    client.modify_instance_attribute(InstanceId=stopped, UserData={"Value": b""})
    assert user_data(client, stopped) is None


@pytest.mark.parametrize(
    "parameters",
    [{"UserData.Value": ENCODED}, {"Attribute": "userData", "Value": ENCODED}],
    ids=["SDKs", "by name, as the AWS command line"],
)
def test_user_data_is_encoded_once(api: QueryAPI, client: EC2Client, stopped: str, parameters: dict[str, str]) -> None:
    reply = api.send({"Action": "ModifyInstanceAttribute", "InstanceId": stopped, **parameters})
    assert reply.find("return") == "true"
    assert user_data(client, stopped) == SCRIPT


def test_user_data_has_a_limit(client: EC2Client, stopped: str) -> None:
    change = {"InstanceId": stopped, "UserData": {"Value": b"x" * 16385}}
    assert refusal(client.modify_instance_attribute, **change) == "InvalidParameterValue"
    assert user_data(client, stopped) == b"first"


def test_user_data_that_is_not_base64_is_refused(api: QueryAPI, stopped: str) -> None:
    for form in ({"UserData.Value": "plain text"}, {"Attribute": "userData", "Value": "plain text"}):
        reply = api.send({"Action": "ModifyInstanceAttribute", "InstanceId": stopped, **form})
        assert reply.code == "InvalidParameterValue"


def test_user_data_of_a_running_instance_stays(client: EC2Client, launch: Launch) -> None:
    instance_id = launch(UserData="first")
    change = {"InstanceId": instance_id, "UserData": {"Value": b"second"}}
    assert refusal(client.modify_instance_attribute, **change) == "IncorrectInstanceState"
    assert user_data(client, instance_id) == b"first"


def test_one_request_changes_one_attribute(client: EC2Client, stopped: str) -> None:
    change: dict[str, Any] = {"InstanceType": {"Value": "t3.large"}, "DisableApiTermination": {"Value": True}}
    assert refusal(client.modify_instance_attribute, InstanceId=stopped, **change) == "InvalidParameterCombination"
    described = client.describe_instances(InstanceIds=[stopped])["Reservations"][0]["Instances"][0]
    assert described["InstanceType"] == "t3.small"


def test_requests_without_an_attribute_are_refused(client: EC2Client, stopped: str) -> None:
    assert refusal(client.modify_instance_attribute, InstanceId=stopped) == "MissingParameter"
    named = {"InstanceId": stopped, "Attribute": "userData"}
    assert refusal(client.modify_instance_attribute, **named) == "MissingParameter"


@pytest.mark.parametrize("name", ["disableApiStop", "disableApiTermination", "ebsOptimized", "sourceDestCheck"])
def test_flags_are_changed_by_name(client: EC2Client, stopped: str, name: Any) -> None:
    member = name[0].upper() + name[1:]
    for value in ("true", "false"):
        client.modify_instance_attribute(InstanceId=stopped, Attribute=name, Value=value)
        attribute: Any = client.describe_instance_attribute(InstanceId=stopped, Attribute=name)
        assert attribute[member] == {"Value": value == "true"}
    refused = {"InstanceId": stopped, "Attribute": name, "Value": "perhaps"}
    assert refusal(client.modify_instance_attribute, **refused) == "InvalidParameterValue"


def test_source_dest_check_is_that_of_the_primary_interface(client: EC2Client, stopped: str) -> None:
    client.modify_instance_attribute(InstanceId=stopped, SourceDestCheck={"Value": False})
    described = client.describe_instances(InstanceIds=[stopped])["Reservations"][0]["Instances"][0]
    assert described["NetworkInterfaces"][0]["SourceDestCheck"] is described["SourceDestCheck"] is False
