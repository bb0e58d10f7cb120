"""Tags on existing resources."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from pycloudlib.ec2.api.consistency import call_until_consistent
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.errors import InvalidArgumentError

logger = logging.getLogger(__name__)

TAGGED_AT_ONCE = 1000
"""The maximum number of resources per CreateTags."""

_ID = re.compile(r"[a-z]+(-[a-z]+)*-[0-9a-f]{8,32}")


def tag_resources(context: RegionContext, ids: str | Iterable[str], tags: Mapping[str, str]) -> None:
    """Tag resources of any type, replacing existing values (CreateTags). See `EC2.tag_resources()`.

    Args:
        context: the context of the resources' region.
        ids: the ids of the resources.
        tags: the tags.

    Raises:
        InvalidArgumentError: an id or a tag is invalid; nothing was tagged.
        ResourceNotFoundError: a resource does not exist.
    """
    resource_ids = _checked_ids(ids)
    if not isinstance(tags, Mapping) or not tags:
        raise InvalidArgumentError(f"tags is {tags!r}; it must be a dict with at least one tag")
    # Apply the same rules as to created resources.
    context.ownership.tags(context.name, tags)
    pairs: Any = [{"Key": key, "Value": value} for key, value in tags.items()]
    for start in range(0, len(resource_ids), TAGGED_AT_ONCE):
        _tag(context, resource_ids[start : start + TAGGED_AT_ONCE], pairs)
    logger.info("tagged %d resources with %s", len(resource_ids), ", ".join(tags))


def _tag(context: RegionContext, ids: list[str], pairs: Any) -> None:
    tag = partial(context.client.create_tags, Resources=ids, Tags=pairs)
    call_until_consistent(tag, what=f"tag {ids[0]}", patience=context.consistency_patience(*ids))


def _checked_ids(ids: str | Iterable[str]) -> list[str]:
    if not isinstance(ids, Iterable):
        raise InvalidArgumentError(f"{ids!r} is neither an id such as 'i-0123456789abcdef0' nor a list of ids")
    resource_ids = [ids] if isinstance(ids, str) else list(ids)
    if not resource_ids:
        raise InvalidArgumentError("there are no ids to tag")
    for resource_id in resource_ids:
        if not isinstance(resource_id, str) or not _ID.fullmatch(resource_id):
            raise InvalidArgumentError(f"{resource_id!r} is not an id such as 'i-0123456789abcdef0'")
    return list(dict.fromkeys(resource_ids))
