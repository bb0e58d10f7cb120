"""Long answers in pages (MaxResults and NextToken), for every action that has them on EC2."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from pycloudlib.local.api.moto_adapter import EC2ClientError, get_pagination_model

_NAMING = ("id", "key", "name", "type")


def page(action: str, result: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Cut the page that was asked for out of an answer.

    Pages follow the order of ids, and a token says where the last one ended: what is deleted or created in between
    neither hides nor repeats anything else.

    Args:
        action: such as "DescribeInstances".
        result: the members of the whole response.
        parameters: the request's.

    Raises:
        EC2ClientError: InvalidNextToken.
    """
    key = get_pagination_model("ec2").get(action, {}).get("result_key")
    most, token = parameters.get("MaxResults"), parameters.get("NextToken")
    if not isinstance(key, str) or not isinstance(result.get(key), list):
        return result
    if (most is None and not token) or result.get("NextToken"):
        return result
    items = sorted(result[key], key=_name)
    if token:
        last = _read(action, token)
        items = [item for item in items if _name(item) > last]
    count = len(items) if most is None else int(most)
    following = {"NextToken": _write(action, _name(items[count - 1]))} if len(items) > count else {}
    return {**result, key: items[:count], **following}


def _name(item: Any) -> list[str]:
    """What tells an item from the others of its list."""
    if not isinstance(item, dict):
        return [str(item)]
    return [str(value) for key, value in sorted(item.items()) if key.lower().endswith(_NAMING)]


def _write(action: str, last: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([action, last]).encode()).decode()


def _read(action: str, token: str) -> list[str]:
    try:
        of, last = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, TypeError):
        of, last = "", []
    if of != action:
        raise EC2ClientError("InvalidNextToken", f"The token '{token}' is invalid")
    return [str(part) for part in last]
