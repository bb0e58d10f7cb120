"""Filters, each of which compares a member of the response."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from pycloudlib.local.api.audit import ActionAudit
from pycloudlib.local.api.moto_adapter import EC2ClientError
from pycloudlib.local.api.result_reader import Reader

MAX_VALUES = 200
"""The maximum number of values per filter, as on EC2."""

Matches = Callable[[Any], bool]


def parse_filters(action: str, audit: ActionAudit, parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the filters of a request: values by name.

    A repeated name keeps the values that all of its occurrences have.

    Raises:
        EC2ClientError: EC2 has no such filter (InvalidParameterValue), the local EC2 lacks it (UnsupportedOperation),
            or it has too many values (FilterLimitExceeded).
    """
    filters: dict[str, list[str]] = {}
    for requested in parameters.get("Filters") or parameters.get("Filter") or []:
        name = requested.get("Name") or "null"
        if not audit.has_filter(name):
            if name in audit.refused_filters:
                raise EC2ClientError("UnsupportedOperation", f"The local EC2 has no filter {name} of {action}")
            raise EC2ClientError("InvalidParameterValue", f"The filter '{name}' is invalid")
        values = [str(value) for value in requested.get("Values") or []]
        if len(values) > MAX_VALUES:
            raise EC2ClientError("FilterLimitExceeded", f"The maximum number of filter values is {MAX_VALUES}")
        filters[name] = [value for value in filters.get(name, values) if value in values]
    return filters


def matcher(audit: ActionAudit, reader: Reader, filters: Mapping[str, Sequence[str]]) -> Matches:
    """Return a predicate that is true for records that match every filter.

    Args:
        audit: maps each filter to the member it compares.
        reader: the reader of the records.
        filters: values by name, with the wildcards `*` and `?`.
    """
    tests = [(_values(audit, reader, name), comparison(tuple(values))) for name, values in filters.items()]
    return lambda record: all(compare(values(record)) for values, compare in tests)


def _values(audit: ActionAudit, reader: Reader, name: str) -> Callable[[Any], Iterable[Any]]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda record: (value for tag_key, value in _tags(audit, reader, record) if tag_key == key)
    path = audit.filter_path(name)
    return lambda record: reader.values(record, path)


def _tags(audit: ActionAudit, reader: Reader, record: Any) -> Iterable[tuple[str, str]]:
    member = audit.filter_path("tag-key")[:-1]
    return zip(reader.values(record, (*member, "Key")), reader.values(record, (*member, "Value")), strict=True)


@cache
def comparison(filter_values: tuple[str, ...]) -> Callable[[Iterable[Any]], bool]:
    """Return a predicate that is true if one of several values matches; see `matcher()`."""
    exact = frozenset(_unescaped(text) for text in filter_values if not _has_wildcard(text))
    patterns = [re.compile(_pattern(text), re.DOTALL) for text in filter_values if _has_wildcard(text)]

    def compare(values: Iterable[Any]) -> bool:
        for value in values:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if text in exact or any(pattern.fullmatch(text) for pattern in patterns):
                return True
        return False

    return compare


_TOKEN = re.compile(r"\\(.)|(\*)|(\?)|([^*?\\]+|\\)", re.DOTALL)


def _has_wildcard(filter_value: str) -> bool:
    return any(token[2] or token[3] for token in _TOKEN.finditer(filter_value))


def _unescaped(filter_value: str) -> str:
    return "".join(token[1] or token[4] or "" for token in _TOKEN.finditer(filter_value))


def _pattern(filter_value: str) -> str:
    def part(token: re.Match[str]) -> str:
        if token[2]:
            return ".*"
        return "." if token[3] else re.escape(token[1] or token[4])

    return "".join(part(token) for token in _TOKEN.finditer(filter_value))
