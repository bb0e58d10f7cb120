"""`pycloudlib images`: those of a release."""

from __future__ import annotations

import json

import pytest

from support.cli_world import CliWorld


def test_those_of_a_release_are_listed_oldest_first(world: CliWorld) -> None:
    rows = [line.split("\t") for line in world.cli.run("images", "--local", "--release", "noble").stdout.splitlines()]
    assert [row[1] for row in rows] == ["2025-12-01", "2026-01-05", "2026-02-02"]
    assert {row[4] for row in rows} == {"099720109477"}
    assert all("/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-" in row[5] for row in rows)


def test_newest_daily_image_of_an_architecture_is_printed_as_json(world: CliWorld) -> None:
    words = ("--release", "12", "--daily", "--arch", "arm64", "--newest", "--json")
    (image,) = json.loads(world.cli.run("images", "--local", *words).stdout)
    assert image["architecture"] == "arm64"
    assert image["name"].startswith("debian-12-arm64-daily-")
    assert sorted(image) == ["architecture", "created", "id", "name", "owner", "size_gb", "tags"]


def test_they_are_found_by_owner_and_name(world: CliWorld) -> None:
    words = ("--owner", "136693071363", "--name", "debian-12-amd64-*")
    names = [line.split("\t")[5] for line in world.cli.run("images", "--local", *words).stdout.splitlines()]
    assert names
    assert all(name.startswith("debian-12-amd64-") for name in names)


@pytest.mark.parametrize(("release", "complaint"), [("nobel", "did you mean 'noble'?"), ("", "unknown release ''")])
def test_a_release_that_there_is_not_is_refused(release: str, complaint: str, world: CliWorld) -> None:
    assert complaint in world.cli.complaint("images", "--local", "--release", release, status=2)
