"""Requests with one member more, and whether that member has an effect."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import ListShape, OperationModel, Shape, StructureShape
from botocore.session import get_session

from pycloudlib.local.api.audit import COMMON, audit_of
from support.audit_cases import CASES, Case, Parameters
from support.audit_world import World, without_chance

MODEL = get_session().get_service_model("ec2")


class Outcome(enum.Enum):
    """What came of a member."""

    EFFECT = "has an effect"
    REFUSED = "is refused"
    CHECKED = "is compared with the records"
    NOTHING = "is accepted without effect"
    FAULT = "is answered with an internal error"


def operation_of(action: str) -> OperationModel:
    return MODEL.operation_model(action)


def members_of(action: str) -> dict[str, Shape]:
    """All scalar members of an action's request, by path, but for those that every action has."""
    shape = operation_of(action).input_shape
    return dict(_leaves(shape)) if shape else {}


def _leaves(shape: Shape, path: str = "", within: tuple[str, ...] = ()) -> Iterator[tuple[str, Shape]]:
    if isinstance(shape, StructureShape):
        if shape.name in within:
            return
        for name, member in shape.members.items():
            if path or name not in COMMON:
                yield from _leaves(member, f"{path}.{name}".lstrip("."), (*within, shape.name))
    elif isinstance(shape, ListShape):
        yield from _leaves(shape.member, path, within)
    else:
        yield path, shape


def samples(path: str, shape: Shape, case: Case, world: World) -> list[Any]:
    """Values to try for a member."""
    if path in case.values:
        given = case.values[path]
        return [given(world) if callable(given) else given]
    values = getattr(shape, "enum", None)
    if values:
        return list(values)[:8]
    return {
        "blob": [b"audit"],
        "boolean": [True, False],
        "double": [0.5],
        "float": [0.5],
        "integer": [7],
        "long": [7],
        "timestamp": ["2033-04-05T06:07:08Z"],
    }.get(shape.type_name, ["audit-value"])


def with_member(shape: Shape, given: Any, path: str, value: Any) -> Any:
    """Return a request with a member set; in lists, that of the first element."""
    name, _, rest = path.partition(".")
    if isinstance(shape, ListShape):
        elements = list(given or [])
        first = elements[0] if elements else None
        return [with_member(shape.member, first, path, value) if path else value, *elements[1:]]
    member = shape.members[name]  # type: ignore[attr-defined]
    members = dict(given or {})
    if rest or isinstance(member, ListShape):
        members[name] = with_member(member, members.get(name), rest, value)
    else:
        members[name] = value
    return members


class Attempt:
    """The requests of one action.

    Args:
        world: what they refer to.
        action: its name.
    """

    def __init__(self, world: World, action: str) -> None:
        self._world = world
        self._action = action
        self._case = CASES[action]
        self._references: dict[tuple[str, ...], str] = {}
        self.audit = audit_of(action)

    def outcome(self, path: str, value: Any) -> Outcome:
        """Tell what a member with a value does, against the same request without it."""
        reference = self._reference(path)
        request = self._request(path)
        request = with_member(operation_of(self._action).input_shape, request, path, value)  # type: ignore[arg-type]
        try:
            seen = self._send(request)
        except ClientError as error:
            return _refusal(error.response["Error"]["Code"])
        text = value.decode() if isinstance(value, bytes) else str(value)
        shown = f'"{text}"' in seen and f'"{text}"' not in reference
        return Outcome.EFFECT if shown or without_chance(seen) != without_chance(reference) else Outcome.NOTHING

    def refusal(self, path: str, value: Any) -> str:
        """Return the message with which a member is refused; "" if it is not."""
        code, message = self._error(path, value)
        return message if code == "UnsupportedOperation" else ""

    def code(self, path: str, value: Any) -> str:
        """Return the code of the error that a member leads to; "" without one."""
        return self._error(path, value)[0]

    def _error(self, path: str, value: Any) -> tuple[str, str]:
        request = with_member(operation_of(self._action).input_shape, self._request(path), path, value)  # type: ignore[arg-type]
        try:
            self._call({name: given for name, given in request.items() if given is not None})
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["Error"]["Message"]
        return "", ""

    def _reference(self, path: str) -> str:
        beside = tuple(one for one in self._case.beside if _leads_to(one, path))
        if beside not in self._references:
            try:
                self._references[beside] = self._send(self._request(path))
            except ClientError:
                # Without the member, the request is not even valid.
                self._references[beside] = ""
        return self._references[beside]

    def _request(self, path: str) -> Parameters:
        request = dict(self._case.base(self._world))
        nearest = [one for one in self._case.beside if _leads_to(one, path)]
        if nearest:
            request |= self._case.beside[max(nearest, key=len)](self._world)
        return request

    def _send(self, request: Parameters) -> str:
        request = {name: given for name, given in request.items() if given is not None}
        response = self._call(request)
        return json.dumps(self._case.look(self._world, request, response), default=str, sort_keys=True)

    def _call(self, request: Parameters) -> Any:
        response = getattr(self._world.c, xform_name(self._action))(**request)
        response.pop("ResponseMetadata", None)
        return response


def _leads_to(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}.")


def _refusal(code: str) -> Outcome:
    if code == "UnsupportedOperation":
        return Outcome.REFUSED
    return Outcome.FAULT if code == "InternalError" else Outcome.CHECKED
