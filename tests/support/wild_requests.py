"""Malformed requests of EC2's actions: by botocore's model, and off it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.model import ListShape, OperationModel, Shape, StructureShape
from hypothesis import strategies as st

DEPTH = 5

TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            "*",
            "-1",
            "0",
            "10.0.0.0/16",
            "10.0.0.0/33",
            "10.1.2.3",
            "2026-01-01T00:00:00Z",
            "::1",
            "a" * 300,
            "ami-0123456789abcdef0",
            "aws:x",
            "default",
            "fd00::/64",
            "http://127.0.0.1/",
            "i-0123456789abcdef0",
            "i-x",
            "nonsense",
            "subnet-0123456789abcdef0",
            "tag:Name",
            "us-east-1a",
            "vol-0123456789abcdef0",
            "vpc-0123456789abcdef0",
            "{{}}",
            "ä€😀",
            "\x00",
            "<a>&",
        ]
    ),
    st.text(max_size=20),
)
INTEGERS = st.one_of(st.sampled_from([-(2**31), -1, 0, 1, 5, 22, 65536, 2**31 - 1, 2**40]), st.integers())
BOOLEANS = st.sampled_from(["true", "false", "True", "maybe", ""])


Ids = Mapping[str, str]
"""The last part of a parameter's name, and the id of a resource that there is."""


def parameters(operation: OperationModel, ids: Ids) -> st.SearchStrategy[dict[str, str]]:
    """Parameters of an action by their dotted names, some of which are none of its."""
    shape = operation.input_shape
    modeled = _structure(shape, "", 0, ids) if shape else st.just({})
    stray = st.dictionaries(st.text("ABc.12", min_size=1, max_size=12), TEXTS, max_size=1)
    return st.builds(lambda wild, given: {**wild, **given}, stray, modeled)


def _structure(shape: StructureShape, prefix: str, depth: int, ids: Ids) -> st.SearchStrategy[dict[str, str]]:
    names = list(shape.members)
    if not names or depth > DEPTH:
        return st.just({})
    required = [name for name in shape.required_members if name in shape.members]

    def build(draw: Any) -> dict[str, str]:
        chosen = set(draw(st.lists(st.sampled_from(names), max_size=4)))
        if draw(st.integers(0, 4)):
            chosen |= set(required)
        chosen.discard("DryRun")
        found: dict[str, str] = {}
        for name in sorted(chosen):
            member = shape.members[name]
            found |= draw(_value(member, f"{prefix}{_query_name(member, name)}", depth + 1, ids))
        return found

    return st.composite(build)()


def _value(shape: Shape, name: str, depth: int, ids: Ids) -> st.SearchStrategy[dict[str, str]]:
    wild = TEXTS.map(lambda text: {name: text})
    usual = _usual(shape, name, depth, ids)
    return st.integers(0, 9).flatmap(lambda chance: usual if chance else wild)


def _usual(shape: Shape, name: str, depth: int, ids: Ids) -> st.SearchStrategy[dict[str, str]]:
    if isinstance(shape, StructureShape):
        return _structure(shape, f"{name}.", depth, ids)
    if isinstance(shape, ListShape):
        one, two = (_value(shape.member, f"{name}.{number}", depth, ids) for number in (1, 2))
        return st.one_of(one, st.builds(lambda a, b: {**a, **b}, one, two))
    return _scalar(shape, name, ids).map(lambda text: {name: text})


def _scalar(shape: Shape, name: str, ids: Ids) -> st.SearchStrategy[str]:
    if shape.type_name in ("integer", "long", "float", "double"):
        return INTEGERS.map(str)
    if shape.type_name == "boolean":
        return BOOLEANS
    enum = getattr(shape, "enum", None)
    if enum:
        return st.sampled_from(enum)
    known = ids.get(name.removesuffix(".1").removesuffix(".2").rpartition(".")[2])
    return st.one_of(st.just(known), TEXTS) if known else TEXTS


def _query_name(shape: Shape, member: str) -> str:
    name = str(shape.serialization.get("queryName") or shape.serialization.get("name", member))
    return name[:1].upper() + name[1:]
