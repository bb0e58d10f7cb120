"""Ansible's amazon.aws modules: a play is idempotent, and so is the play that deletes what it has created."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ansible_collections.amazon.aws")

HERE = Path(__file__).parent

# Each task is a Python process of its own: on a busy computer a play takes many minutes.
PLAY_TIMEOUT = 1800
pytestmark = pytest.mark.timeout(5 * PLAY_TIMEOUT)


def play(name: str, environment: dict[str, str], **variables: str) -> list[tuple[str, dict[str, Any]]]:
    """Run a play and return its tasks, each with its result."""
    settings = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(variables), str(HERE / name)],
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=PLAY_TIMEOUT,
        check=False,
    )
    assert done.stdout.strip().startswith("{"), done.stdout + done.stderr
    tasks = json.loads(done.stdout)["plays"][0]["tasks"]
    results = [(task["task"]["name"], task["hosts"]["localhost"]) for task in tasks]
    failed = {name: result for name, result in results if result.get("failed")}
    assert not failed, json.dumps(failed, indent=1)[:4000]
    assert done.returncode == 0, done.stderr
    return results


def changed(results: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [name for name, result in results if result.get("changed")]


def test_second_run_changes_nothing(environment: dict[str, str]) -> None:
    first = play("play.yml", environment)
    assert changed(first) == [
        "VPC",
        "subnet",
        "internet gateway",
        "route table",
        "security group",
        "instance",
        "volume",
        "interface",
        "interface that outlives its instance",
        "address",
        "captured image",
        "attributes of the image",
    ]
    assert changed(play("play.yml", environment)) == []

    created = dict(first)["ids"]["ansible_facts"]["created"]
    assert changed(play("tear_down.yml", environment, **created)) == [
        "captured image",
        "address",
        "volume",
        "interface",
        "instance",
        "interface that outlives its instance",
        "security group",
        "route table",
        "internet gateway",
        "subnet",
        "VPC",
    ]
    assert changed(play("tear_down.yml", environment, **created)) == []
