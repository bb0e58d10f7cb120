"""Progress of what takes long, where there is no terminal; the stages of real boots are in the contract tests."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys

import pytest

from pycloudlib import progress
from support.terminal import Terminal

PROGRAM = "from pycloudlib import progress; progress.show(); progress.show(); progress.report('i-1', 'is ready', 1.25)"
REDIRECTED = """
import contextlib, io
from pycloudlib import progress
with progress.shown(), contextlib.redirect_stderr(io.StringIO()):
    progress.report('i-1', 'is ready', 1.25)
progress.report('i-2', 'is ready', 1.25)
"""


@pytest.mark.parametrize("program", [PROGRAM, REDIRECTED])
def test_without_a_terminal_each_stage_is_one_line(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "i-1 is ready after 1.2 s\n")


def test_on_a_terminal_nothing_is_shown() -> None:
    with Terminal([sys.executable, "-c", f"{PROGRAM}; print('end')"]) as terminal:
        assert terminal.read_to_end() == "end\n"


def test_a_closed_standard_error_does_not_disturb() -> None:
    command = shlex.join([sys.executable, "-c", f"{PROGRAM}; print('end')"])
    done = subprocess.run(["/bin/sh", "-c", f"{command} 2>&-"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "end\n")


def test_progress_is_hidden_by_default(caplog: pytest.LogCaptureFixture) -> None:
    progress.report("i-1", "is ready", 1.25)
    assert caplog.messages == []
    caplog.set_level(logging.INFO, progress.NAME)
    progress.report("i-1", "is ready", 1.25)
    progress.report("i-1", "is running", 1.25, level=logging.DEBUG)
    assert caplog.messages == ["i-1 is ready after 1.2 s"]
