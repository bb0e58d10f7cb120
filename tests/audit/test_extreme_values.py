"""Requests with a member left out, or with an extreme value: answered soon, and without an internal error."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

from pycloudlib.local.api.audit import audit_of
from support.audit_cases import CASES
from support.audit_requests import members_of, operation_of, with_member
from support.audit_world import World

ANSWER_SECONDS = 60
EXTREMES: dict[str, tuple[Any, ...]] = {
    "integer": (-1, 0, 2**31 - 1),
    "string": ("", "-1", "*", "x" * 300),
}


@pytest.fixture(scope="module")
def wild(world: World) -> Any:
    """A client that neither validates nor repeats requests."""
    return boto3.client(
        "ec2",
        endpoint_url=world.c.meta.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=ANSWER_SECONDS, parameter_validation=False),
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each member and element."""
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def without(request: Any, path: tuple[Any, ...]) -> Any:
    left = copy.deepcopy(request)
    inner = left
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return left


def requests(action: str, base: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    shape, audit = operation_of(action).input_shape, audit_of(action)
    assert audit is not None
    for path in places(base):
        if path == ("SourceRegion",):  # botocore itself needs it, to sign CopySnapshot
            continue
        yield f"without {path}", without(base, path)
    for name, member in members_of(action).items():
        for value in EXTREMES.get(member.type_name, ()) if name in audit.kept else ():
            assert shape is not None
            outer = name.partition(".")[0]
            alone = {one: given for one, given in base.items() if one != outer}
            yield f"{name}={value!r}", with_member(shape, base, name, value)
            if outer != name:
                yield f"only {name}={value!r}", with_member(shape, alone, name, value)


@pytest.mark.parametrize("action", CASES)
def test_extreme_requests_are_answered(world: World, wild: Any, action: str) -> None:
    base = {name: value for name, value in CASES[action].base(world).items() if value is not None}
    failed = []
    for what, request in requests(action, base):
        try:
            getattr(wild, xform_name(action))(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] == "InternalError":
                failed.append(what)
    assert not failed, "\n".join(failed)
