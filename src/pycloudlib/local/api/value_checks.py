"""Validation of enumerated values, ranges, client tokens, and tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ListShape, OperationModel, Shape, StructureShape

from pycloudlib.local.api.moto_adapter import EC2ClientError

LONGEST_KEY = 128
LONGEST_VALUE = 256
LONGEST_TOKEN = 64
MOST_NAMED = 12
"""The maximum number of known values that an error message lists."""

_RANGES: Mapping[str, tuple[int, int | None]] = {
    "DeviceIndex": (0, None),
    "HttpPutResponseHopLimit": (1, 64),
    "InstanceCount": (1, None),
    "Ipv6AddressCount": (0, None),
    # https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
    "MaxEntries": (1, 1000),
    "RuleNumber": (1, 32766),
    "SecondaryPrivateIpAddressCount": (0, None),
}
"""The lowest and the highest value (None for any) of numbers that other checks do not validate, by member."""

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
    for name, value, shape in _scalars(operation.input_shape, parameters):
        if name in _RANGES:
            _check_range(name, int(value))
        accepted = getattr(shape, "enum", None)
        if accepted and name not in _NOT_HERE and value not in accepted:
            choices = f" Known are {', '.join(accepted)}." if len(accepted) <= MOST_NAMED else ""
            raise _invalid(f"Value ({value}) for parameter {name} is invalid.{choices}")
    token = str(parameters.get("ClientToken") or "")
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise _invalid(f"Client tokens have at most {LONGEST_TOKEN} ASCII characters: '{token}'")
    _check_tags(parameters.get("Tags") if operation.name == "CreateTags" else None)
    for specification in parameters.get("TagSpecifications") or parameters.get("TagSpecification") or ():
        _check_tags(specification.get("Tags"))


def _scalars(shape: Shape, value: Any, name: str = "") -> Iterator[tuple[str, Any, Shape]]:
    """Yield the name, value, and shape of every scalar, at any depth."""
    if isinstance(shape, StructureShape):
        for member, member_shape in shape.members.items() if isinstance(value, Mapping) else ():
            if value.get(member) is not None:
                yield from _scalars(member_shape, value[member], member)
    elif isinstance(shape, ListShape):
        for item in value if isinstance(value, list) else ():
            yield from _scalars(shape.member, item, name)
    else:
        yield name, value, shape


def _check_range(name: str, value: int) -> None:
    lowest, highest = _RANGES[name]
    if value < lowest or (highest is not None and value > highest):
        expected = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
        raise _invalid(f"Value ({value}) for parameter {name} is invalid. Expected: {expected}.")


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
