"""Conversion of a Topology to a JSON document, and back."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

from pycloudlib.local.network.topology import Topology


def to_document(value: Any) -> Any:
    """Convert a topology, or a part of it, to JSON values: objects, lists, and scalars."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {field.name: to_document(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_document(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [to_document(item) for item in value]
    return value


def topology_from(document: Mapping[str, Any]) -> Topology:
    """Convert a document of `to_document()` back to a topology."""
    topology: Topology = _read(Topology, document)
    return topology


def _read(kind: Any, value: Any) -> Any:  # noqa: PLR0911  (one return per kind of field)
    if value is None:
        return None
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):  # "X | None" with a value
        return _read(arguments[0], value)
    if origin is tuple:
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return tuple(map(_read, kinds, value))
    if origin is frozenset:
        return frozenset(value)
    if origin is Mapping:
        return {key: _read(arguments[1], item) for key, item in value.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if dataclasses.is_dataclass(kind):
        make: Any = kind
        return make(**{name: _read(hint, value[name]) for name, hint in _fields(make).items()})
    return value


@cache
def _fields(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
