"""Boot records, and their JSON format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pycloudlib.errors import InvalidArgumentError

VERSION = 1

STAGES: Mapping[str, str] = {
    "running": "instance start",
    "kernel": "firmware, boot loader",
    "userspace": "kernel, initramfs",
    "reachable": "system, until sshd responds",
    "logged_in": "until login",
    "ready": "until cloud-init is done",
}
"""The stages of a boot, in order, with the activity before each."""


@dataclass(frozen=True)
class Span:
    """A time span.

    Args:
        name: the name, such as "ssh.service".
        kind: "cloud-init" or "unit".
        start: seconds since the request of the boot.
        seconds: the duration in seconds.
    """

    name: str
    kind: str
    start: float
    seconds: float


@dataclass(frozen=True)
class BootRecord:
    """One boot of one instance.

    Args:
        label: the group of the boot in comparisons: the image's name, or a custom label.
        image_id: the AMI id.
        instance_id: the instance id.
        requested: the start of the time scale: ISO 8601 in UTC.
        reached: seconds until each known stage.
        spans: cloud-init's stages and systemd's units; default none.
    """

    label: str
    image_id: str
    instance_id: str
    requested: str
    reached: Mapping[str, float]
    spans: tuple[Span, ...] = field(default=())

    @property
    def total(self) -> float:
        """Seconds until the last reached stage."""
        return max(self.reached.values(), default=0.0)

    @property
    def phases(self) -> list[Span]:
        """The stages as contiguous spans; a stage that was reached before the previous one has no duration."""
        phases: list[Span] = []
        start = 0.0
        for stage in STAGES:
            if stage not in self.reached:
                continue
            end = max(start, self.reached[stage])
            phases.append(Span(stage, "phase", start, end - start))
            start = end
        return phases


def to_json(records: Sequence[BootRecord]) -> str:
    """Serialize boot records as JSON."""
    return json.dumps({"version": VERSION, "boots": [asdict(record) for record in records]}, indent=1) + "\n"


def from_json(text: str, source: str) -> list[BootRecord]:
    """Parse the JSON of `to_json()`.

    Args:
        text: the JSON.
        source: the origin, for errors.

    Raises:
        InvalidArgumentError: the text has another format or version.
    """
    try:
        document: dict[str, Any] = json.loads(text)
        if document["version"] != VERSION:
            raise InvalidArgumentError(f"{source} has version {document['version']!r}; this program reads {VERSION}")
        return [_record(boot) for boot in document["boots"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError(f"{source} is not a file of `pycloudlib timeline --save`") from error


def read(path: Path) -> list[BootRecord]:
    """Read the boot records of a file.

    Raises:
        InvalidArgumentError: the file cannot be read, or has another format.
    """
    try:
        return from_json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is not a text file") from error


def _record(boot: dict[str, Any]) -> BootRecord:
    spans = tuple(
        Span(str(span["name"]), str(span["kind"]), float(span["start"]), float(span["seconds"]))
        for span in boot["spans"]
    )
    reached = {str(stage): float(seconds) for stage, seconds in boot["reached"].items()}
    if set(reached) - set(STAGES):
        raise KeyError("reached")
    texts = {name: str(boot[name]) for name in ("label", "image_id", "instance_id", "requested")}
    return BootRecord(reached=reached, spans=spans, **texts)
