"""The constraints of botocore's shapes on values: enumerations, lengths, ranges, and patterns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

_LONGEST_SHOWN = 256
"""The maximum length of a value in an error message."""

_CATEGORIES = {"L": "a-zA-Z", "N": "0-9", "Z": " "}
"""The ASCII characters of the Unicode categories in botocore's patterns, such as "\\p{L}"."""
_CATEGORY = re.compile(r"\\p\{([LNZ])\}")


def problems_of(name: str, value: Any, shape: Shape) -> Iterator[str]:
    """Yield the constraints that a value violates, at any depth, as AWS describes them.

    Args:
        name: the path of the member, such as "tier".
        value: a value of the type that the shape has.
        shape: botocore's model of the member.
    """
    if isinstance(shape, StructureShape):
        for member, inner in shape.members.items():
            if isinstance(value, Mapping) and value.get(member) is not None:
                yield from problems_of(f"{name}.{_lower(member)}".lstrip("."), value[member], inner)
    elif isinstance(shape, ListShape):
        yield from size_problems(name, value, shape)
        for number, item in enumerate(value, 1):
            yield from problems_of(f"{name}.{number}.member", item, shape.member)
    elif isinstance(shape, MapShape):
        yield from size_problems(name, value, shape)
        for key, item in value.items():
            yield from problems_of(name, key, shape.key)
            yield from problems_of(f"{name}.{key}.member", item, shape.value)
    elif isinstance(value, str):
        yield from _of_text(name, value, shape)


def leaf(shape: Shape | None, path: Sequence[str]) -> Shape | None:
    """Return the shape of a Query parameter, such as "Tags.member.1.Key"; None if the model does not have it.

    Args:
        shape: the input shape.
        path: the parts of the parameter's name.
    """
    for part in path:
        if isinstance(shape, StructureShape):
            shape = shape.members.get(part)
        elif isinstance(shape, ListShape):
            shape = shape if part == "member" else shape.member
        elif isinstance(shape, MapShape):
            shape = {"key": shape.key, "value": shape.value}.get(part, shape)
        else:
            return None
    return shape


def _of_text(name: str, value: str, shape: Shape) -> Iterator[str]:
    accepted = shape.metadata.get("enum")
    if accepted and value not in accepted:
        yield _violation(name, value, f"satisfy enum value set: [{', '.join(accepted)}]")
    yield from size_problems(name, value, shape)
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, value):
        yield _violation(name, value, f"satisfy regular expression pattern: {pattern}")


def size_problems(name: str, value: Any, shape: Shape) -> Iterator[str]:
    """Yield the constraints that the length of a text, list, or map violates.

    Args:
        name: the path of the member.
        value: the text, list, or map.
        shape: botocore's model of the member.
    """
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max")
    if len(value) < low:
        yield _violation(name, value, f"have length greater than or equal to {low}")
    if high is not None and len(value) > high:
        yield _violation(name, value, f"have length less than or equal to {high}")


def _matches(pattern: str, value: str) -> bool:
    """Return whether a value matches a pattern of botocore's models; True for a pattern that Python does not have."""
    compiled = _compiled(_CATEGORY.sub(lambda category: _CATEGORIES[category[1]], pattern))
    if compiled is None:
        return True
    if _CATEGORY.search(pattern):
        value = "".join(map(_representative, value))
    return compiled.fullmatch(value) is not None


def _representative(character: str) -> str:
    """Return an ASCII character of the same Unicode category, if the patterns name the category."""
    if character.isascii():
        return character
    return _CATEGORIES.get(unicodedata.category(character)[0], character)[0]


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern, re.ASCII)
    except re.error:
        return None


def _violation(name: str, value: Any, constraint: str) -> str:
    shown = str(value)[:_LONGEST_SHOWN]
    return f"Value '{shown}' at '{name}' failed to satisfy constraint: Member must {constraint}"


def _lower(member: str) -> str:
    return member[:1].lower() + member[1:]
