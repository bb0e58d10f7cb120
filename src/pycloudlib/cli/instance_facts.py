"""The attributes of an instance in the output of all commands."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pycloudlib import tags

if TYPE_CHECKING:
    from pycloudlib import EC2Instance

COLUMNS = ("id", "state", "address", "type", "age", "name")


def facts(instance: EC2Instance) -> dict[str, str | None]:
    """Return the attributes of an instance for `--json`, as of its latest description."""
    description = instance.description
    launched = tags.iso_time(description.launched) if description.launched else None
    return {
        "id": instance.id,
        "name": description.tags.get(tags.NAME),
        "state": str(description.state),
        "type": description.instance_type,
        "image": description.image_id,
        "address": description.address,
        "private_address": description.private_ip,
        "zone": description.availability_zone,
        "run": description.tags.get(tags.RUN),
        "owner": description.tags.get(tags.OWNER),
        "created": description.tags.get(tags.CREATED, launched),
        "expires": description.tags.get(tags.EXPIRES),
    }


def row(instance: EC2Instance) -> list[str]:
    """Return the table row of an instance; see COLUMNS."""
    values = {key: value or "" for key, value in facts(instance).items()}
    values["age"] = span_since(values["created"])
    return [values[column] for column in COLUMNS]


def is_ours(resource_tags: dict[str, str]) -> bool:
    """Return whether this library created the resource with these tags."""
    return tags.RUN in resource_tags


def span_since(moment: str) -> str:
    """Return the age of a time in one unit: "3d", "2h", "5m", "40s"; empty if the time is unknown."""
    try:
        then = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        return ""
    return short_span((datetime.now(timezone.utc) - then).total_seconds())


def short_span(seconds: float) -> str:
    """Return a duration in one unit: "3d", "2h", "5m", "40s"."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
