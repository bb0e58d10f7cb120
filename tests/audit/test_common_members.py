"""DryRun and ClientToken, which every action that changes something has."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from support.audit_cases import CASES
from support.audit_requests import operation_of
from support.audit_world import World


def has(action: str, member: str) -> bool:
    shape = operation_of(action).input_shape
    return shape is not None and member in shape.members


def send(world: World, action: str, request: dict[str, Any]) -> Any:
    response = getattr(world.c, xform_name(action))(**request)
    response.pop("ResponseMetadata")
    return response


@pytest.mark.parametrize("action", [one for one in CASES if has(one, "DryRun")])
def test_dry_run_changes_nothing(world: World, action: str) -> None:
    with pytest.raises(ClientError) as caught:
        send(world, action, {**CASES[action].base(world), "DryRun": True})
    assert caught.value.response["Error"]["Code"] == "DryRunOperation"


@pytest.mark.parametrize("action", [one for one in CASES if has(one, "ClientToken")])
def test_a_request_with_a_client_token_is_served_once(world: World, action: str) -> None:
    request = {**CASES[action].base(world), "ClientToken": world.name("token")}
    assert send(world, action, request) == send(world, action, request)
