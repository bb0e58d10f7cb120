from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.ec2.sweep.orphans import KINDS, KINDS_BY_NAME, Orphan, Selection, checked_selection
from pycloudlib.errors import InvalidArgumentError, PermissionDeniedError
from pycloudlib.tags import CREATED, EXPIRES, OWNER, RUN, Ownership
from support.scripted_ec2 import ScriptedEC2

if TYPE_CHECKING:
    from unit.ec2.conftest import ConnectTo

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
LEFTOVER = Orphan("volume", "vol-1", "us-east-1", run="run-1-gw0", owner="me@here", created=NOW - HOUR)
OWN_TAGS = Ownership("this-run", "me@here").tags("x")


def tag_set(**tags: str) -> str:
    items = "".join(f"<item><key>{key}</key><value>{value}</value></item>" for key, value in tags.items())
    return f"<tagSet>{items}</tagSet>"


@pytest.mark.parametrize(
    ("changes", "is_meant"),
    [
        ({}, True),
        ({"older_than": 3600}, True),
        ({"older_than": 3600.5}, False),
        ({"older_than": 0}, True),
        ({"run": "run-1-gw0"}, True),
        ({"run": "run-1"}, True),
        ({"run": "run-2"}, False),
        ({"run": "gw0"}, False),
        ({"owner": "me@here"}, True),
        ({"owner": "me@her"}, False),
        ({"expired": True}, False),
        ({"own_run": "run-1-gw0"}, False),
        ({"own_run": "run-1-gw0", "run": "run-1"}, True),
    ],
    ids=str,
)
def test_selection_requires_all_criteria(changes: dict[str, Any], is_meant: bool) -> None:
    assert replace(Selection("this-run"), **changes).matches(LEFTOVER, NOW) is is_meant


@pytest.mark.parametrize(("expires", "is_over"), [(NOW - HOUR, True), (NOW, True), (NOW + HOUR, False), (None, False)])
def test_what_never_expires_is_not_expired(expires: datetime | None, is_over: bool) -> None:
    assert Selection("this-run", expired=True).matches(replace(LEFTOVER, expires=expires), NOW) is is_over


def test_resource_without_creation_time_is_not_selected_by_age() -> None:
    undated = replace(LEFTOVER, created=None)
    assert not Selection("this-run", older_than=0).matches(undated, NOW)
    assert Selection("this-run").matches(undated, NOW)


@pytest.mark.parametrize(
    ("owner", "meant"), [(None, "me@here"), ("any", None), ("you@there", "you@there")], ids=["default", "any", "other"]
)
def test_the_owner_is_whoever_asks_unless_another_is_named(owner: str | None, meant: str | None) -> None:
    assert checked_selection(OWN_TAGS, older_than=None, run=None, owner=owner, expired=False).owner == meant


@pytest.mark.parametrize("older_than", [-1, "2h", True, float("nan"), float("inf")], ids=str)
def test_an_age_is_a_number_of_seconds(older_than: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="number of seconds"):
        checked_selection(OWN_TAGS, older_than=older_than, run=None, owner=None, expired=False)


def test_orphan_has_the_values_of_its_tags(script: ScriptedEC2, connect: ConnectTo) -> None:
    tags = tag_set(
        **{
            "Name": "data",
            RUN: "run-1",
            OWNER: "me@here",
            CREATED: "2026-11-20T11:00:00Z",
            EXPIRES: "2026-11-20T13:00:00Z",
        }
    )
    attached = "<attachmentSet><item><instanceId>i-1</instanceId></item></attachmentSet>"
    volume = f"<item><volumeId>vol-1</volumeId><status>in-use</status>{attached}{tags}</item>"
    script.answer("DescribeVolumes", f"<volumeSet>{volume}</volumeSet>")
    (found,) = KINDS_BY_NAME["volume"].find(connect(script.url)._region_context)
    assert found == Orphan(
        kind="volume",
        id="vol-1",
        region="us-east-1",
        name="data",
        run="run-1",
        owner="me@here",
        created=NOW - HOUR,
        expires=NOW + HOUR,
        state="in-use",
        instance_id="i-1",
    )
    assert str(found) == "volume vol-1"
    (asked,) = script.asked
    assert (asked["Filter.1.Name"], asked["Filter.1.Value.1"]) == ("tag-key", RUN)


def test_what_carries_no_tags_of_ours_is_not_found_even_if_the_server_lists_it(
    script: ScriptedEC2, connect: ConnectTo
) -> None:
    others = f"<item><volumeId>vol-1</volumeId>{tag_set(Name='pycloudlib')}</item>"
    gone = f"<item><volumeId>vol-2</volumeId><status>deleted</status>{tag_set(**{RUN: 'run-1'})}</item>"
    script.answer("DescribeVolumes", f"<volumeSet>{others}{gone}</volumeSet>")
    assert KINDS_BY_NAME["volume"].find(connect(script.url)._region_context) == []


def test_times_that_are_none_are_left_open(script: ScriptedEC2, connect: ConnectTo) -> None:
    tags = tag_set(**{RUN: "run-1", CREATED: "yesterday", EXPIRES: ""})
    script.answer("DescribeKeyPairs", f"<keySet><item><keyName>k</keyName>{tags}</item></keySet>")
    (found,) = KINDS_BY_NAME["key pair"].find(connect(script.url)._region_context)
    assert (found.created, found.expires, found.owner) == (None, None, "")


def test_all_pages_are_read(script: ScriptedEC2, connect: ConnectTo) -> None:
    for number, token in ((1, "<nextToken>more</nextToken>"), (2, "")):
        item = f"<item><volumeId>vol-{number}</volumeId>{tag_set(**{RUN: 'run-1'})}</item>"
        script.answer("DescribeVolumes", f"<volumeSet>{item}</volumeSet>{token}")
    found = KINDS_BY_NAME["volume"].find(connect(script.url)._region_context)
    assert [one.id for one in found] == ["vol-1", "vol-2"]
    assert script.asked[1]["NextToken"] == "more"


@pytest.mark.parametrize("code", ["UnsupportedOperation", "InvalidAction"])
def test_a_server_without_such_resources_has_none_left(script: ScriptedEC2, connect: ConnectTo, code: str) -> None:
    scope = connect(script.url)._region_context
    for kind in KINDS:
        action = "".join(word.capitalize() for word in kind.operation.split("_"))
        script.refuse(action, code)
        assert kind.find(scope) == []


def test_denied_lookup_is_reported(script: ScriptedEC2, connect: ConnectTo) -> None:
    script.refuse("DescribeVolumes", "UnauthorizedOperation", status=403)
    with pytest.raises(PermissionDeniedError):
        KINDS_BY_NAME["volume"].find(connect(script.url)._region_context)
