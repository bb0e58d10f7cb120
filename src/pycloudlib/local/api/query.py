"""The parser of EC2's Query API, based on botocore's model of each action.

Clients older than the model send some lists in other forms, which EC2 still accepts. They number elements from 0, omit
the number of a single element, or number the value of a parameter that is no list.
See https://docs.aws.amazon.com/ec2/latest/devguide/ec2-query-requests.html
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from botocore.model import ListShape, OperationModel, Shape, StructureShape
from botocore.utils import parse_timestamp

from pycloudlib.local.api.http_messages import NOT_XML
from pycloudlib.local.api.moto_adapter import EC2ClientError

COMMON = frozenset(
    {
        "Action",
        "Version",
        "AWSAccessKeyId",
        "Expires",
        "SecurityToken",
        "Signature",
        "SignatureMethod",
        "SignatureVersion",
        "Timestamp",
    }
)
"""The common parameters of all actions, except those with the prefix X-Amz-."""

MAX_DEPTH = 16
"""The maximum number of parts of a parameter's name; EC2's names have at most 7."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_BITS = {"integer": 32, "long": 64}
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


@dataclass
class _Node:
    """A part of a dotted name.

    Args:
        name: the name up to and including this part.
        value: the value of the parameter with exactly this name; None without one.
        parts: the following parts, by name.
    """

    name: str
    value: str | None = None
    parts: dict[str, _Node] = field(default_factory=dict)

    def numbered(self) -> list[_Node] | None:
        """Return the elements of a list in order; None if the parts are not all numbers."""
        if not all(_NUMBER.fullmatch(part) for part in self.parts):
            return None
        return [self.parts[part] for part in sorted(self.parts, key=int)]


def parse_query(operation: OperationModel, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of a request by botocore's names, as Python values.

    Args:
        operation: botocore's model of the action.
        values: the parameters of the request, by dotted name.

    Raises:
        EC2ClientError: a parameter is unknown (UnknownParameter) or invalid (InvalidParameterValue); the message names
            it.
    """
    root = _tree(values)
    if operation.input_shape is None:
        _refuse_unknown(root.parts.values())
        return {}
    return _structure(operation.input_shape, root)


def _tree(values: Mapping[str, str]) -> _Node:
    root = _Node("")
    for name, value in values.items():
        if name in COMMON or name.lower().startswith("x-amz-"):
            continue
        if NOT_XML.search(name) or NOT_XML.search(value):
            raise EC2ClientError("InvalidCharacter", f"The parameter {name} has an invalid character")
        parts = name.split(".")
        if len(parts) > MAX_DEPTH:
            raise _unknown(name)
        node = root
        for part in parts:
            node = node.parts.setdefault(part, _Node(f"{node.name}.{part}".lstrip(".")))
        node.value = value
    return root


def _value(shape: Shape, node: _Node) -> Any:
    if isinstance(shape, StructureShape):
        return _structure(shape, node)
    if isinstance(shape, ListShape):
        return _list(shape, node)
    return _scalar(shape, node)


def _structure(shape: StructureShape, node: _Node) -> dict[str, Any]:
    if node.value:
        raise _invalid(node.name, node.value, "Expected a structure")
    parts = dict(node.parts)
    members = {}
    for member, member_shape in shape.members.items():
        part = parts.pop(_query_name(member_shape, member), None)
        if part is not None:
            members[member] = _value(member_shape, part)
    _refuse_unknown(parts.values())
    return members


def _list(shape: ListShape, node: _Node) -> list[Any]:
    elements = node.numbered()
    if elements is None:
        # A single element without a number.
        return [_value(shape.member, node)]
    if node.value is None:
        return [_value(shape.member, element) for element in elements]
    if elements:
        raise _invalid(node.name, node.value, "Expected a list")
    return [_value(shape.member, node)] if node.value else []


def _scalar(shape: Shape, node: _Node) -> Any:
    if node.parts:
        elements = node.numbered()
        if node.value is not None or elements is None or len(elements) != 1 or elements[0].parts:
            raise _unknown(_deepest(node))
        node = elements[0]
    text = node.value or ""
    convert = _CONVERSIONS.get(shape.type_name)
    return convert(node.name, text, shape) if convert else text


def _integer(name: str, text: str, shape: Shape) -> int:
    bits = _BITS[shape.type_name]
    if not _INTEGER.fullmatch(text) or not -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1):
        raise _invalid(name, text, "Expected an integer")
    return int(text)


def _number(name: str, text: str, _: Shape) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number in (float("inf"), float("-inf")) or number != number:  # noqa: PLR0124  (NaN)
        raise _invalid(name, text, "Expected a number")
    return number


def _boolean(name: str, text: str, _: Shape) -> bool:
    if text.lower() not in _BOOLEANS:
        raise _invalid(name, text, "Expected true or false")
    return _BOOLEANS[text.lower()]


def _blob(name: str, text: str, _: Shape) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise EC2ClientError("InvalidParameterValue", f"Invalid BASE64 encoding of {name}") from error


def _timestamp(name: str, text: str, _: Shape) -> datetime:
    try:
        return parse_timestamp(text).astimezone(timezone.utc).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError) as error:
        raise _invalid(name, text, "Expected a timestamp such as 2026-01-31T12:00:00Z") from error


_CONVERSIONS: dict[str, Callable[[str, str, Shape], Any]] = {
    "integer": _integer,
    "long": _integer,
    "float": _number,
    "double": _number,
    "boolean": _boolean,
    "blob": _blob,
    "timestamp": _timestamp,
}


def _query_name(shape: Shape, member: str) -> str:
    if "queryName" in shape.serialization:
        return str(shape.serialization["queryName"])
    name = str(shape.serialization.get("name", member))
    return name[:1].upper() + name[1:]


def _refuse_unknown(nodes: Iterable[_Node]) -> None:
    for node in nodes:
        raise _unknown(_deepest(node))


def _deepest(node: _Node) -> str:
    """Return the name of the first parameter below a node."""
    while node.parts:
        node = next(iter(node.parts.values()))
    return node.name


def _unknown(name: str) -> EC2ClientError:
    return EC2ClientError("UnknownParameter", f"The parameter {name} is not recognized")


def _invalid(name: str, value: str, expected: str) -> EC2ClientError:
    return EC2ClientError("InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid. {expected}.")
