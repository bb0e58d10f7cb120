from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.errors import InvalidArgumentError
from pycloudlib.timeline.model import STAGES, from_json, read, to_json
from support.boots import boot


def test_boots_are_read_as_they_were_written(tmp_path: Path) -> None:
    boots = [boot("before", 1), boot("after", 2, 1.5)]
    path = tmp_path / "boots.json"
    path.write_text(to_json(boots))
    assert read(path) == boots


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        '{"version": 1}',
        '{"version": 1, "boots": [{}]}',
        '{"version": 1, "boots": [7]}',
        json.dumps({"version": 1, "boots": [{**json.loads(to_json([boot()]))["boots"][0], "reached": {"moon": 3}}]}),
    ],
)
def test_what_holds_no_boots_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^x\.json is not a file of `pycloudlib timeline --save`"):
        from_json(text, "x.json")


def test_a_file_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"x\.json has version 2; this program reads 1"):
        from_json('{"version": 2, "boots": []}', "x.json")


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"cannot read .*missing\.json: No such file"):
        read(tmp_path / "missing.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidArgumentError, match=r"binary\.json is not a text file"):
        read(tmp_path / "binary.json")


def test_phases_follow_each_other_without_a_gap() -> None:
    phases = boot().phases
    assert [phase.name for phase in phases] == list(STAGES)
    ends = [phase.start + phase.seconds for phase in phases]
    assert [phase.start for phase in phases[1:]] == pytest.approx(ends[:-1])
    assert ends[-1] == pytest.approx(boot().total)


def test_a_stage_that_was_seen_late_takes_no_time_twice() -> None:
    early = replace(boot(), reached={"running": 5.0, "kernel": 2.0, "ready": 9.0})
    assert [(phase.name, phase.seconds) for phase in early.phases] == [
        ("running", 5.0),
        ("kernel", 0.0),
        ("ready", 4.0),
    ]


def test_a_boot_that_came_nowhere_took_no_time() -> None:
    assert replace(boot(), reached={}).total == 0.0
