"""Waiting has one place, waiting.py: nobody else sleeps, and nobody else asks again and again."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pycloudlib

PACKAGE = Path(pycloudlib.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "deadline.py")

BLOCKING = {"poll", "select"}
"""Calls that a loop may make to move data, but not with a fixed time-out after which it just asks again."""


def offences(source: str) -> list[str]:
    tree = ast.parse(source)
    sleeps = [call for call in calls_in(tree) if name_of(call) == "sleep"]
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.While)]
    polls = [call for loop in loops for call in calls_in(loop) if waits_for_a_while(call)]
    return sorted({f"line {call.lineno}: {ast.unparse(call)}" for call in [*sleeps, *polls]})


def calls_in(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def waits_for_a_while(call: ast.Call) -> bool:
    times = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "timeout")]
    if name_of(call) == "wait":
        return any(not (isinstance(time, ast.Constant) and time.value is None) for time in times)
    return name_of(call) in BLOCKING and any(is_positive_number(time) for time in times)


def is_positive_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and node.value > 0


def test_no_other_file_sleeps_or_polls() -> None:
    found = {str(path.relative_to(PACKAGE)): offences(path.read_text()) for path in FILES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.sleep(1)",
        "from time import sleep\nsleep(1)",
        "clock.sleep(1)",
        "while not done():\n    event.wait(1)",
        "while not event.wait(timeout=INTERVAL):\n    look()",
        "while True:\n    for thing in things:\n        thing.wait(left)",
        "while True:\n    select.select([a], [], [], 0.1)",
        "while True:\n    poller.poll(100)",
    ],
)
def test_waiting_elsewhere_would_be_found(source: str) -> None:
    assert len(offences(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "event.wait(5)",
        "while True:\n    event.wait()",
        "while True:\n    process.wait(None)",
        "while data:\n    select.select([a], [], [])",
        "while data:\n    selector.select(deadline - now())",
        "while data:\n    poller.poll(0)",
        "wait_until(ready, what='it', deadline=deadline)",
    ],
)
def test_what_is_no_polling_is_let_through(source: str) -> None:
    assert offences(source) == []
