"""The files for CI in examples/ci: their shell scripts, their commands, and the policy for AWS."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore import xform_name
from botocore.loaders import create_loader

from pycloudlib.local.prerequisites import DEBIAN_PACKAGES
from support.documentation import ROOT, Block, check_command, commands

DIRECTORY = ROOT / "examples" / "ci"

BY_DEFAULT = {"apt", "tar", "gpgv", "openssh-client", "uidmap", "arch-test", "qemu-system-arm"}
"""Packages that the images of CI systems have, or that are optional."""


def scripts(file: Path) -> list[str]:
    if file.suffix != ".yml":
        return re.findall(r"sh '''(.*?)'''", file.read_text(), re.DOTALL) + re.findall(
            r"sh '([^'\n]+)'", file.read_text()
        )
    return ["\n".join(_scripts(yaml.safe_load(file.read_text())))]


def _scripts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("run", "script", "before_script", "after_script"):
                yield from [value] if isinstance(value, str) else value
            else:
                yield from _scripts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _scripts(value)


FILES = sorted(path for path in DIRECTORY.iterdir() if path.suffix != ".json")
SCRIPTS = [pytest.param(script, id=file.name) for file in FILES for script in scripts(file)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_shell_parses_scripts(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS)
def test_commands_exist_with_their_options(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = commands(Block(DIRECTORY, 1, "sh", script.replace(".venv/bin/", "")))
    assert found
    for words in found:
        if words[0] == "pycloudlib":
            check_command(words, monkeypatch)


@pytest.mark.parametrize("name", ["github.yml", "gitlab-ci.yml"])
def test_all_packages_of_the_local_ec2_are_installed(name: str) -> None:
    text = (DIRECTORY / name).read_text()
    # As root, a build needs no fakeroot.
    optional = BY_DEFAULT | ({"fakeroot"} if name == "gitlab-ci.yml" else set())
    assert [package for package in set(DEBIAN_PACKAGES.values()) - optional if package not in text] == []


def test_policy_allows_every_call_of_the_library() -> None:
    policy = json.loads((DIRECTORY / "iam-policy.json").read_text())
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert {action for action in allowed if action.startswith("ec2:")} == {f"ec2:{name}" for name in called()}
    assert "ssm:GetParameters" in allowed


def called() -> set[str]:
    """The EC2 actions that the library's code names: as methods of a client, or as strings."""
    model = create_loader().load_service_model("ec2", "service-2")
    operations = {xform_name(name): name for name in model["operations"]}
    # Their names are built from a direction.
    found = {"AuthorizeSecurityGroupEgress", "AuthorizeSecurityGroupIngress"}
    for path in (ROOT / "src" / "pycloudlib").rglob("*.py"):
        if "local" in path.relative_to(ROOT / "src").parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "value", None)
            if isinstance(name, str) and name in operations:
                found.add(operations[name])
    return found


def test_trust_policy_names_a_repository() -> None:
    (statement,) = json.loads((DIRECTORY / "iam-trust-policy.json").read_text())["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert any("repo:" in value for value in statement["Condition"]["StringLike"].values())
