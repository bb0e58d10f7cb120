"""Runs with workers (pytest-xdist): one of them dies, and nothing is left."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from pycloudlib.pytest_plugin.options import read_options
from pycloudlib.pytest_plugin.run import INPUT, Run
from pycloudlib.pytest_plugin.workers import Controller
from pycloudlib.tags import Ownership, tag_specifications
from support.suite_ec2 import Cloud


def test_a_worker_that_is_killed_leaves_nothing(pytester: pytest.Pytester, ec2: Cloud) -> None:
    """The two tests meet, so that each is at a worker of its own; then one worker is killed with what it has."""
    pytester.makepyfile(
        """
        import os
        import signal
        from pathlib import Path

        import pytest

        from pycloudlib.deadline import Deadline
        from pycloudlib.waiting import wait_until

        MEETING = Path(__file__).parent / "meeting"

        @pytest.mark.parametrize("number", range(2))
        def test_it(cloud, cloud_image, instance, number):
            cloud.create_volume(8)
            cloud.launch(cloud_image, wait=False)
            MEETING.mkdir(exist_ok=True)
            (MEETING / str(number)).write_text(instance.tags["pycloudlib:run"])
            wait_until(lambda: len(list(MEETING.iterdir())) == 2, what="the others", deadline=Deadline.after(400))
            if number == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    pytester.makeconftest("def pytest_cloud_prepare_image(instance): pass")
    result = pytester.runpytest_subprocess("-q", "-n", "2", "--dist", "load", "--testrunuid", "killed-run")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*crashed while running*"])
    runs = [path.read_text() for path in (pytester.path / "meeting").iterdir()]
    assert all(run.startswith("killed-run-gw") for run in runs)
    assert len({run.split("-")[2] for run in runs}) == 2
    assert ec2.leftovers == []


def test_workers_that_do_not_use_the_cloud_are_not_swept(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess("-q", "-n", "2", "--cloud-config", "none.toml")
    result.assert_outcomes(passed=1)
    assert result.ret == 0


def test_unswept_resources_are_reported_and_fail_the_run(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makeconftest(
        """
        def pytest_sessionfinish(session):
            # In the controller, after the workers and before the sweep.
            if not hasattr(session.config, "workerinput"):
                import os
                os.environ["PYCLOUDLIB_BOOT_TIMEOUT"] = "soon"
        """
    )
    pytester.makepyfile("def test_it(cloud): assert cloud.regions()")
    result = pytester.runpytest_subprocess("-q", "-n", "1", "--testrunuid", "unswept")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "the run could not be swept: *BOOT_TIMEOUT: found 'soon'*; "
            f"try again: pycloudlib sweep --owner any --run unswept- --yes --config-file {ec2.settings}"
        ]
    )


def remote_node(run_id: str) -> Any:
    """What xdist shows its hooks of a worker that it reaches over ssh, as far as it is looked at."""
    gateway = SimpleNamespace(id="gw0", spec=SimpleNamespace(popen=False))
    return SimpleNamespace(workerinput={"testrunuid": run_id}, gateway=gateway)


def test_worker_on_another_host_reports_an_unreachable_local_ec2(pytester: pytest.Pytester) -> None:
    run = Run(read_options(pytester.parseconfig("--cloud-local")))
    node = remote_node("far")
    Controller(run).pytest_configure_node(node)
    run.close()
    assert "the worker gw0 runs on another host" in node.workerinput[INPUT]["local"]["error"]
    assert json.loads(json.dumps(node.workerinput)) == node.workerinput


def test_a_worker_on_another_computer_that_died_without_a_word_is_swept_after(
    pytester: pytest.Pytester, ec2: Cloud
) -> None:
    run = Run(read_options(pytester.parseconfig()))
    controller = Controller(run)
    node = remote_node("far-away")
    controller.pytest_configure_node(node)
    tags: Any = tag_specifications(["volume"], Ownership("far-away-gw0-1-2", "somebody@elsewhere").tags("far"))
    ec2.client.create_volume(Size=1, AvailabilityZone="us-east-1a", TagSpecifications=tags)
    controller.pytest_testnodedown(node, "Not properly terminated")
    controller.pytest_sessionfinish(SimpleNamespace(exitstatus=0))
    run.close()
    assert (ec2.leftovers, run.unswept) == ([], [])
