"""Members that botocore's model calls optional, and without which a request would change nothing."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from pycloudlib.local.api.audit import ActionAudit, audit_of, check_choices, supported_actions
from pycloudlib.local.api.moto_adapter import EC2ClientError
from support.audit_cases import CASES
from support.audit_requests import operation_of
from support.audit_world import World

ROUTE = ActionAudit({}, one_of=(("CidrBlock", "Ipv6CidrBlock"),), any_of=(("Tokens", "Hops"),))


def groups(action: str) -> tuple[tuple[str, ...], ...]:
    found = audit_of(action)
    assert found is not None
    return found.one_of + found.any_of


CHOICES = [(action, group) for action in supported_actions() for group in groups(action)]


def code(audit: ActionAudit, **parameters: Any) -> str:
    with pytest.raises(EC2ClientError) as caught:
        check_choices(audit, parameters)
    return str(caught.value.code)


def test_one_of_takes_exactly_one() -> None:
    assert code(ROUTE, Hops=1) == "MissingParameter"
    assert code(ROUTE, Hops=1, CidrBlock="a", Ipv6CidrBlock="b") == "InvalidParameterCombination"
    check_choices(ROUTE, {"Hops": 1, "CidrBlock": "a"})


def test_any_of_takes_at_least_one() -> None:
    assert code(ROUTE, CidrBlock="a", Tokens=[]) == "MissingParameter"
    check_choices(ROUTE, {"CidrBlock": "a", "Hops": 0, "Tokens": "b"})


@pytest.mark.parametrize(("action", "group"), CHOICES)
def test_choices_are_members_of_the_request(action: str, group: tuple[str, ...]) -> None:
    shape = operation_of(action).input_shape
    assert shape is not None
    assert set(group) <= set(shape.members) - set(shape.required_members)


@pytest.mark.parametrize(("action", "group"), CHOICES)
def test_request_without_any_choice_is_refused(world: World, action: str, group: tuple[str, ...]) -> None:
    request = {name: value for name, value in CASES[action].base(world).items() if name not in group}
    with pytest.raises(ClientError) as caught:
        getattr(world.c, xform_name(action))(**request)
    assert caught.value.response["Error"]["Code"] == "MissingParameter"
