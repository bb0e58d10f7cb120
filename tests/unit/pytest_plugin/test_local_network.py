"""The network of a run's local EC2, and sessions inside a VPC of it: `--cloud-local-inside`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pycloudlib.local import daemon
from pycloudlib.local.prerequisites import find
from support.namespaces import require_namespaces
from support.ordinary_user import NOBODY, ordinary_environment, ordinary_home, with_tun

PROGRAMS = ("qemu-system-x86_64", "qemu-img", "socat", "setpriv")
NAMESPACE = Path("/proc/self/ns/net")
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q")
INSIDE = ("--cloud-local", "--cloud-local-inside")

SUITE = """
import http.client
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

@pytest.mark.parametrize("number", range(2))
def test_it(cloud, number):
    (HERE / f"namespace-{number}").write_text(os.readlink("/proc/self/ns/net"))
    assert "nameserver 172.31.0.2" in Path("/etc/resolv.conf").read_text()
    # The host is no instance.
    metadata = http.client.HTTPConnection("169.254.169.254", timeout=60)
    metadata.request("GET", "/latest/meta-data/")
    assert metadata.getresponse().status == 404
    assert cloud.regions()
    assert os.getuid() == int((HERE / "user").read_text())

def test_children_do_not_take_it_for_theirs():
    assert not [name for name in os.environ if name.startswith("_PYCLOUDLIB")]

def test_standard_input(request):
    request.config.pluginmanager.getplugin("capturemanager").suspend_global_capture(in_=True)
    assert sys.stdin.read() == "typed"

def test_fails(): assert False
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    require_namespaces()
    if None in map(find, PROGRAMS):
        pytest.skip("needs QEMU's programs")
    pytester.makepyfile(SUITE)
    (pytester.path / "user").write_text(str(os.getuid()))
    return pytester


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_session_runs_inside(suite: pytest.Pytester, workers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(suite.mkdir("state")))
    only = ["-k", "not standard_input"] if workers else []
    result = suite.run(*PYTEST, *INSIDE, *workers, *only, stdin=b"typed")
    result.assert_outcomes(passed=3 if workers else 4, failed=1)
    assert result.stderr.lines == []
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    namespaces = {path.read_text() for path in suite.path.glob("namespace-*")}
    assert len(namespaces) == 1
    assert namespaces != {str(NAMESPACE.readlink())}
    assert daemon.running_servers() == {}


@pytest.mark.skipif(None in map(find, PROGRAMS), reason="needs QEMU's programs")
def test_network_of_the_local_ec2_is_chosen(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.mkdir("state")))
    pytester.makepyfile(
        """
        from pycloudlib.local.daemon import running_servers

        def test_it(cloud):
            (info,) = running_servers().values()
            assert (info.network, info.network_reason) == ("user", "as requested")
        """
    )
    result = pytester.runpytest_subprocess("-q", "--cloud-local", "--cloud-local-network=user")
    result.assert_outcomes(passed=1)


def test_ordinary_user_runs_a_session_inside(suite: pytest.Pytester) -> None:
    with ordinary_home() as home:
        (home / "test_suite.py").write_text(SUITE)
        (home / "user").write_text(str(NOBODY))
        done = subprocess.run(
            with_tun([*PYTEST, *INSIDE, "-n", "1", "-k", "test_it"]),
            cwd=home,
            env={**ordinary_environment(home), "PYTEST_DEBUG_TEMPROOT": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "2 passed" in done.stdout, done.stdout
        assert done.stderr == ""
        assert (home / "namespace-1").read_text() != str(NAMESPACE.readlink())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--cloud-local-inside"], "--cloud-local-inside needs --cloud-local"),
        (["--cloud-local-network=user"], "--cloud-local-network needs --cloud-local"),
        (
            [*INSIDE, "--cloud-local-network=user"],
            "--cloud-local-inside needs network namespaces: omit --cloud-local-network user",
        ),
    ],
)
def test_what_cannot_be_is_refused(pytester: pytest.Pytester, arguments: list[str], complaint: str) -> None:
    result = pytester.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {complaint}"])


def test_session_of_another_program_is_not_started_anew(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*INSIDE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --cloud-local-inside re-executes pytest, so start pytest from the command line"]
    )


def test_configuration_file_may_request_namespaces_without_a_local_ec2(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ncloud_local_inside = true\ncloud_local_network = namespaces")
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=1)


def test_missing_program_is_reported(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(pytester.mkdir("empty")))
    result = pytester.runpytest_subprocess(*INSIDE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --cloud-local-inside: *"])
    assert Path(pytester.path, "state").exists() is False


def test_options_that_run_no_tests_start_nothing(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(pytester.mkdir("empty")))
    pytester.makepyfile("def test_it(cloud): pass")
    result = pytester.runpytest_subprocess(*INSIDE, "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test_it"])
    assert result.ret == 0
