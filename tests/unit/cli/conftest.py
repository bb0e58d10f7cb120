"""The command line, with a home of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.local import daemon, paths
from support.cli_world import CliWorld, QuickCommandLine, cli_world
from support.command_line import CommandLine


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QuickCommandLine]:
    for variable, name in (("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state"), ("XDG_CACHE_HOME", "cache")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    state = paths.state_dir()
    yield QuickCommandLine(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in daemon.running_servers():
        daemon.stop_server(name)
    assert list(state.iterdir()) == []


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    """A home with a simulated local EC2; what a test launches there, it deletes."""
    with cli_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture(scope="session")
def machine(world: CliWorld) -> str:
    """The id of a machine that is ready, for all tests that leave it so."""
    return world.launch("--tag", "shared")


@pytest.fixture
def process(cli: QuickCommandLine) -> CommandLine:
    """The same command line, always in a process of its own."""
    return CommandLine(cli.home)


@pytest.fixture
def sitecustomize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What every Python that is started from here runs first."""
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(directory))
    return directory / "sitecustomize.py"
