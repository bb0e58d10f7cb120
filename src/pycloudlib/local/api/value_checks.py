"""Validation of enumerated values, hop limits, client tokens, and tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ListShape, OperationModel, Shape, StringShape, StructureShape

from pycloudlib.local.api.moto_adapter import EC2ClientError

LONGEST_KEY = 128
LONGEST_VALUE = 256
LONGEST_TOKEN = 64
MOST_HOPS = 64
MOST_NAMED = 12
"""The maximum number of known values that an error message lists."""

_NOT_HERE = {"AttributeNames", "InstanceType", "InstanceTypes"}
"""Members whose values other checks validate, with better messages."""


def check_values(operation: OperationModel, parameters: Mapping[str, Any]) -> None:
    """Validate the values of a request as EC2 does.

    Args:
        operation: botocore's model of the action.
        parameters: the parameters of the request, by botocore's names.

    Raises:
        EC2ClientError: a value is invalid (InvalidParameterValue).
    """
    if operation.input_shape is None:
        return
    for name, word, shape in _words(operation.input_shape, parameters):
        if name not in _NOT_HERE and word not in shape.enum:
            known = f" Known are {', '.join(shape.enum)}." if len(shape.enum) <= MOST_NAMED else ""
            raise _invalid(f"Value ({word}) for parameter {name} is invalid.{known}")
    hops = {**parameters, **(parameters.get("MetadataOptions") or {})}.get("HttpPutResponseHopLimit")
    if hops is not None and not 1 <= int(hops) <= MOST_HOPS:
        raise _invalid(f"Value ({hops}) for parameter HttpPutResponseHopLimit is invalid. Expected: 1 to {MOST_HOPS}.")
    token = str(parameters.get("ClientToken") or "")
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise _invalid(f"Client tokens have at most {LONGEST_TOKEN} ASCII characters: '{token}'")
    _check_tags(parameters.get("Tags") if operation.name == "CreateTags" else None)
    for specification in parameters.get("TagSpecifications") or parameters.get("TagSpecification") or ():
        _check_tags(specification.get("Tags"))


def _words(shape: Shape, value: Any, name: str = "") -> Iterator[tuple[str, str, StringShape]]:
    """Yield the name, value, and shape of every enumerated value, at any depth."""
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        for member, member_shape in shape.members.items():
            if value.get(member) is not None:
                yield from _words(member_shape, value[member], member)
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for one in value:
            yield from _words(shape.member, one, name)
    elif isinstance(shape, StringShape) and isinstance(value, str) and shape.enum:
        yield name, value, shape


def _check_tags(tags: list[Mapping[str, Any]] | None) -> None:
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
    keys = [str(tag.get("Key") or "") for tag in tags or ()]
    for key in keys:
        if key.lower().startswith("aws:"):
            raise _invalid("Tag keys starting with 'aws:' are reserved for internal use")
        if not 1 <= len(key) <= LONGEST_KEY:
            raise _invalid(f"Tag keys have from 1 to {LONGEST_KEY} characters: '{key}'")
        if keys.count(key) > 1:
            raise _invalid(f"Duplicate tag key '{key}' specified.")
    for tag in tags or ():
        if tag.get("Value") is None:
            raise _invalid("Tag value cannot be null. Use empty string instead.")
        if len(str(tag.get("Value") or "")) > LONGEST_VALUE:
            raise _invalid(f"Tag values have at most {LONGEST_VALUE} characters: that of '{tag.get('Key')}' has more")


def _invalid(reason: str) -> EC2ClientError:
    return EC2ClientError("InvalidParameterValue", reason)
