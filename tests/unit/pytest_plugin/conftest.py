"""Suites of users at a local EC2 whose guests are one sshd.

Most run in the tests' process. Suites with workers or signals run in processes of their own, as do those that show what
is imported.

A suite in the tests' process forgets the modules that it imports, so that the next one imports them again. cryptography
does not survive that: its compiled part keeps the classes of the first import. So it is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator

import cryptography.hazmat.primitives.serialization  # noqa: F401  (below)
import pytest

from support.suite_ec2 import Cloud, suite_ec2

WORKER_VARIABLES = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "PYTEST_ADDOPTS")


@pytest.fixture(scope="session")
def shared_ec2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with suite_ec2(tmp_path_factory.mktemp("ec2")) as cloud:
            yield cloud


@pytest.fixture
def ec2(shared_ec2: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """An empty EC2, which a suite finds by itself, and has to leave empty."""
    assert shared_ec2.leftovers == []
    monkeypatch.setenv("PYCLOUDLIB_CONFIG", str(shared_ec2.settings))
    yield shared_ec2
    assert shared_ec2.leftovers == []


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A suite is no worker's, whatever runs these tests; and one that is given up leaves its directory here."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
    for name in WORKER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
