"""Readers that convert handler results, which are moto's records, according to botocore's output shapes.

moto's own serializer tries several attribute names for every member. Examples are the member's name, its snake case,
the name of its shape, and the name without its class's prefix. A `Reader` computes them once per member and class. It
serves filters, which read single members of many records, and responses, which read all members of few records.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from operator import attrgetter, itemgetter
from typing import Any

from botocore.model import ListShape, OperationModel, Shape, StructureShape

from pycloudlib.local.api.moto_adapter import attribute_names, format_timestamp

Transform = Callable[[Any], Any]

Find = Callable[[Any], Any]
"""Returns a member of a value."""

Layout = tuple[type, tuple[str, ...]]
"""The class of a value, and the names of its attributes or items."""

_MISSING = object()

KEPT_WHEN_EMPTY = frozenset({"AttributeValue", "AttributeBooleanValue"})
"""Structures that EC2 returns even if empty: an attribute without a value."""


class Reader:
    """Reads values of one shape at one place of a response.

    Args:
        shape: botocore's shape.
        path: the operation and the members down to this place, as in the keys of moto's transformers.
        transforms: the transformers of moto's response class, by the end of a member's path.
    """

    def __init__(self, shape: Shape, path: str, transforms: Mapping[str, Transform]) -> None:
        self.shape = shape
        self._path = path
        self._transforms = transforms
        self._members: dict[str, tuple[Reader, Transform | None]] = {}
        self._finders: dict[tuple[type, str], Find] = {}
        self._finders_of: dict[Layout, tuple[tuple[str, Find, Reader], ...]] = {}
        self._element: Reader | None = None
        self.plain: Callable[[Any], Any]
        """Converts a value to dictionaries, lists, and scalars that the serializer writes."""
        if isinstance(shape, StructureShape):
            self.plain = self._structure
        elif isinstance(shape, ListShape):
            self.plain = self._list
        else:
            self.plain = _SCALARS[shape.type_name]

    def values(self, value: Any, path: tuple[str, ...]) -> Iterator[Any]:
        """Yield the values at a path of members, for all elements of the lists on the path."""
        if value is None:
            return
        if isinstance(self.shape, ListShape):
            element = self.element()
            for item in value:
                yield from element.values(item, path)
        elif not path:
            yield self.plain(value)
        else:
            reader, _ = self.member(path[0])
            yield from reader.values(self.get(value, path[0]), path[1:])

    def member(self, name: str) -> tuple[Reader, Transform | None]:
        """Return the reader of a member, and its transformer in moto's response class."""
        member = self._members.get(name)
        if member is None:
            shape = self.shape.members[name]  # type: ignore[attr-defined]
            shape.parent = self.shape
            path = f"{self._path}.{name}"
            transform = next((candidate for end, candidate in self._transforms.items() if path.endswith(end)), None)
            member = self._members[name] = (Reader(shape, path, self._transforms), transform)
        return member

    def element(self) -> Reader:
        """Return the reader of a list's elements."""
        if self._element is None:
            assert isinstance(self.shape, ListShape)  # noqa: S101  (callers look at the shape)
            self._element = Reader(self.shape.member, f"{self._path}.{self.shape.member.name}", self._transforms)
        return self._element

    def get(self, value: Any, name: str) -> Any:
        """Return a member of a structure, unconverted; None without it."""
        return self._finder(value, name)(value)

    def _structure(self, value: Any) -> dict[str, Any]:
        if value is None:
            return {}
        layout = _layout(value)
        finders = self._finders_of.get(layout)
        if finders is None:
            finders = self._finders_of[layout] = self._learn(value)
        plain = {}
        for name, find, reader in finders:
            member_value = find(value)
            if member_value is None:
                continue
            read = reader.plain(member_value)
            if read == {} and reader.shape.name not in KEPT_WHEN_EMPTY:
                continue
            plain[name] = read
        return plain

    def _list(self, value: Any) -> list[Any]:
        read = self.element().plain
        items = [read(item) for item in value]
        return [item for item in items if item not in ({}, None)]

    def _learn(self, value: Any) -> tuple[tuple[str, Find, Reader], ...]:
        """Return the finder and the reader of each member that values of this layout have."""
        members: Mapping[str, Shape] = self.shape.members  # type: ignore[attr-defined]
        learned = []
        for name in members:
            reader, transform = self.member(name)
            find = self._finder(value, name)
            if transform is None:
                find = _finder_in_layout(value, attribute_names(value, name, reader.shape)) or find
            if find is not _find_nothing:
                learned.append((name, find, reader))
        return tuple(learned)

    def _finder(self, value: Any, name: str) -> Find:
        key = (type(value), name)
        finder = self._finders.get(key)
        if finder is None:
            reader, transform = self.member(name)
            find = _finder(value, attribute_names(value, name, reader.shape))
            finder = self._finders[key] = find if transform is None else lambda structure: transform(find(structure))
        return finder


def _boolean(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _blob(value: Any) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else str(value).encode()).decode()


_SCALARS: Mapping[str, Callable[[Any], Any]] = {
    "blob": _blob,
    "boolean": _boolean,
    "double": float,
    "float": float,
    "integer": int,
    "long": int,
    "string": str,
    "timestamp": format_timestamp,
}


def _layout(value: Any) -> Layout:
    """Return the layout of a value, which determines where its members are."""
    if type(value) is dict:
        return dict, tuple(value)
    return type(value), tuple(getattr(value, "__dict__", ()))


def _finder_in_layout(value: Any, names: tuple[str, ...]) -> Find | None:
    """Return a function that finds a member in values of the same layout; None if the layout does not determine it."""
    if type(value) is dict:
        return next((itemgetter(name) for name in names if name in value), _find_nothing)
    cls = type(value)
    if hasattr(cls, "__getitem__") or hasattr(cls, "__getattr__") or not hasattr(value, "__dict__"):
        return None
    first = next((name for name in names if hasattr(cls, name) or name in vars(value)), None)
    if first is None:
        return _find_nothing
    # A property may raise AttributeError, and then the next name counts.
    return None if hasattr(cls, first) else attrgetter(first)


def _find_nothing(_: Any) -> None:
    return None


def _finder(value: Any, names: tuple[str, ...]) -> Find:
    """Return a function that finds the first existing item or attribute, in values of the same class."""
    if hasattr(value, "__getitem__"):
        return lambda structure: _first_item(structure, names)
    return lambda structure: _first_attribute(structure, names)


def _first_item(value: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        try:
            return value[name]
        except (KeyError, IndexError, TypeError, AttributeError):
            continue
    return None


def _first_attribute(value: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        attribute = getattr(value, name, _MISSING)
        if attribute is not _MISSING:
            return attribute
    return None


@cache
def _reader(operation: str, shape: Shape, response: type) -> Reader:
    transforms = getattr(response, "RESPONSE_KEY_PATH_TO_TRANSFORMER", {})
    return Reader(shape, f"{operation}.{shape.name}", transforms)


def reader_of(operation: OperationModel, response: type) -> Reader:
    """Return the reader of an action's results.

    Args:
        operation: botocore's model of the action, which has an output shape.
        response: moto's response class.
    """
    return _reader(operation.name, operation.output_shape, response)
