"""Each member of each action's request has an effect, or is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import ListShape, Shape, StructureShape

from pycloudlib.local.api.audit import ActionAudit, audit_of, supported_actions
from support.audit_cases import CASES, Case
from support.audit_requests import MODEL, Attempt, Outcome, members_of, operation_of, samples, with_member
from support.audit_world import World


def operation_members(action: str) -> set[str]:
    shape = operation_of(action).input_shape
    return set(shape.members) if shape else set()


TESTS = Path(__file__).parents[1]
PLAIN = Case(base=lambda _w: {}, look=lambda _w, _p, r: r)
READING = ("Describe", "Get")


def audit(action: str) -> ActionAudit:
    found = audit_of(action)
    assert found is not None
    return found


def accepts(audit: ActionAudit, path: str) -> bool:
    return path in audit.kept or (path.startswith("TagSpecifications.") and bool(audit.tags))


@pytest.mark.parametrize("action", CASES)
def test_every_member_has_an_effect_or_is_refused(world: World, action: str) -> None:
    attempt, case, honored = Attempt(world, action), CASES[action], audit(action)
    wrong = []
    for path, shape in members_of(action).items():
        if not accepts(honored, path):
            value = samples(path, shape, case, world)[0]
            if path.split(".")[-1] not in attempt.refusal(path, value):
                wrong.append(f"{path} is not refused by name")
        elif path not in case.elsewhere and path not in case.as_on_ec2 and not path.startswith("TagSpecifications.R"):
            wrong += verdicts(attempt, path, honored.kept.get(path), samples(path, shape, case, world))
    assert not wrong, "\n".join(wrong)


def verdicts(attempt: Attempt, path: str, accepted: frozenset[str] | None, values: list[object]) -> list[str]:
    """Say what is wrong with a member that is honored."""
    wrong = []
    if accepted is not None:
        others = [value for value in values if text_of(value) not in accepted]
        wrong = [f"{path}={value} is not refused" for value in others if not refuses(attempt, path, value)]
        values = [value for value in values if value not in others] or sorted(accepted)
    if accepted is not None and len(accepted) == 1:
        # The only accepted value is the one that counts without the member.
        return wrong
    outcomes = {repr(value): attempt.outcome(path, value) for value in values}
    faults = [f"{path}={value} {outcome.value}" for value, outcome in outcomes.items() if outcome is Outcome.FAULT]
    if not faults and not {Outcome.EFFECT, Outcome.CHECKED} & set(outcomes.values()):
        return [*wrong, *(f"{path} {outcome.value}" for outcome in set(outcomes.values()))]
    return [*wrong, *faults]


def text_of(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def refuses(attempt: Attempt, path: str, value: object) -> bool:
    return attempt.outcome(path, value) is Outcome.REFUSED


@pytest.mark.parametrize("action", [one for one in supported_actions() if one.startswith(READING)])
def test_other_members_of_a_reading_action_are_refused_by_name(world: World, action: str) -> None:
    accepted = {path for path in members_of(action) if accepts(audit(action), path)}
    for path, shape in members_of(action).items():
        if path in accepted:
            continue
        request = with_member(operation_of(action).input_shape, {}, path, samples(path, shape, PLAIN, world)[0])
        with pytest.raises(ClientError, match=path.split(".")[-1]) as caught:
            getattr(world.c, xform_name(action))(**request)
        assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"


def test_every_action_that_changes_something_has_a_case() -> None:
    changing = {one for one in supported_actions() if not one.startswith(READING)}
    assert changing == set(CASES)


@pytest.mark.parametrize("action", supported_actions())
def test_the_table_names_what_the_model_has(action: str) -> None:
    honored, operation = audit(action), operation_of(action)
    assert set(honored.kept) <= set(members_of(action))
    shape: Shape = operation.output_shape
    for member in filter(None, honored.items.split(".")):
        shape = element(shape.members[member])  # type: ignore[union-attr]
    unknown = [
        name
        for name in honored.filters
        if not leads_somewhere(shape, honored.filter_path(name)) and honored.filter_place(name) == honored.items
    ]
    assert not unknown, unknown


def element(shape: Shape) -> Shape:
    return element(shape.member) if isinstance(shape, ListShape) else shape


def leads_somewhere(shape: Shape, path: tuple[str, ...]) -> bool:
    for member in path:
        shape = element(shape)
        if not isinstance(shape, StructureShape) or member not in shape.members:
            return False
        shape = shape.members[member]
    return not isinstance(element(shape), StructureShape)


def test_effects_that_are_shown_elsewhere_are_tested_there() -> None:
    for action, case in CASES.items():
        for path, where in case.elsewhere.items():
            file, _, name = where.partition("::")
            assert path in audit(action).kept
            assert re.search(rf"def {name}\b", (TESTS / file).read_text()), f"{action}.{path}: {where}"


@pytest.mark.parametrize(
    "action", [one for one in supported_actions() if "TagSpecifications" in operation_members(one)]
)
def test_only_resources_that_an_action_creates_are_tagged(world: World, action: str) -> None:
    wrong = Attempt(world, action).code("TagSpecifications.ResourceType", "vpc-flow-log")
    assert wrong == ("InvalidParameterValue" if audit(action).tags else "UnsupportedOperation")


def test_other_actions_are_refused_by_name(world: World) -> None:
    for action in ("CreateTransitGateway", "CreateVpnConnection", "AllocateHosts", "CreateFlowLogs"):
        assert action in MODEL.operation_names
        assert audit_of(action) is None
