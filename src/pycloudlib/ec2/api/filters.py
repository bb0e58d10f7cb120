"""Filters of EC2's Describe calls, as Python keyword arguments.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pycloudlib.errors import InvalidArgumentError


def described_filters(filters: Mapping[str, object]) -> list[dict[str, Any]]:
    """Return the parameter Filters of a Describe call.

    Args:
        filters: EC2's filters, with underscores for hyphens: `vpc_id="vpc-1"`, `group_name=["a", "b*"]`; and
            `tag={"team": "blue"}` for tags.

    Raises:
        InvalidArgumentError: a value is not a string, an integer, or a bool, nor an iterable of them.
    """
    named: dict[str, list[str]] = {}
    for name, value in filters.items():
        if name in ("tag", "tags") and isinstance(value, Mapping):
            named |= {f"tag:{key}": _values(f"tag {key}", item) for key, item in value.items()}
        else:
            named[name.replace("_", "-")] = _values(name, value)
    return [{"Name": name, "Values": values} for name, values in named.items()]


def _values(name: str, value: object) -> list[str]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return [_text(name, item) for item in value]
    return [_text(name, value)]


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int)):
        return str(value)
    raise InvalidArgumentError(f"the filter {name} is {value!r}; it must be a string, or a list of strings")
