"""A local EC2 for clients that were written for AWS; each of them is an environment of its own (`tox -e clients`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.local import LocalEC2

OWNER = "903794441882"
"""The account of Debian's daily images."""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEC2]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with LocalEC2(driver="simulated", boot_seconds=0.1, auth=True) as local:
            yield local


@pytest.fixture(scope="module")
def environment(local: LocalEC2, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of programs that find their endpoint and credentials there."""
    home = tmp_path_factory.mktemp("home")
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "AWS_ACCESS_KEY_ID": local.access_key_id,
        "AWS_SECRET_ACCESS_KEY": local.secret_access_key,
        "AWS_DEFAULT_REGION": local.region,
        "AWS_ENDPOINT_URL": local.endpoint_url,
        "AWS_PAGER": "",
    }
