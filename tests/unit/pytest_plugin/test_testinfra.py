"""The Testinfra hosts of instances, over OpenSSH."""

from __future__ import annotations

import importlib.util

# Suites in this process would import cryptography anew, whose compiled part keeps the classes of the first import.
import paramiko  # noqa: F401
import pytest

from pycloudlib.pytest_plugin import hooks
from support.suite_ec2 import Cloud

pytest.importorskip("testinfra")

SUITE = """
    def test_host_runs_commands_on_the_instance(instance, instance_host):
        command = instance_host.run("echo $SSH_CONNECTION")
        assert (command.rc, command.stdout.split()[2]) == (0, instance.ip)

    def test_host_reads_files(instance_host):
        assert instance_host.file("/etc/passwd").contains("root")

    class TestClass:
        def test_one(self, class_instance_host, module_instance_host, session_instance_host):
            hosts = class_instance_host, module_instance_host, session_instance_host
            assert len({host.check_output("echo $SSH_CONNECTION").split()[2] for host in hosts}) == 3
"""


def test_hosts_connect_to_their_instances(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile(SUITE)
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=3)


def test_own_fixture_host_replaces_that_of_testinfra(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def host(instance_host):
            return instance_host
        """
    )
    pytester.makepyfile(
        """
        def test_host_is_the_instance(host, instance):
            assert host.check_output("echo $SSH_CONNECTION").split()[2] == instance.ip
        """
    )
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=1)


def test_without_testinfra_the_fixtures_do_not_exist(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_other(name: str) -> object:
        return None if name == "testinfra" else importlib.util.find_spec(name)

    monkeypatch.setattr(hooks, "find_spec", find_other)
    pytester.makepyfile("def test_it(instance_host): pass")
    result = pytester.runpytest_inprocess("-q")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'instance_host' not found"])
