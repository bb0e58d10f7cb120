"""The markers, which set launch arguments for a test, a class, or a module."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from email.message import Message
from typing import Any

import pytest

USER_DATA = "cloud_user_data"
IMAGE = "cloud_image"
INSTANCE_TYPE = "cloud_instance_type"
LAUNCH = "cloud_launch"

DESCRIPTIONS = (
    f"{USER_DATA}(text): the user data of the instance",
    f"{IMAGE}(name): another image, which is not prepared: an AMI id, a release, or a name",
    f"{INSTANCE_TYPE}(name): the instance type, such as 't3.small'",
    f"{LAUNCH}(**kwargs): arguments of EC2.launch(), such as disk_size_gb=20 or any parameter of RunInstances",
)

LAUNCH_ARGUMENTS = frozenset(
    {
        "cloud_init_failure",
        "disk_size_gb",
        "enable_ipv6",
        "instance_type",
        "user_data",
        "username",
        "vpc",
        "wait",
    }
)
"""The arguments of EC2.launch() that a marker can set, besides parameters of RunInstances."""

_ARGUMENTS = {USER_DATA: "user_data", INSTANCE_TYPE: "instance_type"}
"""The markers for a single argument."""

DECIDED_ELSEWHERE: Mapping[str, str] = {
    "image_id": f"use the marker {IMAGE}",
    "keep_on_failure": "use the option --cloud-keep",
}


def problems_of_markers(items: Iterable[pytest.Item]) -> list[str]:
    """Validate the arguments of all markers.

    Args:
        items: the tests.

    Returns:
        The problems, one line each, with the test.
    """
    marked = ((item, mark) for item in items for mark in item.iter_markers())
    return [f"{item.nodeid}: {problem}" for item, mark in marked for problem in _problems(mark)]


def _problems(mark: pytest.Mark) -> list[str]:
    if mark.name == LAUNCH:
        return [f"marker {LAUNCH}: {problem}" for problem in _launch_problems(mark)]
    if mark.name not in _CHECKS:
        return []
    check, allowed = _CHECKS[mark.name]
    if len(mark.args) != 1 or mark.kwargs:
        return [f"marker {mark.name}: takes one argument, {allowed}, and has {_shown(mark)}"]
    if not check(mark.args[0]):
        # User data may contain a secret.
        description = type(mark.args[0]).__name__ if mark.name == USER_DATA else repr(mark.args[0])
        return [f"marker {mark.name}: takes {allowed}, not {description}"]
    return []


def _launch_problems(mark: pytest.Mark) -> list[str]:
    problems = [f"takes arguments of EC2.launch() by name, not {len(mark.args)} without"] if mark.args else []
    return problems + [problem for name in mark.kwargs if (problem := problem_of_argument(name))]


def problem_of_argument(name: object) -> str:
    """Return the problem with the name of a launch argument; empty without one.

    Args:
        name: the name.
    """
    if not isinstance(name, str):
        return f"the name of an argument must be a string, not {name!r}"
    if name in DECIDED_ELSEWHERE:
        return f"{name} cannot be given here: {DECIDED_ELSEWHERE[name]}"
    # Parameters of RunInstances start with a capital letter; EC2.launch() validates them, and suggests the closest one.
    if name in LAUNCH_ARGUMENTS or name[:1].isupper():
        return ""
    nearest = difflib.get_close_matches(name, LAUNCH_ARGUMENTS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(sorted(LAUNCH_ARGUMENTS))}"
    return f"EC2.launch() has no argument {name!r}; {hint}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


_CHECKS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    USER_DATA: (lambda value: isinstance(value, (str, bytes, Message)), "a string, bytes, or an email.message.Message"),
    IMAGE: (_is_text, "an AMI id, a release, or a name"),
    INSTANCE_TYPE: (_is_text, "an instance type such as 't3.small'"),
}


def _shown(mark: pytest.Mark) -> str:
    count = len(mark.args) + len(mark.kwargs)
    return "none" if not count else f"{len(mark.args)}" + (f" and {', '.join(mark.kwargs)}" if mark.kwargs else "")


def marked_image(node: pytest.Collector | pytest.Item) -> str | None:
    """Return the image of the closest marker; None without one.

    Args:
        node: a test, a class, or a module.
    """
    mark = node.get_closest_marker(IMAGE)
    return mark.args[0] if mark else None


def marked_arguments(node: pytest.Collector | pytest.Item) -> dict[str, Any]:
    """Return the arguments of EC2.launch() from the markers; closer markers take precedence.

    Args:
        node: a test, a class, or a module.
    """
    arguments: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers())):
        if mark.name == LAUNCH:
            arguments |= mark.kwargs
        elif mark.name in _ARGUMENTS:
            arguments[_ARGUMENTS[mark.name]] = mark.args[0]
    return arguments
