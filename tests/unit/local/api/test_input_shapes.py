"""Malformed requests to the services that moto implements: an error of the service, never an InternalError."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from pycloudlib.local import LocalEC2
from support.query_api import AUTHORIZATION, QueryAPI, Reply

JSON = {"Content-Type": "application/x-amz-json-1.1"}
REST = {"Content-Type": "application/json"}
TEMPLATE = {
    "clientToken": "token",
    "description": "interrupt",
    "stopConditions": [{"source": "none"}],
    "roleArn": "arn:aws:iam::123456789012:role/fis",
    "targets": {"spot": {"resourceType": "aws:ec2:spot-instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}}},
    "actions": {
        "interrupt": {"actionId": "aws:ec2:send-spot-instance-interruptions", "targets": {"SpotInstances": "spot"}}
    },
}


@pytest.fixture(scope="module")
def api(local: LocalEC2) -> QueryAPI:
    return QueryAPI(local)


def send_json(api: QueryAPI, action: str, body: bytes) -> Reply:
    return api.post(body, "ssm", **JSON, **{"X-Amz-Target": f"AmazonSSM.{action}"})


def ask_fis(api: QueryAPI, method: str, path: str, body: Any = None) -> Reply:
    headers = {**REST, "Authorization": AUTHORIZATION.format(region=api.local.region, service="fis")}
    data = None if body is None else json.dumps(body).encode()
    return api.request(method, f"{api.local.endpoint_url}/{path}", data, headers)


def error(reply: Reply) -> str:
    assert reply.status == 400, reply.text
    return str(json.loads(reply.text)["__type"])


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000], ids=["open", "no UTF-8", "nested"])
def test_body_that_is_not_json_is_refused(api: QueryAPI, body: bytes) -> None:
    assert error(send_json(api, "GetParameter", body)) == "SerializationException"


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("GetParameter", []),
        ("GetParameter", None),
        ("GetParameter", {}),
        ("GetParameter", {"Name": [1]}),
        ("GetParameter", {"Name": "x", "Nmae": "x"}),
        ("GetParameters", {"Names": [1]}),
        ("GetParametersByPath", {"Path": "/", "MaxResults": "x"}),
        ("PutParameter", {"Name": "x", "Value": 5}),
        ("DescribeParameters", {"NextToken": "x"}),
    ],
)
def test_members_of_json_have_the_type_of_the_model(api: QueryAPI, action: str, body: Any) -> None:
    assert error(send_json(api, action, json.dumps(body).encode())) == "ValidationException"


@pytest.mark.parametrize(
    "change",
    [
        {"targets": "spot"},
        {"targets": {"spot": "all"}},
        {"actions": {"interrupt": 1}},
        {"stopConditions": ["none"]},
        {"roleArn": None},
        {"unknown": 1},
    ],
)
def test_experiment_templates_have_the_form_of_the_model(api: QueryAPI, change: dict[str, Any]) -> None:
    assert error(ask_fis(api, "POST", "experimentTemplates", {**TEMPLATE, **change})) == "ValidationException"
    assert ask_fis(api, "POST", "experimentTemplates", TEMPLATE).status == 200


def test_parameters_in_the_query_string_are_validated(api: QueryAPI) -> None:
    assert error(ask_fis(api, "GET", "experiments?maxResults=x")) == "ValidationException"
    assert ask_fis(api, "GET", "experiments?maxResults=5").status == 200


@pytest.mark.parametrize(
    ("service", "parameters"),
    [
        ("iam", {"Action": "SetDefaultPolicyVersion"}),
        ("iam", {"Action": "ListRoles", "Marker": "x"}),
        ("sts", {"Action": "AssumeRole"}),
        ("sts", {"DurationSeconds": "long"}),
        ("sts", {"DurationSeconds": "899"}),
        ("sts", {"DurationSeconds": "43201"}),
        pytest.param("sts", {"DurationSeconds": "9" * 5000}, id="5000 digits"),
    ],
)
def test_query_requests_have_the_members_of_the_model(api: QueryAPI, service: str, parameters: dict[str, str]) -> None:
    role = {"Action": "AssumeRole", "RoleArn": "arn:aws:iam::123456789012:role/a", "RoleSessionName": "a"}
    reply = api.send(parameters if "Action" in parameters else {**role, **parameters}, service)
    assert (reply.status, reply.code) == (400, "ValidationError")


@pytest.mark.parametrize(
    "parameters",
    [
        {"Action": "CreateTopic"},
        {"Action": "ListTopics", "NextToken": "x"},
        {"Action": "Publish", "Message": "x"},
        {"Action": "Publish", "Message": "x", "TargetArn": "x"},
        {"Action": "Subscribe", "TopicArn": "x", "Protocol": "http", "Endpoint": "http://127.0.0.1:1/"},
        {"Action": "GetTopicAttributes", "TopicArn": "x"},
    ],
)
def test_sns_names_invalid_parameters(api: QueryAPI, parameters: dict[str, str]) -> None:
    reply = api.send(parameters, "sns")
    assert (reply.status, reply.code) == (400, "InvalidParameter")


def test_query_parameters_may_be_in_the_url(api: QueryAPI) -> None:
    headers = {"Authorization": AUTHORIZATION.format(region="us-east-1", service="sns")}
    query = urlencode({"Action": "CreateTopic", "Name": "topic"})
    assert api.request("GET", f"{api.local.endpoint_url}/?{query}", None, headers).status == 200
