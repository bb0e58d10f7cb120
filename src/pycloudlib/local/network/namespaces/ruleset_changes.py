"""Changes of a ruleset: the commands that turn the applied ruleset into another.

The time to apply a complete ruleset grows with the VPC's interfaces. These commands contain only the sets, maps, and
chains that differ, in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pycloudlib.local.network.namespaces.ruleset import TABLE

_BEGIN = f"table {TABLE} {{"
_ELEMENTS = "elements = { "


@dataclass(frozen=True)
class _Collection:
    """A set or a map: its type and its elements; the values of a set are empty."""

    kind: str
    head: str
    elements: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Parts:
    """The parts of a ruleset that differ from another ruleset."""

    collections: Mapping[str, _Collection]
    hooks: Mapping[str, str]
    rules: Mapping[str, Sequence[str]]


def changes(before: str, after: str) -> str:
    """Return the commands that turn a ruleset into another.

    Args:
        before: the applied ruleset; "" for none.
        after: the new ruleset.
    """
    if _BEGIN not in before or _BEGIN not in after:
        return after
    old_sections, new_sections = _sections(before), _sections(after)
    old = _parse(body for head, body in old_sections.items() if new_sections.get(head) != body)
    new = _parse(body for head, body in new_sections.items() if old_sections.get(head) != body)
    common = set(old.collections) & set(new.collections)
    if any((old.collections[name].kind, old.collections[name].head) != _type(new, name) for name in common) or any(
        old.hooks[name] != new.hooks[name] for name in set(old.hooks) & set(new.hooks)
    ):
        return after
    return "".join(f"{command}\n" for command in _commands(old, new))


def _type(parts: _Parts, name: str) -> tuple[str, str]:
    return parts.collections[name].kind, parts.collections[name].head


def _commands(old: _Parts, new: _Parts) -> Iterator[str]:
    """Create referenced objects before the rules, and delete them after the rules."""
    yield from _creations(old, new)
    yield from _deletions(old, new)
    for name, collection in new.collections.items():
        added = _removed_elements(collection, old.collections.get(name))
        if added:
            listed = (f"{key} : {value}" if value else key for key, value in added.items())
            yield f"add element {TABLE} {name} {{ {', '.join(listed)} }}"
    for name, rules in new.rules.items():
        yield from (f"add rule {TABLE} {name} {rule}" for rule in rules)


def _creations(old: _Parts, new: _Parts) -> Iterator[str]:
    for name, collection in new.collections.items():
        if name not in old.collections:
            yield f"add {collection.kind} {TABLE} {name} {{ {collection.head} }}"
    for name, hook in new.hooks.items():
        if name not in old.hooks:
            yield f"add chain {TABLE} {name}" + (f" {{ {hook} }}" if hook else "")


def _deletions(old: _Parts, new: _Parts) -> Iterator[str]:
    yield from (f"flush chain {TABLE} {name}" for name in old.hooks)
    for name, collection in old.collections.items():
        removed = _removed_elements(collection, new.collections.get(name))
        if removed:
            yield f"delete element {TABLE} {name} {{ {', '.join(removed)} }}"
    yield from (f"delete chain {TABLE} {name}" for name in old.hooks if name not in new.hooks)
    for name, collection in old.collections.items():
        if name not in new.collections:
            yield f"delete {collection.kind} {TABLE} {name}"


def _removed_elements(before: _Collection, after: _Collection | None) -> dict[str, str]:
    """Return the elements that `after` lacks, or has with another value."""
    remaining = after.elements if after is not None else {}
    return {key: value for key, value in before.elements.items() if remaining.get(key) != value}


def _sections(text: str) -> dict[str, str]:
    """Split the output of ruleset() into its sets, maps, and chains, by their first line."""
    table = text.partition(f"{_BEGIN}\n")[2].removesuffix("\n}\n}\n")
    return {section.partition("\n")[0]: section for section in table.split("\n}\n")}


def _parse(sections: Iterable[str]) -> _Parts:
    collections: dict[str, _Collection] = {}
    hooks: dict[str, str] = {}
    rules: dict[str, list[str]] = {}
    for section in sections:
        head, *body = section.split("\n")
        kind, name, _ = head.split(" ", 2)
        if kind != "chain":
            collections[name] = _Collection(kind, body[0], _elements(body[1]) if len(body) > 1 else {})
            continue
        hooks[name] = body.pop(0) if body and body[0].startswith("type ") else ""
        rules[name] = body
    return _Parts(collections, hooks, rules)


def _elements(line: str) -> dict[str, str]:
    listed = line.removeprefix(_ELEMENTS).removesuffix(" }").split(", ")
    return {key: value for key, _, value in (element.partition(" : ") for element in listed)}
