"""The actions, members, values, and filters that the local EC2 honors; it rejects all others.

`audit.toml` has one table per supported action. The local EC2 rejects members, values, and filters that the table
does not list, and names them in the error. The tests send every member of botocore's model of an action, and assert
the effect of the honored ones: see tests/audit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import toml
from botocore.model import ListShape, OperationModel, Shape, StructureShape

from pycloudlib.local.api.moto_adapter import EC2ClientError, get_service_model

COMMON = frozenset({"ClientToken", "DryRun", "Filter", "Filters", "MaxResults", "NextToken", "PresignedUrl"})
"""The members that the dispatcher handles for every action."""


PARENT = "^"
"""The first part of a filter path to a member of the enclosing record."""


@dataclass(frozen=True)
class ActionAudit:
    """The honored part of one action.

    Args:
        kept: accepted values by the path of a member, such as "BlockDeviceMappings.Ebs.VolumeSize"; None for any value.
        tags: the resource types that TagSpecifications may name; empty without TagSpecifications.
        filters: the path of the member that each filter compares, in a record of the response; PARENT first for a
            member of the enclosing record.
        record_filters: filters on values that the response lacks; the handler applies them.
        refused_filters: filters of EC2 that the local EC2 lacks.
        items: the member of the response with the records, such as "Reservations.Instances".
        one_of: groups of members; a request must have exactly one of each group.
        any_of: groups of members; a request must have at least one of each group.
        notes: notes on members for the documentation.
    """

    kept: Mapping[str, frozenset[str] | None]
    tags: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    record_filters: frozenset[str] = frozenset()
    refused_filters: frozenset[str] = frozenset()
    items: str = ""
    one_of: tuple[tuple[str, ...], ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    def has_filter(self, name: str) -> bool:
        """Return whether a filter is honored."""
        return (
            name in self.filters
            or name in self.record_filters
            or (name.startswith("tag:") and "tag-key" in self.filters)
        )

    def filter_path(self, name: str) -> tuple[str, ...]:
        """Return the path of the member that a filter compares, relative to its record."""
        path = self.filters[name]
        return path[1:] if path[0] == PARENT else path

    def filter_place(self, name: str) -> str:
        """Return the member of the response whose records a filter selects; "" for a record filter."""
        if name in self.record_filters:
            return ""
        path = self.filters["tag-key" if name.startswith("tag:") else name]
        return self.items.rpartition(".")[0] if path[0] == PARENT else self.items


def supported_actions() -> tuple[str, ...]:
    """Return the names of all supported actions, sorted."""
    return tuple(sorted(_table()))


def audit_of(action: str) -> ActionAudit | None:
    """Return the honored part of an action; None for an unsupported action."""
    return _table().get(action)


def check_members(operation: OperationModel, audit: ActionAudit, parameters: Mapping[str, Any]) -> None:
    """Reject members and values that the local EC2 does not honor.

    Args:
        operation: botocore's model of the action.
        audit: the honored part of the action.
        parameters: the parameters of the request, by botocore's names.

    Raises:
        EC2ClientError: a member or a value is not honored (UnsupportedOperation), or a resource type cannot be tagged
            by this action (InvalidParameterValue).
    """
    if operation.input_shape is None:
        return
    for path, value in _leaves(operation.input_shape, parameters):
        if path.partition(".")[0] in COMMON:
            continue
        if path.startswith("TagSpecifications."):
            _check_tag_specification(path, value, audit)
        elif path not in audit.kept:
            raise EC2ClientError(
                "UnsupportedOperation", f"The local EC2 does not have the parameter {path} of {operation.name}"
            )
        else:
            _check_value(operation.name, path, value, audit.kept[path])


def check_choices(audit: ActionAudit, parameters: Mapping[str, Any]) -> None:
    """Reject a request with none of a group's members, or with several if they exclude each other.

    All of these members are optional in botocore's model.

    Args:
        audit: the honored part of the action.
        parameters: the parameters of the request, by botocore's names.

    Raises:
        EC2ClientError: a member is missing (MissingParameter), or excludes another one (InvalidParameterCombination).
    """
    for group in (*audit.one_of, *audit.any_of):
        present = [name for name in group if parameters.get(name) not in (None, [], {})]
        if not present:
            raise EC2ClientError("MissingParameter", f"The request must contain the parameter {' or '.join(group)}")
        if len(present) > 1 and group in audit.one_of:
            raise EC2ClientError(
                "InvalidParameterCombination", f"The parameters {' and '.join(present)} cannot be used together"
            )


def _check_tag_specification(path: str, value: Any, audit: ActionAudit) -> None:
    if not audit.tags:
        raise EC2ClientError("UnsupportedOperation", "The local EC2 does not have the parameter TagSpecifications here")
    if path == "TagSpecifications.ResourceType" and value not in audit.tags:
        raise EC2ClientError(
            "InvalidParameterValue", f"'{value}' is not a valid taggable resource type for this operation."
        )


def _check_value(action: str, path: str, value: Any, accepted: frozenset[str] | None) -> None:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if accepted is not None and text not in accepted:
        raise EC2ClientError("UnsupportedOperation", f"The local EC2 does not have {path}={text} of {action}")


def _leaves(shape: Shape, value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of each scalar of a request; paths skip list indices."""
    if isinstance(shape, StructureShape):
        for name, member in value.items():
            if member is not None:
                yield from _leaves(shape.members[name], member, f"{path}.{name}" if path else name)
    elif isinstance(shape, ListShape):
        for item in value:
            yield from _leaves(shape.member, item, path)
    else:
        yield path, value


@cache
def _table() -> dict[str, ActionAudit]:
    text = (resources.files("pycloudlib.local.api") / "audit.toml").read_text(encoding="utf-8")
    tables = toml.loads(text)
    return {action: _action(action, tables) for action in tables}


def _action(action: str, tables: Mapping[str, Any]) -> ActionAudit:
    table = tables[action]
    accepted = _kept(table.get("kept", ""))
    for member, nested_action in table.get("as", {}).items():
        # A member with the members of another action's request, such as LaunchTemplateData.
        accepted |= _kept_as(action, member, _action(nested_action, tables))
    return ActionAudit(
        kept=accepted,
        tags=tuple(table.get("tags", "").split()),
        filters={name: tuple(path.split(".")) for name, path in table.get("filters", {}).items()},
        record_filters=frozenset(table.get("record_filters", "").split()),
        refused_filters=frozenset(table.get("refused_filters", "").split()),
        items=table.get("items", ""),
        one_of=tuple(tuple(group.split()) for group in table.get("one_of", ())),
        any_of=tuple(tuple(group.split()) for group in table.get("any_of", ())),
        notes=table.get("notes", {}),
    )


def _kept_as(action: str, member: str, nested: ActionAudit) -> dict[str, frozenset[str] | None]:
    """Return the accepted values of a member with the members of another action's request."""
    shape = get_service_model("ec2").operation_model(action).input_shape.members[member]
    tags = {
        "TagSpecifications.ResourceType": frozenset(nested.tags),
        "TagSpecifications.Tags.Key": None,
        "TagSpecifications.Tags.Value": None,
    }
    accepted = {**nested.kept, **(tags if nested.tags else {})}
    return {f"{member}.{path}": values for path, values in accepted.items() if _has(shape, path)}


def _has(shape: Shape, path: str) -> bool:
    for name in path.split("."):
        while isinstance(shape, ListShape):
            shape = shape.member
        if not isinstance(shape, StructureShape) or name not in shape.members:
            return False
        shape = shape.members[name]
    return True


def _kept(text: str) -> dict[str, frozenset[str] | None]:
    """Parse "Path Path=value|value ..."."""
    accepted: dict[str, frozenset[str] | None] = {}
    for word in text.split():
        path, limited, values = word.partition("=")
        accepted[path] = frozenset(values.split("|")) if limited else None
    return accepted
