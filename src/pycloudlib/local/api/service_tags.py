"""Validation of tags in requests to other services than EC2, beyond the constraints of botocore's models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

RESERVED = "aws:"
"""The prefix of the keys of AWS's own tags, in any case."""
MOST = 50
"""The maximum number of tags of a resource."""

Problem = tuple[str, str]
"""The error code, and the message."""

_RESERVED = {"iam": "InvalidInput", "sns": "InvalidParameter"}
_DUPLICATE = {"iam": "InvalidInput", "sns": "InvalidParameter"}
_TOO_MANY = {"iam": "LimitExceeded", "sns": "TagLimitExceeded", "ssm": "TooManyTagsError"}
_OTHERS = "ValidationException"

_IGNORING_CASE = ("CreateRole", "TagRole")
"""Actions on IAM resources whose tag keys are case-insensitive: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html"""


def problem_of(service: str, action: str, keys: Sequence[str]) -> Problem | None:
    """Return why the keys of a request's tags are invalid; None if they are valid.

    Args:
        service: the service, such as "iam".
        action: the action, such as "CreateRole".
        keys: the keys of the tags that the request adds.
    """
    if any(key.lower().startswith(RESERVED) for key in keys):
        return _RESERVED.get(service, _OTHERS), f"Tag keys starting with '{RESERVED}' are reserved for internal use"
    if _has_duplicates(key.lower() if action in _IGNORING_CASE else key for key in keys):
        note = " Please note that Tag keys are case insensitive." if action in _IGNORING_CASE else ""
        return _DUPLICATE.get(service, _OTHERS), f"Duplicate tag keys found.{note}"
    if len(keys) > MOST:
        return _TOO_MANY.get(service, _OTHERS), f"A resource has at most {MOST} tags, not {len(keys)}"
    return None


def keys_in_query(form: Mapping[str, str]) -> Iterator[str]:
    """Yield the keys of the tags in a Query request, such as "Tags.member.1.Key"."""
    for name, value in form.items():
        if name.startswith("Tags.member.") and name.endswith(".Key"):
            yield value


def keys_in_body(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of the tags in a JSON request that fits the model."""
    yield from body.get("tags") or ()
    for tag in body.get("Tags") or ():
        yield tag["Key"]


def _has_duplicates(keys: Iterable[str]) -> bool:
    key_list = list(keys)
    return len(set(key_list)) < len(key_list)
