"""The examples, run as a user runs them.

Those that boot machines for what other machine tests show run only with PYCLOUDLIB_EXAMPLES_EVERY=1, as in `tox -e vm`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pycloudlib import EC2
from pycloudlib.local.network.namespaces.probe import probe
from support.leftovers import leftovers

pytestmark = pytest.mark.vm

EXAMPLES = Path(__file__).parents[2] / "examples"
A_PAGE = 70
"""Lines."""
EVERY = bool(os.environ.get("PYCLOUDLIB_EXAMPLES_EVERY"))


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
    for expected in ("Debian trixie", "cloud-id    aws", "hello from user data", "the same", "before, "):
        assert expected in shown
    assert "nothing is left running" in shown


THEMES = {
    "launch.py": ["user data: one and two", "root disk: 12G", "found by its tag: True", "deleted"],
    "several_at_once.py": ["2 instances are ready", "token: True", "states: running, stopped"],
    "vpc.py": ["has 192.168.0.0/20", "interface 1: ", "1 interface is left", "the VPC and its instance are gone"],
    "hot_add.py": ["was attached as /dev/sdf, and is /dev/nvme1n1 in the guest", "974M", "is gone; what is left: vol-"],
    "snapshot.py": ["is running again", "the copy says: set up", "another machine id: yes", "another host key: yes"],
    "keys_and_groups.py": ["EC2 knows the key groups-example-", "tcp 5432", "in eu-central-1 has "],
    "images_and_permissions.py": ["snapshot: 100 %", "111122223333, 444455556666", "private again: True", "copied to "],
    "cluster.py": ["one of 3 leads: OK", "another one leads: OK", "cut off, writes: False", "again, reads: green"],
    "notification.py": ["hello: This is a notification of one's own.", "nightly"],
}
"""What each shows, in this order."""


SHOWN_ELSEWHERE = {"launch.py", "several_at_once.py", "vpc.py", "hot_add.py", "snapshot.py", "cluster.py"}
"""By test_launch, test_fleet, test_network, test_storage, and test_vpc_network."""

NEEDS_NAMESPACES = {"cluster.py"}


@pytest.mark.parametrize("example", THEMES)
def test_each_theme_has_a_program_that_runs_and_leaves_nothing(
    example: str, settings_file: Path, shared_ec2: EC2
) -> None:
    if example in SHOWN_ELSEWHERE and not EVERY:
        pytest.skip("boots machines for what other tests show; set PYCLOUDLIB_EXAMPLES_EVERY=1")
    if example in NEEDS_NAMESPACES and not probe().works:
        pytest.skip(probe().reason)
    before = leftovers(shared_ec2.client)
    shown = run(example, PYCLOUDLIB_CONFIG=str(settings_file), PYCLOUDLIB_BOOT_TIMEOUT="1800")
    positions = [shown.find(expected) for expected in THEMES[example]]
    assert -1 not in positions, shown
    assert positions == sorted(positions), shown
    assert leftovers(shared_ec2.client) == before


def test_every_example_is_run_and_none_is_longer_than_a_page() -> None:
    programs = {path.name: path.read_text().splitlines() for path in EXAMPLES.glob("*.py")}
    assert set(programs) == {"hello.py", "on_aws.py", "demo.py", *THEMES}
    assert {name for name, lines in programs.items() if len(lines) > A_PAGE} <= {"demo.py"}
