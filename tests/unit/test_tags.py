from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from pycloudlib import tags
from pycloudlib.errors import InvalidArgumentError, InvalidTagNameError
from pycloudlib.tags import Ownership, is_timestamped, tag_specifications, timestamped, validate_tag

NOON = datetime(2026, 11, 20, 12, 0, 5, 999999, tzinfo=timezone.utc)


def at_noon(ttl: int | None = None) -> Ownership:
    return Ownership(run="r", owner="me@here", ttl=ttl, now=lambda: NOON)


# Names


@pytest.mark.parametrize("tag", ["a", "1", "pycloudlib", "my-tag-2", "a" * 63])
def test_valid_names_are_accepted(tag: str) -> None:
    validate_tag(tag)


@pytest.mark.parametrize(
    ("tag", "rules"),
    [
        ("", ["Must be between 1 and 63 characters long"]),
        ("a" * 64, ["Must be between 1 and 63 characters long"]),
        ("Tag", ["All letters must be lowercase", "Must be alphanumeric and hyphens only"]),
        ("my_tag", ["Must be alphanumeric and hyphens only"]),
        ("straße", ["Must be alphanumeric and hyphens only"]),
        ("my tag\n", ["Must be alphanumeric and hyphens only"]),
        ("-tag", ["Must not start or end with a hyphen"]),
        ("tag-", ["Must not start or end with a hyphen"]),
        ("-", ["Must not start or end with a hyphen"]),
    ],
)
def test_every_violated_tag_rule_is_reported(tag: str, rules: list[str]) -> None:
    with pytest.raises(InvalidTagNameError) as caught:
        validate_tag(tag)
    assert list(caught.value.rules_failed) == rules
    assert str(caught.value) == f"Tag '{tag}' failed the following rules: {', '.join(rules)}"
    assert isinstance(caught.value, ValueError)


def test_a_timestamped_tag_has_the_year_in_utc() -> None:
    two_hours_east = timezone(timedelta(hours=2))
    made = timestamped("tag", now=lambda: datetime(2027, 1, 1, 1, 2, 3, tzinfo=two_hours_east))
    assert re.fullmatch(r"tag-20261231-230203-[0-9a-f]{6}", made)


def test_timestamped_tags_of_the_same_moment_differ() -> None:
    assert len({timestamped("tag", now=lambda: NOON) for _ in range(100)}) == 100


@pytest.mark.parametrize("length", [1, 40, 41, 52])
def test_timestamped_tag_is_a_valid_name(length: int) -> None:
    made = {timestamped("a" * length, max_length=63) for _ in range(100)}
    assert len(made) == 100
    for tag in made:
        validate_tag(tag)


def test_timestamped_tag_drops_the_time_only_if_it_is_too_long() -> None:
    assert re.fullmatch(r"a{40}-\d{8}-\d{6}-[0-9a-f]{6}", timestamped("a" * 40, max_length=63))
    assert re.fullmatch(r"a{41}-[0-9a-f]{10}", timestamped("a" * 41, max_length=63))


@pytest.mark.parametrize("length", [3, 41])
def test_timestamped_tag_is_recognized(length: int) -> None:
    tag = "a" * length
    name = timestamped(tag, max_length=63)
    assert is_timestamped(name, tag)
    assert not is_timestamped(name, tag[:-1])
    assert not is_timestamped(f"{name}-1", tag)
    assert not is_timestamped(tag, tag)


# Ownership


def test_a_resource_is_tagged_with_who_when_and_until_when() -> None:
    assert at_noon(ttl=3600).tags("my-instance") == {
        "Name": "my-instance",
        "pycloudlib:run": "r",
        "pycloudlib:owner": "me@here",
        "pycloudlib:created": "2026-11-20T12:00:05Z",
        "pycloudlib:expires": "2026-11-20T13:00:05Z",
    }


def test_without_a_ttl_nothing_expires() -> None:
    assert "pycloudlib:expires" not in at_noon().tags("x")


def test_the_time_is_that_of_the_call() -> None:
    moments = iter([NOON, NOON + timedelta(days=1)])
    ownership = Ownership(run="r", owner="o", now=lambda: next(moments))
    assert [ownership.tags("x")[tags.CREATED] for _ in range(2)] == ["2026-11-20T12:00:05Z", "2026-11-21T12:00:05Z"]


def test_times_of_other_zones_become_utc() -> None:
    ownership = Ownership(run="r", owner="o", now=lambda: NOON.astimezone(timezone(timedelta(hours=-5))))
    assert ownership.tags("x")[tags.CREATED] == "2026-11-20T12:00:05Z"


def test_further_tags_are_added_and_may_replace_the_name() -> None:
    made = at_noon().tags("given", {"team": "images", "Name": "own"})
    assert (made["team"], made["Name"], made[tags.RUN]) == ("images", "own", "r")


def test_values_are_made_to_fit_what_aws_allows() -> None:
    made = Ownership(run="r", owner="jürgen!#@höst\n", now=lambda: NOON).tags("n" * 300)
    assert made[tags.OWNER] == "jürgen__@höst_"
    assert made[tags.NAME] == "n" * 256


@pytest.mark.parametrize(
    ("further", "reason"),
    [
        ({"pycloudlib:run": "theirs"}, "tag key 'pycloudlib:run' must not begin with 'pycloudlib:'"),
        ({"AWS:x": "1"}, "tag key 'AWS:x' must not begin with 'aws:'"),
        ({"": "1"}, "tag key '' must have 1 to 128 characters"),
        ({"k" * 129: "1"}, "must have 1 to 128 characters"),
        ({"k": "v" * 257}, "the value of tag 'k' has 257 characters; at most 256 are allowed"),
        ({f"k{n}": "" for n in range(46)}, "there are 46 tags; at most 44 are allowed beside this library's own"),
    ],
)
def test_further_tags_that_cannot_be_are_refused(further: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(reason)):
        at_noon(ttl=1).tags("x", further)


def test_the_greatest_number_of_tags_is_accepted() -> None:
    further = {f"k{n}": "" for n in range(44)}
    assert len(at_noon(ttl=1).tags("x", further, idempotency_tag="mark")) == tags.MAX_TAGS
    assert len(at_noon(ttl=1).tags("x", further)) == tags.MAX_TAGS - 1


def test_one_process_is_one_run() -> None:
    assert Ownership.of_this_process().run == Ownership.of_this_process(ttl=5).run
    assert Ownership.of_this_process(ttl=5).ttl == 5


def test_another_process_is_another_run() -> None:
    command = "from pycloudlib.tags import Ownership; print(Ownership.of_this_process().run)"
    runs = {subprocess.run([sys.executable, "-c", command], check=True, capture_output=True).stdout for _ in range(2)}
    assert len(runs) == 2


def test_a_forked_process_is_another_run() -> None:
    here = Ownership.of_this_process().run
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writable, json.dumps(Ownership.of_this_process().run).encode())
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as answer:
        there = json.load(answer)
    os.waitpid(child, 0)
    assert here.rsplit("-", 1)[1] != there.rsplit("-", 1)[1]


def test_workers_of_one_xdist_run_share_the_beginning_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "abc123")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw3")
    assert Ownership.of_this_process().run.startswith(f"abc123-gw3-{os.getpid()}-")
    monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID")
    monkeypatch.delenv("PYTEST_XDIST_WORKER")
    assert Ownership.of_this_process().run.startswith(f"{os.getpid()}-")


def test_the_owner_is_the_user_at_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ci-bot")
    assert re.fullmatch(r"ci-bot@.+", Ownership.of_this_process().owner)


def test_user_without_a_name_is_identified_by_uid(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    assert Ownership.of_this_process().owner.startswith("uid-987654@")


# TagSpecifications


def test_specifications_are_as_ec2_wants_them() -> None:
    assert tag_specifications(["instance", "volume"], {"Name": "x", "team": "y"}) == [
        {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "x"}, {"Key": "team", "Value": "y"}]},
        {"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "x"}, {"Key": "team", "Value": "y"}]},
    ]


def test_threads_that_ask_at_once_have_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2)
    monkeypatch.setattr(tags, "_RANDOM_PARTS", {})

    def token(_: int) -> str:
        meeting.wait(10)
        return str(threading.get_ident())

    monkeypatch.setattr(secrets, "token_hex", token)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: Ownership.of_this_process().run, range(2))
    assert one == other
