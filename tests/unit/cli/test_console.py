"""`pycloudlib console`."""

from __future__ import annotations

import signal

import pytest

from pycloudlib.cli.console import added
from support.cli_world import CliWorld


def test_the_console_is_printed(world: CliWorld, machine: str) -> None:
    done = world.cli.run("console", "--local", machine)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"simulated machine {machine}")


def test_it_is_followed_until_the_machine_ends(world: CliWorld) -> None:
    machine = world.launch("--tag", "followed")
    with world.cli.start("console", "--local", "--follow", machine) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"simulated machine {machine}")
        assert world.cli.run("delete", "--local", "--yes", machine).returncode == 0
        _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")


def test_following_ends_at_an_interrupt(world: CliWorld, machine: str) -> None:
    with world.cli.start("console", "--local", "--follow", machine) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr.strip()) == (130, "pycloudlib: interrupted")


END = "x" * 300 + "the end\n"


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "", ""),
        ("", "a\n", "a\n"),
        ("a\n", "a\nb\n", "b\n"),
        ("a\n", "a\n", ""),
        (f"gone\n{END}", f"{END}more\n", "more\n"),
        ("of another boot\n", "new\n", "new\n"),
    ],
    ids=["nothing", "first", "more", "the same", "its beginning is gone", "begun anew"],
)
def test_only_what_is_new_is_printed(before: str, now: str, new: str) -> None:
    assert added(before, now) == new
