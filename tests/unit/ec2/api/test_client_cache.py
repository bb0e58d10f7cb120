"""What makes these tests fast: clients that share their methods."""

from __future__ import annotations

import boto3
import pytest
from botocore.client import BaseClient, ClientCreator
from botocore.hooks import EventAliaser, HierarchicalEmitter

from support import client_cache


def new_client(service: str = "ec2") -> BaseClient:
    session = boto3.Session(aws_access_key_id="id", aws_secret_access_key="secret", region_name="us-east-1")
    return session.client(service)


def own_methods(client: BaseClient) -> dict[str, object]:
    return {name: value for name, value in vars(type(client)).items() if callable(value)}


def test_clients_of_one_service_share_their_methods() -> None:
    first, second = new_client(), new_client()
    assert type(first) is not type(second)
    assert type(first).describe_instances is type(second).describe_instances
    assert type(new_client("sts")).get_caller_identity


def test_shared_methods_are_those_that_botocore_generates(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = own_methods(new_client())
    monkeypatch.setattr(ClientCreator, "_create_methods", client_cache._generate_methods)
    generated = own_methods(new_client())
    assert shared.keys() == generated.keys()
    assert shared["describe_instances"] is not generated["describe_instances"]


def test_other_aliases_of_events_have_names_of_their_own() -> None:
    usual, other = EventAliaser(HierarchicalEmitter()), EventAliaser(HierarchicalEmitter(), {"ec2": "other"})
    for aliaser in (other, usual):
        aliaser.emit("before-call.ec2.RunInstances")
    assert other._alias_name_cache == {"before-call.ec2.RunInstances": "before-call.other.RunInstances"}
    assert usual._alias_name_cache["before-call.ec2.RunInstances"] == "before-call.ec2.RunInstances"
