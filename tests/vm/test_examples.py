"""The examples, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.vm

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(example: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example)],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_hello_says_hello() -> None:
    greeting, cloud, kernel = run("hello.py").splitlines()
    assert (greeting, cloud) == ("hello", "aws")
    assert kernel.startswith("6.")


def test_what_is_meant_for_aws_runs_on_the_local_ec2_by_its_settings_alone(settings_file: Path) -> None:
    assert "hello" in run("on_aws.py", PYCLOUDLIB_CONFIG=str(settings_file))


def test_the_demo_shows_the_life_of_an_instance() -> None:
    shown = run("demo.py")
    for expected in ("Debian bookworm", "cloud-id    aws", "hello from user data", "the same", "before, "):
        assert expected in shown
    assert "nothing is left running" in shown
