"""AWS FIS: validation of experiment templates.

https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pycloudlib.local.api.models.disruptions import PREFIX_LIST, SCOPES
from pycloudlib.local.api.models.spot_interruptions import LEAST_WAIT
from pycloudlib.local.api.moto_adapter import JsonRESTError


@dataclass(frozen=True)
class Action:
    """A supported action of experiments.

    Args:
        target_key: the key of its target.
        resource_type: the type of the target's resources.
        parameters: the names of its parameters.
        check: raises JsonRESTError for invalid parameters.
    """

    target_key: str
    resource_type: str
    parameters: frozenset[str]
    check: Callable[[Mapping[str, str]], object]


INTERRUPT = "aws:ec2:send-spot-instance-interruptions"
DISRUPT = "aws:network:disrupt-connectivity"
MOST_WAIT = timedelta(minutes=15)
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(hours=12)
"""The limits of a disruption's duration."""

_MINUTES = re.compile(r"PT([0-9]{1,2})M")
_DURATION = re.compile(r"PT(?=[0-9])(?:([0-9]{1,2})H)?(?:([0-9]{1,3})M)?(?:([0-9]{1,5})S)?")
_SELECTION = re.compile(r"ALL|(?P<kind>COUNT|PERCENT)\((?P<number>[1-9][0-9]{0,5})\)")
_ALL = 100
"""Percent."""
_TARGET_MEMBERS = {"resourceType", "resourceArns", "resourceTags", "selectionMode"}


def check_stop_conditions(conditions: list[Mapping[str, Any]]) -> None:
    """Reject stop conditions.

    Raises:
        JsonRESTError: a condition other than "none" is given (ValidationException).
    """
    for condition in conditions:
        if condition.get("source") != "none":
            raise invalid("The local EC2 has no stop condition but the source 'none'")


def check_actions(actions: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
    """Require actions of ACTIONS, each with a target, and no other targets.

    Args:
        actions: by name, as in the request.
        targets: by name, as in the request.

    Raises:
        JsonRESTError: something is unsupported or invalid (ValidationException).
    """
    if not actions:
        raise invalid("An experiment template needs an action")
    used = set()
    for name, action in actions.items():
        kind = ACTIONS.get(str(action.get("actionId")))
        if kind is None:
            supported = " and ".join(ACTIONS)
            raise invalid(f"The local EC2 does not have the action {action.get('actionId')}; it has {supported}")
        if action.get("startAfter"):
            raise invalid(f"The local EC2 does not have startAfter of actions, which {name} has")
        unknown = sorted(set(action.get("parameters") or {}) - kind.parameters)
        if unknown:
            expected = ", ".join(sorted(kind.parameters))
            raise invalid(f"The action {name} does not have the parameter {unknown[0]}; it has {expected}")
        kind.check(parameters_of(action))
        if set(action.get("targets") or {}) != {kind.target_key}:
            raise invalid(f"The action {name} has a target {kind.target_key}, and no other")
        target = action["targets"][kind.target_key]
        if target not in targets:
            raise invalid(f"The target {target} of the action {name} does not exist")
        _check_target(targets[target], kind.resource_type)
        used.add(target)
    unused = sorted(set(targets) - used)
    if unused:
        raise invalid(f"No action has the target {', '.join(unused)}")


def _check_target(target: Mapping[str, Any], resource_type: str) -> None:
    if target.get("resourceType") != resource_type:
        raise invalid(f"Invalid resource type '{target.get('resourceType')}'; expected {resource_type}")
    unknown = sorted(name for name, value in target.items() if value and name not in _TARGET_MEMBERS)
    if unknown:
        raise invalid(f"The local EC2 does not have {', '.join(unknown)} of targets")
    if bool(target.get("resourceArns")) == bool(target.get("resourceTags")):
        raise invalid("A target needs resourceArns or resourceTags")
    selection = _SELECTION.fullmatch(str(target.get("selectionMode")))
    if selection is None or (selection["kind"] == "PERCENT" and int(selection["number"]) > _ALL):
        raise invalid(f"Invalid selection mode '{target.get('selectionMode')}'")


def parameters_of(action: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the parameters of an action."""
    return action.get("parameters") or {}


def duration_of(parameters: Mapping[str, str]) -> timedelta:
    """Return the duration of a disruption.

    Raises:
        JsonRESTError: it is missing, malformed, or outside of AWS's limits.
    """
    text = str(parameters.get("duration") or "")
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(group or 0) for group in match.groups()) if match else (0, 0, 0)
    duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not SHORTEST <= duration <= LONGEST:
        raise invalid(f"duration is '{text}'; it must be from PT1M to PT12H")
    return duration


def _check_disruption(parameters: Mapping[str, str]) -> None:
    duration_of(parameters)
    scope = scope_of(parameters)
    if scope not in SCOPES:
        raise invalid(f"The local EC2 does not have the scope '{scope}'; it has {', '.join(SCOPES)}")
    if (scope == PREFIX_LIST) != bool(parameters.get("prefixListIdentifier")):
        raise invalid(f"The scope {PREFIX_LIST} needs the parameter prefixListIdentifier, and no other has it")


def scope_of(parameters: Mapping[str, str]) -> str:
    """Return the scope of a disruption; "" without one."""
    return str(parameters.get("scope") or "")


def wait_of(parameters: Mapping[str, str]) -> timedelta:
    """Return the time until the interruption of a spot instance; two minutes by default.

    Raises:
        JsonRESTError: it is malformed, or outside of AWS's limits.
    """
    text = str(parameters.get("durationBeforeInterruption") or "PT2M")
    match = _MINUTES.fullmatch(text)
    wait = timedelta(minutes=int(match[1])) if match else timedelta()
    if not LEAST_WAIT <= wait <= MOST_WAIT:
        raise invalid(f"durationBeforeInterruption is '{text}'; it must be from PT2M to PT15M")
    return wait


ACTIONS = {
    INTERRUPT: Action("SpotInstances", "aws:ec2:spot-instance", frozenset({"durationBeforeInterruption"}), wait_of),
    DISRUPT: Action(
        "Subnets", "aws:ec2:subnet", frozenset({"scope", "duration", "prefixListIdentifier"}), _check_disruption
    ),
}


def selected_count(selection_mode: str, available: int) -> int:
    """Return how many of the available targets a valid selection mode selects."""
    selection = _SELECTION.fullmatch(selection_mode)
    if selection is None or selection["kind"] is None:
        return available
    number = int(selection["number"])
    return number if selection["kind"] == "COUNT" else math.floor(available * number / _ALL)


def invalid(reason: str) -> JsonRESTError:
    """Return the error for a request that is invalid or unsupported."""
    return JsonRESTError("ValidationException", reason)
