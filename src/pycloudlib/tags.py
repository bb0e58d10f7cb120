"""Resource names, and the tags for ownership.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from pycloudlib.errors import InvalidArgumentError, InvalidTagNameError

OWN_PREFIX = "pycloudlib:"
"""The prefix of this library's own tag keys, which callers cannot set."""
NAME = "Name"
RUN = f"{OWN_PREFIX}run"
OWNER = f"{OWN_PREFIX}owner"
CREATED = f"{OWN_PREFIX}created"
EXPIRES = f"{OWN_PREFIX}expires"
USERNAME = f"{OWN_PREFIX}username"
"""The login user of instances that are launched from an image of an instance."""
CREATION = f"{OWN_PREFIX}creation"
"""The idempotency tag, unique for each create call, to find the call's resources if its response is lost."""

STATE = f"{OWN_PREFIX}state"
"""Whether a VPC is complete, so that other processes may use it."""

MAX_NAME_LENGTH = 63
MAX_KEY_LENGTH = 128
MAX_VALUE_LENGTH = 256
MAX_TAGS = 50

_UNSENDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML, and thus EC2, cannot represent."""

_TIMESTAMP = re.compile(r"-(\d{8}-\d{6}-[0-9a-f]{6}|[0-9a-f]{10})")
"""The suffix that `timestamped()` appends."""

_REFUSED_CHARACTERS = re.compile(r"[^\w \-+=.:/@]")


def validate_tag(tag: str) -> None:
    """Raise unless a tag can be a resource name.

    Raises:
        InvalidTagNameError: the tag is invalid; the message has every violated rule.
    """
    if not isinstance(tag, str):
        raise InvalidTagNameError(repr(tag), ["Must be a string"])
    # Test suites for pycloudlib compare these texts.
    rules = {
        "All letters must be lowercase": not any(character.isupper() for character in tag),
        f"Must be between 1 and {MAX_NAME_LENGTH} characters long": 1 <= len(tag) <= MAX_NAME_LENGTH,
        "Must not start or end with a hyphen": not tag.startswith("-") and not tag.endswith("-"),
        "Must be alphanumeric and hyphens only": re.fullmatch(r"[a-z0-9-]*", tag) is not None,
    }
    failed = [rule for rule, kept in rules.items() if not kept]
    if failed:
        raise InvalidTagNameError(tag, failed)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(timezone.utc)


def timestamped(tag: str, now: Callable[[], datetime] = utc_now, *, max_length: int | None = None) -> str:
    """Return the tag with a unique suffix, even among workers that call this in the same second.

    Args:
        tag: the prefix of the new tag.
        now: returns the current time; default the real one.
        max_length: the maximum number of characters of the new tag; default no limit.

    Returns:
        The tag, the time in UTC, and six random hexadecimal digits: "tag-20261120-161500-3fa94c". If that exceeds
        `max_length`: the tag and ten random hexadecimal digits.
    """
    dated = f"{tag}-{now().astimezone(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    return dated if max_length is None or len(dated) <= max_length else f"{tag}-{secrets.token_hex(5)}"


def is_timestamped(name: str, tag: str) -> bool:
    """Return whether `timestamped()` created a name from a tag.

    Args:
        name: the name.
        tag: the tag, without the suffix.
    """
    return name.startswith(tag) and _TIMESTAMP.fullmatch(name, len(tag)) is not None


def iso_time(moment: datetime) -> str:
    """Return the time in UTC in ISO 8601 format with a resolution of seconds: "2026-11-20T16:15:00Z"."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class Ownership:
    """The owner of created resources, so that a later run can find orphaned ones.

    Args:
        run: the run id, unique for each process; the workers of a pytest-xdist run share a prefix.
        owner: "user@host".
        ttl: seconds from a resource's creation until it expires; default never.
        now: returns the current time; default the real one.
    """

    run: str
    owner: str
    ttl: int | None = None
    now: Callable[[], datetime] = field(default=utc_now, repr=False, compare=False)

    @classmethod
    def of_this_process(cls, ttl: int | None = None, now: Callable[[], datetime] = utc_now) -> Ownership:
        """Return the ownership of this process.

        Args:
            ttl: seconds from a resource's creation until it expires; default never.
            now: returns the current time; default the real one.
        """
        return cls(run=_run_of_this_process(), owner=f"{_user()}@{socket.gethostname()}", ttl=ttl, now=now)

    def tags(
        self, name: str, extra: Mapping[str, str] | None = None, *, idempotency_tag: str = "", username: str = ""
    ) -> dict[str, str]:
        """Return the tags of a resource that is created now.

        Args:
            name: the tag "Name".
            extra: further tags, which may replace "Name", but none of this library's own; default none.
            idempotency_tag: the idempotency tag of the call; default none.
            username: the login user of an image's instances; default unknown.

        Raises:
            InvalidArgumentError: a tag is invalid, or uses one of this library's keys.
        """
        created = self.now()
        own = {RUN: self.run, OWNER: self.owner, CREATED: iso_time(created)}
        if idempotency_tag:
            own[CREATION] = idempotency_tag
        if username and _clipped(username) == username:
            own[USERNAME] = username
        if self.ttl is not None:
            own[EXPIRES] = iso_time(created + timedelta(seconds=self.ttl))
        further = dict(extra or {})
        # Reserve a tag for the name, and one for an idempotency tag that is added later.
        _check_further_tags(further, room=MAX_TAGS - 1 - len({*own, CREATION}))
        return {NAME: _clipped(name)} | further | {key: _clipped(value) for key, value in own.items()}


def tag_specifications(resource_types: Iterable[str], tags: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the parameter TagSpecifications of a create call, such as RunInstances.

    Args:
        resource_types: EC2's resource types: "instance", "volume", "network-interface", ...
        tags: the tags of each resource.
    """
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    return [{"ResourceType": resource_type, "Tags": list(pairs)} for resource_type in resource_types]


def _run_of_this_process() -> str:
    # Start with the id that all workers of one pytest-xdist run share, so that a prefix finds the run.
    worker = (os.environ.get("PYTEST_XDIST_TESTRUNUID"), os.environ.get("PYTEST_XDIST_WORKER"))
    return "-".join([*filter(None, worker), str(os.getpid()), _random_part(os.getpid())])


_RANDOM_PARTS: dict[int, str] = {}


def _random_part(pid: int) -> str:
    # Key by process id, because a forked process must not share its parent's part. setdefault() is atomic; with @cache,
    # concurrent threads could get two parts.
    return _RANDOM_PARTS.setdefault(pid, secrets.token_hex(4))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A container's user often has no name, only a number.
        return f"uid-{os.getuid()}"


def _check_further_tags(tags: Mapping[str, str], room: int) -> None:
    problems = [problem for key, value in tags.items() for problem in _problems_of_tag(key, value)]
    if len(tags) > room:
        problems.append(f"there are {len(tags)} tags; at most {room} are allowed beside this library's own")
    if problems:
        raise InvalidArgumentError("; ".join(problems))


def is_sendable(text: object) -> bool:
    """Return whether a value is a string that EC2 can represent, without characters such as NUL."""
    return isinstance(text, str) and not _UNSENDABLE.search(text)


def _problems_of_tag(key: object, value: object) -> list[str]:
    if not isinstance(key, str) or not isinstance(value, str):
        return [f"the tag {key!r}: {value!r} must be two strings"]
    problems = [
        f"the {what} {text!r} contains a control character or a lone surrogate"
        for what, text in (("tag key", key), (f"value of tag {key!r}", value))
        if not is_sendable(text)
    ]
    if not key or len(key) > MAX_KEY_LENGTH:
        problems.append(f"tag key {key!r} must have 1 to {MAX_KEY_LENGTH} characters")
    if key.lower().startswith("aws:"):
        problems.append(f"tag key {key!r} must not begin with 'aws:'")
    if key.startswith(OWN_PREFIX):
        problems.append(f"tag key {key!r} must not begin with {OWN_PREFIX!r}, which is reserved for this library")
    if len(value) > MAX_VALUE_LENGTH:
        problems.append(f"the value of tag {key!r} has {len(value)} characters; at most {MAX_VALUE_LENGTH} are allowed")
    return problems


def _clipped(value: str) -> str:
    return _REFUSED_CHARACTERS.sub("_", value)[:MAX_VALUE_LENGTH]
