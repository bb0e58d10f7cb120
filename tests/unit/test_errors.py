from __future__ import annotations

import copy
import inspect
import pickle
import re
import threading

import pytest

from pycloudlib import errors
from pycloudlib.result import Result

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, errors.PycloudlibException)
}


def drawn_tree() -> list[tuple[str, str]]:
    """Each class of the docstring's drawing, with the one it hangs on."""
    drawn, path = [], ["PycloudlibException"]
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│ ]*)[├└]── (\w+)", line)
        if match:
            depth = len(match[1]) // 4 + 1
            path[depth:] = [match[2]]
            drawn.append((match[2], path[depth - 1]))
    return [("PycloudlibException", "Exception"), *drawn]


def test_the_drawing_shows_every_error_once() -> None:
    assert sorted(name for name, _ in drawn_tree()) == sorted(CLASSES)


def test_the_drawing_hangs_every_error_on_its_base() -> None:
    assert dict(drawn_tree()) == {name: error.__bases__[0].__name__ for name, error in CLASSES.items()}


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.InvalidArgumentError, ValueError),
        (errors.InvalidTagNameError, ValueError),
        (errors.ConfigError, ValueError),
        (errors.ImageNotFoundError, ValueError),
        (errors.PycloudlibTimeoutError, TimeoutError),
        (errors.BootTimeoutError, TimeoutError),
        (errors.CommandTimeoutError, TimeoutError),
    ],
)
def test_errors_that_python_has_a_class_for_are_caught_as_that_too(
    error: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (errors.BootTimeoutError, errors.PycloudlibTimeoutError),
        (errors.BootTimeoutError, errors.InstanceError),
        (errors.CommandTimeoutError, errors.PycloudlibTimeoutError),
        (errors.CommandTimeoutError, errors.SSHError),
    ],
)
def test_a_timeout_is_caught_by_place_and_as_a_timeout(error: type[Exception], base: type[Exception]) -> None:
    assert issubclass(error, base)


def test_one_problem_is_one_line_and_several_are_a_list() -> None:
    assert str(errors.ConfigError(["a"])) == "a"
    assert str(errors.ConfigError(["a", "b"])) == "2 problems in the settings:\n  a\n  b"


def test_the_clean_up_error_lists_what_is_left() -> None:
    one, two = errors.CloudError("one"), errors.CloudError("two")
    assert str(errors.CleanupError([one])) == "1 resource could not be deleted:\n  one"
    assert str(errors.CleanupError([one, two])) == "2 resources could not be deleted:\n  one\n  two"
    assert errors.CleanupError([one, two]).errors == (one, two)


def test_an_instance_error_shows_the_end_of_the_console() -> None:
    assert str(errors.BootError("it panicked")) == "it panicked"
    error = errors.BootError("it panicked", instance_id="i-1", console_tail="Kernel panic")
    assert str(error) == "it panicked\nThe end of its console log:\nKernel panic"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.ImageNotFoundError, errors.ResourceType.IMAGE),
        (errors.InstanceNotFoundError, errors.ResourceType.INSTANCE),
        (errors.KeyPairNotFoundError, errors.ResourceType.KEY_PAIR),
        (errors.NetworkNotFoundError, errors.ResourceType.NETWORK),
    ],
)
def test_not_found_error_contains_kind_and_id(
    error: type[errors.ResourceNotFoundError], kind: errors.ResourceType
) -> None:
    missing = error("x-1", message="no such thing", code="Code", operation="Describe", request_id="r")
    assert (missing.resource_type, missing.resource_id, str(missing)) == (kind, "x-1", "no such thing")
    assert (missing.code, missing.operation, missing.request_id) == ("Code", "Describe", "r")


def test_not_found_error_takes_the_arguments_of_pycloudlib() -> None:
    error = errors.ResourceNotFoundError(resource_type=errors.ResourceType.IMAGE, resource_name="mine", zone="a")
    assert (error.resource_type, error.resource_id, error.resource_name) == (errors.ResourceType.IMAGE, None, "mine")
    assert str(error) == "Could not locate the resource type `image`: name=mine, zone=a"
    assert str(errors.ImageNotFoundError("ami-1")) == "Could not locate the resource type `image`: id=ami-1"


@pytest.mark.parametrize("kind", errors.ResourceType)
def test_resource_type_as_text_is_its_value(kind: errors.ResourceType) -> None:
    assert str(kind) == f"{kind}" == kind.value


def test_a_boot_timeout_is_complete_as_both_that_it_is() -> None:
    error = errors.BootTimeoutError(
        "late", what="ssh", seconds=5, last_seen="refused", instance_id="i-1", state="running", console_tail="login:"
    )
    assert (error.what, error.seconds, error.last_seen) == ("ssh", 5, "refused")
    assert (error.instance_id, error.state) == ("i-1", "running")
    assert str(error).startswith("late\n")


def test_a_fleet_error_names_each_instance_that_failed() -> None:
    error = errors.FleetError(
        "to run the command",
        errors={"i-1": errors.SSHError("lost"), "i-2": errors.BootError("i-2 panicked")},
        results={"i-3": "hi"},
    )
    assert str(error) == "2 of 3 instances failed to run the command:\n  i-1: lost\n  i-2 panicked"
    assert (list(error.errors), error.results) == (["i-1", "i-2"], {"i-3": "hi"})


EXAMPLES: list[errors.PycloudlibError] = [
    errors.FleetError("to be ready", errors={"i-1": errors.BootError("i-1 panicked")}, results={"i-2": None}),
    errors.ConfigError(["a", "b"]),
    errors.InvalidTagNameError("T", ["rule"]),
    errors.ImageNotFoundError("ami-1", message="none", code="c"),
    errors.BootTimeoutError("late", what="ssh", seconds=5, last_seen="x", instance_id="i-1", console_tail="end"),
    errors.CommandTimeoutError("late", what="ls", seconds=5, last_seen="x"),
    errors.CommandError("failed", result=Result("out", "err", 1)),
    errors.CleanupError([errors.CloudError("one")]),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_passes_whole_to_another_process(error: errors.PycloudlibError) -> None:
    passed = pickle.loads(pickle.dumps(error))
    assert type(passed) is type(error)
    assert str(passed) == str(error)
    assert repr(vars(passed)) == repr(vars(error))


def test_an_instance_does_not_pass_to_another_process() -> None:
    # A lock can neither be pickled nor copied, just as an open connection cannot.
    error = errors.BootError("panic", instance_id="i-1", instance=threading.Lock())
    passed = pickle.loads(pickle.dumps(error))
    assert (passed.instance_id, passed.instance) == ("i-1", None)
    assert copy.deepcopy(error).instance_id == "i-1"
