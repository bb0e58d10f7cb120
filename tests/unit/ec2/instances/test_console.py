from __future__ import annotations

from base64 import b64encode

import pytest

from pycloudlib.ec2.instances.console import Console
from pycloudlib.errors import InstanceNotFoundError
from support.scripted_ec2 import ScriptedEC2


def output(text: str) -> str:
    return f"<instanceId>i-1</instanceId><output>{b64encode(text.encode()).decode()}</output>"


def test_the_latest_output_is_asked_for_and_decoded(scripted_client, script: ScriptedEC2) -> None:
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
    assert console.read_if_possible() == ""
    with pytest.raises(InstanceNotFoundError):
        console.read()
