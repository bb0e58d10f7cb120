"""What is shown on a terminal, and what is not where there is none."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping

import pytest

from support.cli_world import CliWorld
from support.terminal import Terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
COLOURED = re.compile(r"\x1b\[(?:[0-9;]*;)?3[0-9](?:;[0-9;]*)?m")


@pytest.fixture
def variables(world: CliWorld) -> dict[str, str]:
    kept = {name: value for name, value in (world.cli.environment or {}).items() if name != "NO_COLOR"}
    return {**kept, "TERM": "xterm-256color", "COLUMNS": "80"}


def shown_by(world: CliWorld, variables: Mapping[str, str], *arguments: str) -> str:
    with Terminal([*world.cli.command, *arguments], variables) as terminal:
        shown = terminal.read_to_end()
    assert terminal.returncode == 0, shown
    return shown


def test_a_table_has_a_header_and_ids_are_not_broken(world: CliWorld, machine: str, variables: dict[str, str]) -> None:
    shown = COLOUR.sub("", shown_by(world, variables, "list", "--local", "--tag", "shared"))
    header, row, *_ = shown.splitlines()
    assert header.split() == ["id", "state", "address", "type", "age", "name"]
    assert row.split()[:2] == [machine, "running"]
    assert max(map(len, shown.splitlines())) <= 80


def test_progress_has_a_clock_and_leaves_one_line_for_each_step(world: CliWorld, variables: dict[str, str]) -> None:
    shown = shown_by(world, variables, "launch", "bookworm", "--local", "--tag", "seen", "--", "echo in")
    assert "looking for bookworm 0:" in COLOUR.sub("", shown)
    assert re.search(r"^(?:\r|\x1b\[[0-9]*[A-Z])*launching ami-[0-9a-f]+: [0-9.]+ s$", shown, re.MULTILINE)
    assert "\nin\n" in shown
    # The cursor is never hidden, so that no end of the process can leave it so.
    assert "\x1b[?25l" not in shown


def test_no_color_disables_colors(world: CliWorld, variables: dict[str, str]) -> None:
    assert COLOURED.search(shown_by(world, variables, "doctor", "--local"))
    assert not COLOURED.search(shown_by(world, {**variables, "NO_COLOR": "1"}, "doctor", "--local"))


def test_without_a_terminal_there_are_plain_lines_only(world: CliWorld) -> None:
    done = world.cli.run("launch", "bookworm", "--local", "--tag", "plain", "--", "echo in")
    assert done.stdout == "in\n"
    patterns = [(r"[0-9.]+ s$", "N s"), ("ami-[0-9a-f]{17}", "A"), ("i-[0-9a-f]{17}", "I")]
    lines = done.stderr.splitlines()
    for pattern, name in patterns:
        lines = [re.sub(pattern, name, line) for line in lines]
    assert lines == [
        "looking for bookworm ...",
        "looking for bookworm: done after N s",
        "launching A ...",
        "I was launched from A after N s",
        "I is running after N s",
        "I is reachable after N s",
        "I accepts the key after N s",
        "I is ready after N s",
        "launching A: done after N s",
        "deleting I ...",
        "I is terminated after N s",
        "deleting I: done after N s",
    ]


def test_closed_standard_streams_are_no_fault(world: CliWorld) -> None:
    command = shlex.join([*world.cli.command, "list", "--local", "--tag", "nobody"])
    shell = ["/bin/sh", "-c", f"{command} 2>&- >&- <&-"]
    done = subprocess.run(shell, capture_output=True, text=True, env=world.cli.environment, check=False)
    assert done.returncode == 0


def test_a_session_has_the_terminal(world: CliWorld, machine: str, variables: dict[str, str]) -> None:
    command = [*world.cli.command, "ssh", "--local", machine, "-o", "RequestTTY=force", "--", "tty; read word; exit 6"]
    with Terminal(command, variables) as terminal:
        terminal.read_until("/dev/pts/")
        terminal.type("go\n")
        terminal.read_to_end()
    assert terminal.returncode == 6


def test_a_session_in_a_new_machine_ends_with_it(world: CliWorld, variables: dict[str, str]) -> None:
    # The stand-in for a guest has no shell: each session is over as soon as it is open.
    shown = shown_by(world, variables, "launch", "bookworm", "--local", "--ssh", "--tag", "session")
    assert re.search(r"deleting i-[0-9a-f]+: [0-9.]+ s", shown)
    assert world.states("--tag", "session") == {}
