"""Instances that are kept after their tests."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from support.cli_world import QuickCommandLine
from support.suite_ec2 import Cloud, run

SUITE = """
    def test_good(instance): pass
    def test_bad(instance, session_instance, launch_instance):
        launch_instance()
        assert False
    def test_direct(cloud, cloud_image): cloud.launch(cloud_image)
"""


def kept_by(ec2: Cloud) -> list[str]:
    return sorted(instance["InstanceId"] for instance in ec2.instances("pending", "running"))


def delete_as_told(output: str) -> None:
    """Run the commands that are printed, as their user would."""
    for command in re.findall(r"delete it: pycloudlib (.*)", output):
        assert QuickCommandLine(Path.cwd()).run(*shlex.split(command)).returncode == 0


@pytest.mark.parametrize(
    ("when", "workers", "count"),
    [("on-failure", ("-n", "2"), 3), ("always", (), 5)],
)
def test_they_are_printed_with_all_that_their_user_needs(
    when: str, workers: tuple[str, ...], count: int, pytester: pytest.Pytester, ec2: Cloud
) -> None:
    pytester.makepyfile(SUITE)
    result = run(pytester, "--cloud-keep", when, "--cloud-ttl", "2h", *workers)
    result.assert_outcomes(passed=2, failed=1)
    output = result.stdout.str()
    key = ec2.guest.key_pair.private_key_path
    port = ec2.guest.sshd.port
    told = re.findall(rf"^(i-\w+): ssh -i {re.escape(str(key))} -p {port} \w+@127[\d.]+$", output, re.MULTILINE)
    assert len(told) == count
    assert sorted(told) == kept_by(ec2)
    assert len(re.findall(r"expires: \d{4}-\d\d-\d\dT[\d:]+Z", output)) == count
    delete_as_told(output)
    assert kept_by(ec2) == []


def test_one_that_never_boots_is_kept_too(pytester: pytest.Pytester, ec2: Cloud) -> None:
    ec2.guest.program("cloud-init", 'echo "status: error"; exit 1')
    try:
        pytester.makepyfile("def test_it(instance): pass")
        result = pytester.runpytest_inprocess("-q", "--cloud-keep=on-failure")
    finally:
        ec2.guest.program("cloud-init", 'echo "status: done"')
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*: ssh -i *", "*expires: never"])
    assert len(kept_by(ec2)) == 1
    delete_as_told(result.stdout.str())


def test_what_is_kept_can_be_reached_as_printed(pytester: pytest.Pytester, ec2: Cloud, tmp_path: Path) -> None:
    pytester.makepyfile("def test_it(instance): pass")
    output = pytester.runpytest_inprocess("-q", "--cloud-keep=always").stdout.str()
    (command,) = re.findall(r"i-\w+: (ssh .*)", output)
    words = shlex.split(command)
    options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path / 'hosts'}"]
    done = subprocess.run(
        [words[0], *options, *words[1:], "echo in"], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "in\n"
    delete_as_told(output)
