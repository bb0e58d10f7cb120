"""The example of a suite, run as a user runs it, on a local EC2 of its own.

That takes two boots in all: for the image to be prepared, and of an instance.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.command_line import PROGRAM

pytestmark = pytest.mark.vm

EXAMPLE = Path(__file__).parents[2] / "examples" / "pytest_suite"
LOGS = {
    "console.log": "Linux version",
    "cloud-init.log": "Cloud-init v.",
    "cloud-init-output.log": "finished at",
    "cloud-init-status.txt": "status: done",
    "journal.log": "systemd",
    "api-calls.log": "RunInstances",
}
"""What each log of a real machine holds."""
NOT_OF_A_WORKER = {"PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "PYTEST_CURRENT_TEST"}


def environment(tmp_path: Path) -> dict[str, str]:
    """That of a user who runs the suite, with all that is written below one directory."""
    directories = {"XDG_STATE_HOME": tmp_path / "state", "TMPDIR": tmp_path / "tmp"}
    for directory in directories.values():
        directory.mkdir()
    others = {name: value for name, value in os.environ.items() if name not in NOT_OF_A_WORKER}
    return others | {name: str(directory) for name, directory in directories.items()}


def run(*command: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=1800
    )


def servers(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "state" / "pycloudlib" / "local").iterdir())


@pytest.mark.timeout(3600)
def test_it_runs_with_two_workers_and_its_instance_lives_on_until_it_is_deleted_as_told(tmp_path: Path) -> None:
    suite = Path(shutil.copytree(EXAMPLE, tmp_path / "suite", ignore=shutil.ignore_patterns("__pycache__")))
    env = environment(tmp_path)
    options = ["--cloud-local", "--cloud-required", "--cloud-logs=always", "--cloud-keep=always"]
    workers = ["-n", "2", "--dist", "loadfile", "--junitxml=junit.xml", "-o", "junit_family=xunit1"]
    done = run("-m", "pytest", *options, *workers, cwd=suite, env=env)
    stop = re.findall(r"delete it: pycloudlib (local stop --name \S+)", done.stdout)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "4 passed" in done.stdout
        assert says(re.findall(r"i-\w+: (ssh .*)", done.stdout), tmp_path) == "hello"
    finally:
        for command in set(stop):
            assert run("-c", PROGRAM, *command.split(), cwd=suite, env=env).returncode == 0
    assert len(stop) == 1
    assert servers(tmp_path) == []
    check_logs(suite / "cloud-logs" / "test_hello.py-test_it_says_hello")
    assert "not collected" not in done.stdout
    names = [one.attrib["name"] for one in ElementTree.parse(suite / "junit.xml").iter("property")]
    assert "cloud_seconds_to_ready" in names


def says(commands: list[str], tmp_path: Path) -> str:
    """What the service of the kept instance says to whoever logs in as printed."""
    (command,) = commands
    options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path / 'hosts'}"]
    words = shlex.split(command)
    remote = "cat /var/lib/hello/index.html || sudo cat /var/lib/private/hello/index.html"
    done = subprocess.run([words[0], *options, *words[1:], remote], check=False, capture_output=True, text=True)
    return done.stdout.strip()


def check_logs(directory: Path) -> None:
    (of_instance,) = directory.iterdir()
    assert {name for name, words in LOGS.items() if words not in (of_instance / name).read_text()} == set()


BOOTING_NOTHING = """
import pytest

@pytest.mark.parametrize("one", [1, 2])
def test_it(cloud, one):
    print(cloud.client.meta.endpoint_url)
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_local_ec2_ends_with_its_run(workers: tuple[str, ...], tmp_path: Path) -> None:
    """One for all workers; nothing boots here."""
    (tmp_path / "test_cloud.py").write_text(BOOTING_NOTHING)
    env = environment(tmp_path)
    done = run("-m", "pytest", "-rP", "--cloud-local", *workers, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(set(re.findall(r"^http://127.0.0.1:\d+$", done.stdout, re.MULTILINE))) == 1
    assert servers(tmp_path) == list((tmp_path / "tmp").glob("pycloudlib-*")) == []


def test_without_an_image_the_local_ec2_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "test_cloud.py").write_text("def test_it(instance): pass")
    env = environment(tmp_path) | {"XDG_DATA_HOME": str(tmp_path / "data")}
    done = run("-m", "pytest", "--cloud-local", cwd=tmp_path, env=env)
    assert done.returncode == 1, done.stdout + done.stderr
    assert (
        "the local EC2 has no image of trixie: `pycloudlib local image build --release trixie` builds one"
        in done.stdout
    )
