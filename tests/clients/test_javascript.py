"""The AWS SDK for JavaScript: its waiters, pages, and errors, and how it encodes user data."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = Path(sys.prefix, "node_modules")
"""Where the tox environment installs it."""
SCRIPT = Path(__file__).parent / "javascript_sdk.cjs"

TIMEOUT = 1200
"""Seconds; loading the package alone takes many on a busy computer."""


@pytest.mark.timeout(2 * TIMEOUT)
def test_life_of_an_instance(environment: dict[str, str]) -> None:
    node = shutil.which("node", path=environment["PATH"])
    if node is None or not Path(PACKAGES, "@aws-sdk", "client-ec2").is_dir():
        pytest.skip("needs node and @aws-sdk/client-ec2")
    done = subprocess.run(
        [node, str(SCRIPT)],
        env={**environment, "NODE_PATH": str(PACKAGES)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    running, unknown = seen.pop("refusalWhileRunning"), seen.pop("unknown")
    assert seen == {
        "pagesHaveEveryImage": True,
        "found": True,
        "launchTimeIsDate": True,
        "tags": {"Name": "javascript", "purpose": ""},
        "launchedUserData": "#!/bin/sh\n",
        "modifiedUserData": "#!/bin/sh\necho hello\n",
    }
    assert (running["code"], running["status"]) == ("IncorrectInstanceState", 400)
    assert (unknown["code"], unknown["status"]) == ("InvalidInstanceID.NotFound", 400)
    assert unknown["requestId"]
