"""Pagination (MaxResults and NextToken) of every action that EC2 paginates."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from pycloudlib.local.api.moto_adapter import EC2ClientError, get_pagination_model

_NAMING = ("id", "key", "name", "type")


def page(action: str, result: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the requested page of a result.

    Pages are ordered by id, and a token holds the last id of its page. Records created or deleted between requests
    therefore neither hide nor repeat others.

    Args:
        action: the action, such as "DescribeInstances".
        result: the members of the complete response.
        parameters: the parameters of the request.

    Raises:
        EC2ClientError: the token is malformed, or belongs to another action (InvalidNextToken).
    """
    key = get_pagination_model("ec2").get(action, {}).get("result_key")
    max_results, token = parameters.get("MaxResults"), parameters.get("NextToken")
    if not isinstance(key, str) or not isinstance(result.get(key), list):
        return result
    if (max_results is None and not token) or result.get("NextToken"):
        return result
    items = sorted(result[key], key=_name)
    if token:
        last = _read(action, token)
        items = [item for item in items if _name(item) > last]
    count = len(items) if max_results is None else int(max_results)
    following = {"NextToken": _write(action, _name(items[count - 1]))} if len(items) > count else {}
    return {**result, key: items[:count], **following}


def _name(item: Any) -> list[str]:
    """Return the sort key that identifies an item in its list."""
    if not isinstance(item, dict):
        return [str(item)]
    return [str(value) for key, value in sorted(item.items()) if key.lower().endswith(_NAMING)]


def _write(action: str, last: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([action, last]).encode()).decode()


def _read(action: str, token: str) -> list[str]:
    try:
        token_action, last = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, TypeError):
        token_action, last = "", []
    if token_action != action:
        raise EC2ClientError("InvalidNextToken", f"The token '{token}' is invalid")
    return [str(part) for part in last]
