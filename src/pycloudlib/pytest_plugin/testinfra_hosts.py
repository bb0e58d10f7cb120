"""The fixtures for Testinfra, which are registered only if Testinfra is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

if TYPE_CHECKING:
    from pycloudlib.ec2.instance import EC2Instance

CONTROL_PERSIST = 10
"""Seconds after the last command for which ssh keeps its connection, which the commands of a test share."""


@pytest.fixture
def instance_host(instance: EC2Instance, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The Testinfra host of `instance`."""
    return testinfra_host(instance, tmp_path_factory)


@pytest.fixture(scope="class")
def class_instance_host(class_instance: EC2Instance, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The Testinfra host of `class_instance`."""
    return testinfra_host(class_instance, tmp_path_factory)


@pytest.fixture(scope="module")
def module_instance_host(module_instance: EC2Instance, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The Testinfra host of `module_instance`."""
    return testinfra_host(module_instance, tmp_path_factory)


@pytest.fixture(scope="session")
def session_instance_host(session_instance: EC2Instance, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The Testinfra host of `session_instance`."""
    return testinfra_host(session_instance, tmp_path_factory)


def testinfra_host(instance: EC2Instance, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the Testinfra host of an instance, which uses OpenSSH with the verified host key.

    Args:
        instance: the instance.
        tmp_path_factory: the fixture of pytest, for the files of ssh.

    Raises:
        HostKeyError: the host key does not match the expected one.
        SSHError: the connection failed or was lost.
    """
    import testinfra

    directory = tmp_path_factory.mktemp("ssh")
    config = directory / "config"
    config.write_text(instance.ssh_config(directory / "known_hosts"), encoding="utf-8")
    query = urlencode({"ssh_config": config, "controlpersist": CONTROL_PERSIST})
    return testinfra.get_host(f"ssh://{instance.id}?{query}")


# pytest would collect the function in a module that imports it.
testinfra_host.__test__ = False  # type: ignore[attr-defined]
