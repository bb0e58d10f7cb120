from __future__ import annotations

from base64 import b64encode

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.instances.console import Console, ConsoleMark
from pycloudlib.errors import InstanceNotFoundError
from support.scripted_ec2 import ScriptedEC2


def output(text: str) -> str:
    return f"<instanceId>i-1</instanceId><output>{b64encode(text.encode()).decode()}</output>"


def test_latest_console_output_is_requested_and_decoded(scripted_client, script: ScriptedEC2) -> None:
    script.answer("GetConsoleOutput", output("Linux\r\nlogin: ö"))
    assert Console(scripted_client, "i-1").read() == "Linux\r\nlogin: ö"
    assert script.asked[0]["Latest"] == "true"


def test_instances_without_a_latest_output_give_that_of_their_boot(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("GetConsoleOutput", "UnsupportedOperation", "This instance type does not support retrieving it")
    script.answer("GetConsoleOutput", output("booted"))
    console = Console(scripted_client, "i-1")
    assert console.read() == "booted"
    assert console.read() == "booted"
    assert [question["Latest"] for question in script.asked] == ["true", "false", "false"]


def test_no_output_yet_is_empty(scripted_client, script: ScriptedEC2) -> None:
    script.answer("GetConsoleOutput", "<instanceId>i-1</instanceId>")
    assert Console(scripted_client, "i-1").read() == ""


def test_a_refusal_is_an_error_only_for_those_who_need_the_output(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("GetConsoleOutput", "InvalidInstanceID.NotFound")
    console = Console(scripted_client, "i-1")
    assert console.read_if_possible(Deadline.never()) == ""
    with pytest.raises(InstanceNotFoundError):
        console.read()


LOG = "".join(f"[{second:4}.0] line {second}\r\n" for second in range(2000))


def test_what_comes_after_a_mark_is_new() -> None:
    assert ConsoleMark.at_end_of(LOG).since(f"{LOG}new\r\n").strip() == "new"


def test_a_mark_is_found_after_the_beginning_of_the_log_has_disappeared() -> None:
    assert ConsoleMark.at_end_of(LOG).since(f"{LOG[30_000:]}new").strip() == "new"


@pytest.mark.parametrize("before", ["", LOG])
def test_without_its_mark_all_of_a_log_is_new(before: str) -> None:
    assert ConsoleMark.at_end_of(before).since("another log") == "another log"
