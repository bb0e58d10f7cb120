"""What holds for every test."""

from __future__ import annotations

import gc
import os
import pwd
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from pycloudlib.local import LocalEC2

pytest_plugins = ["pytester"]

# The same examples in every run, wherever it is: what fails once fails again.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
# For those who look for more: --hypothesis-profile=search
hypothesis.settings.register_profile("search", max_examples=2000, database=None, deadline=None)
hypothesis.settings.load_profile("repeatable")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets what runs in the background ignore Ctrl-C. The programs that tests interrupt must not inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Containers often forbid caching bytecode: each of the hundreds of Pythons that tests start would compile everything.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


MACHINE_TIMEOUT = 1800
"""Seconds for a test that boots machines: on a busy computer without KVM a single boot may take many minutes."""

SHARED_MACHINES = frozenset({"instance", "fleet", "launched", "site", "workbench"})
"""Fixtures that boot machines for more than one test."""


@pytest.fixture(autouse=True)
def own_cloud_init_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests without a machine are this computer; how far its own cloud-init is, is no matter of theirs."""
    if not request.node.get_closest_marker("vm"):
        for name in ("STATUS_DIRECTORY", "CGROUP_DIRECTORY", "SHUTDOWN_SCHEDULE"):
            monkeypatch.setattr(f"pycloudlib.guest.cloud_init.{name}", "/nonexistent")


@pytest.fixture(scope="session")
def session_ec2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEC2]:
    """One simulated local EC2 with the default options for all modules of a worker; each resets it first."""
    from pycloudlib.local import LocalEC2

    local = LocalEC2(driver="simulated")
    with pytest.MonkeyPatch.context() as environment:
        # Only while it starts: other tests of this session have state directories too.
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        local.start(end_with_this_process=True)
    yield local
    local.stop()


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user: a number without a name, and no home directory."""

    def nameless(_uid: object) -> object:
        raise KeyError("getpwuid(): uid not found")

    for variable in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nameless)


@pytest.hookimpl(hookwrapper=True)
def pytest_collection() -> Iterator[None]:
    """Spare the collector the thousands of tests: searching them for garbage takes a third of a worker's CPU time."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


# First, because xdist reads the groups in this hook too.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests with machines their time, and bring those that share one to one worker."""
    for item in items:
        if not item.get_closest_marker("vm"):
            continue
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(MACHINE_TIMEOUT))
        for machine in SHARED_MACHINES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(f"{machine} of {item.path.parent.name}"))
