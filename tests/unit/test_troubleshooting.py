"""The messages on the page about troubleshooting are those of the source code."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from support.documentation import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"

OF_OTHERS = re.compile(
    r"pytest$|unrecognized arguments|--cloud-local|fixture '|SKIPPED|Error loading SSO|The config profile"
    r"|could not be found|Connection refused|Permission denied"
)
"""Messages of pytest, botocore, and the operating system."""

CODE = re.compile(r"\(([A-Z]\w+)\)$")
"""An error code of EC2 at the end of a message."""

INSERTED = re.compile(r"by the local EC2|EC2 (?=at |refused)|EC2$|RunInstances(?=:)|/dev/kvm ")
"""Values that the source code inserts, where the page shows the common one."""

SEAM = re.compile(r"\.\.\.|: |; |(?<=waiting for) ")
"""Where the source code joins a message from several strings."""

SHORTEST = 6
"""The least characters of a fragment that identify a message."""


def messages() -> list[str]:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


@cache
def strings() -> str:
    """All strings of the source code, with NUL for each inserted value."""
    found: list[str] = []
    for path in (ROOT / "src" / "pycloudlib").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(
                        str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else "\0"
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def fragments(message: str) -> list[str]:
    """The parts of a message between the inserted values, without those of other programs."""
    parts = [part.strip(" :;,") for part in SEAM.split(INSERTED.sub("... ", CODE.sub("", message)))]
    return [part for part in parts if len(part) >= SHORTEST and not OF_OTHERS.search(part)]


def test_page_has_messages() -> None:
    assert len(messages()) > 60


@pytest.mark.parametrize("message", messages())
def test_message_is_in_the_source_code(message: str) -> None:
    assert [part for part in fragments(message) if part not in strings()] == []
