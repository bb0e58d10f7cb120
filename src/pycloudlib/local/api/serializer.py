"""The serializer of EC2's XML responses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import ListShape, OperationModel, Shape, StructureShape

from pycloudlib.local.api.http_messages import NOT_XML

NAMESPACE = "http://ec2.amazonaws.com/doc/{version}/"
CONTENT_TYPE = "text/xml;charset=UTF-8"

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
_SPECIAL = re.compile(f"[&<>]|{NOT_XML.pattern}")
_REQUEST_ID = re.compile(r"<requestId>[^<]*</requestId>")
_DEFAULT_VERSION = "2016-11-15"

Write = Callable[[list[str], Any], None]
"""Appends the XML element of a value to the parts of a body."""

_RETURNING = {"AssignPrivateIpAddresses", "AssociateAddress", "CreatePlacementGroup"}
"""Actions with a `return` element in the response that botocore's model lacks."""


def head(operation: OperationModel, *, request_id: str, version: str | None) -> str:
    """Return the beginning of a response's body, which differs between requests.

    Args:
        operation: botocore's model of the action.
        request_id: a UUID.
        version: the API version that the request names; None for the default version.
    """
    stated = version if version and _VERSION.fullmatch(version) else _DEFAULT_VERSION
    namespace = NAMESPACE.format(version=stated)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{operation.name}Response xmlns="{namespace}">'
        f"<requestId>{request_id}</requestId>"
    )


def rest(operation: OperationModel, plain: Mapping[str, Any]) -> str:
    """Return a response's body without its head.

    Args:
        operation: botocore's model of the action.
        plain: the members of the response, converted by a `Reader`.
    """
    out: list[str] = []
    shape = operation.output_shape
    if shape is None or "Return" in shape.members or operation.name in _RETURNING:
        out.append(f"<return>{_text(plain.get('Return', True))}</return>")
    if shape is not None:
        members = _member_writers(shape)
        for name, value in plain.items():
            if name != "Return":
                members[name](out, value)
    out.append(f"</{operation.name}Response>")
    return "".join(out)


@cache
def _member_writers(shape: StructureShape) -> Mapping[str, Write]:
    return {
        name: _writer(member, str(member.serialization.get("name", name))) for name, member in shape.members.items()
    }


def _writer(shape: Shape, name: str) -> Write:
    """Return a function that writes an element with the values of a shape."""
    if isinstance(shape, ListShape):
        return _list_writer(shape, name)
    begin, end = f"<{name}>", f"</{name}>"
    if not isinstance(shape, StructureShape):
        return lambda out, value: out.append(f"{begin}{_text(value)}{end}")

    def write(out: list[str], value: Mapping[str, Any]) -> None:
        # Resolve members lazily: a shape may contain itself.
        members = _member_writers(shape)
        out.append(begin)
        for member, member_value in value.items():
            members[member](out, member_value)
        out.append(end)

    return write


def _list_writer(shape: ListShape, name: str) -> Write:
    if shape.serialization.get("flattened"):
        element, begin, end, empty = name, "", "", ""
    else:
        element = str(shape.member.serialization.get("name", "member"))
        begin, end, empty = f"<{name}>", f"</{name}>", f"<{name}/>"
    write_element = _writer(shape.member, element)

    def write(out: list[str], values: list[Any]) -> None:
        if not values:
            out.append(empty)
            return
        out.append(begin)
        for value in values:
            write_element(out, value)
        out.append(end)

    return write


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return escape(NOT_XML.sub("\ufffd", text)) if _SPECIAL.search(text) else text


def replace_request_id(body: str, request_id: str) -> str:
    """Return a response's body with a new request id, which is unique even for a repeated response."""
    return _REQUEST_ID.sub(f"<requestId>{request_id}</requestId>", body, count=1)
