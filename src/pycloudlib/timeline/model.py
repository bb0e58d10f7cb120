"""What is known about where the time of a boot went; and how it is kept in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pycloudlib.errors import InvalidArgumentError

VERSION = 1

STAGES: Mapping[str, str] = {
    "running": "EC2 starts it",
    "kernel": "firmware, boot loader",
    "userspace": "kernel, initramfs",
    "reachable": "system, until sshd answers",
    "logged_in": "until somebody can log in",
    "ready": "until cloud-init is done",
}
"""How far a boot can have come, in this order, and what goes on until then."""


@dataclass(frozen=True)
class Span:
    """Something that took time.

    Args:
        name: such as "ssh.service".
        kind: "cloud-init" or "unit".
        start: seconds since the boot was requested.
        seconds: how long it took.
    """

    name: str
    kind: str
    start: float
    seconds: float


@dataclass(frozen=True)
class BootRecord:
    """One boot of one instance.

    Args:
        label: what it is compared by: the image's name, or what somebody called it.
        image_id: the AMI.
        instance_id: the instance.
        requested: the moment that seconds are counted from: ISO 8601 in UTC.
        reached: seconds until it had come to each stage, as far as is known.
        spans: cloud-init's stages and systemd's units.
    """

    label: str
    image_id: str
    instance_id: str
    requested: str
    reached: Mapping[str, float]
    spans: tuple[Span, ...] = field(default=())

    @property
    def total(self) -> float:
        """Seconds until the last stage that it came to."""
        return max(self.reached.values(), default=0.0)

    @property
    def phases(self) -> list[Span]:
        """The stages as spans without a gap; one that was over before the one before it takes no time."""
        found: list[Span] = []
        at = 0.0
        for stage in STAGES:
            if stage not in self.reached:
                continue
            end = max(at, self.reached[stage])
            found.append(Span(stage, "phase", at, end - at))
            at = end
        return found


def to_json(records: Sequence[BootRecord]) -> str:
    """Write boots as JSON."""
    return json.dumps({"version": VERSION, "boots": [asdict(record) for record in records]}, indent=1) + "\n"


def from_json(text: str, source: str) -> list[BootRecord]:
    """Read what to_json() wrote.

    Args:
        text: the JSON.
        source: where it is from, for errors.

    Raises:
        InvalidArgumentError: it is no such JSON.
    """
    try:
        told: dict[str, Any] = json.loads(text)
        if told["version"] != VERSION:
            raise InvalidArgumentError(f"{source} has version {told['version']!r}; this program reads {VERSION}")
        return [_record(one) for one in told["boots"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError(f"{source} holds no boots as `pycloudlib timeline --save` writes them") from error


def read(path: Path) -> list[BootRecord]:
    """Read the boots of a file.

    Raises:
        InvalidArgumentError: it cannot be read, or holds something else.
    """
    try:
        return from_json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is no text") from error


def _record(told: dict[str, Any]) -> BootRecord:
    spans = tuple(
        Span(str(one["name"]), str(one["kind"]), float(one["start"]), float(one["seconds"])) for one in told["spans"]
    )
    reached = {str(stage): float(seconds) for stage, seconds in told["reached"].items()}
    if set(reached) - set(STAGES):
        raise KeyError("reached")
    texts = {name: str(told[name]) for name in ("label", "image_id", "instance_id", "requested")}
    return BootRecord(reached=reached, spans=spans, **texts)
