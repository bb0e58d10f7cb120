from __future__ import annotations

import pytest

from pycloudlib.errors import ResourceNotFoundError
from support.scripted_ec2 import ScriptedEC2

ID = "vol-0123456789abcdef0"


def test_tagging_a_missing_resource_fails_without_retries(connect, script: ScriptedEC2) -> None:
    script.refuse("CreateTags", "InvalidVolume.NotFound", f"The volume '{ID}' does not exist.")
    with pytest.raises(ResourceNotFoundError, match=ID):
        connect(script.url).tag_resources(ID, {"team": "blue"})
    assert script.count("CreateTags") == 1


def test_what_was_created_here_may_be_unknown_for_a_moment(connect, script: ScriptedEC2) -> None:
    script.refuse("CreateTags", "InvalidVolume.NotFound", f"The volume '{ID}' does not exist.")
    script.answer("CreateTags", "<return>true</return>")
    ec2 = connect(script.url)
    ec2._ledger.record("volume", ID, lambda: None, order=1)
    ec2.tag_resources(ID, {"team": "blue"})
    assert script.count("CreateTags") == 2


def test_more_than_one_call_takes_are_several_calls(connect, script: ScriptedEC2) -> None:
    script.answer("CreateTags", "<return>true</return>")
    connect(script.url).tag_resources((f"i-{number:08x}" for number in range(1001)), {"team": "blue"})
    first, second = script.asked
    assert ("ResourceId.1000" in first, "ResourceId.2" in second) == (True, False)
