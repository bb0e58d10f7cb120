"""What a failed test leaves to look into."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from pycloudlib.pytest_plugin.logs import MAX_NAME, directory_of
from support.suite_ec2 import GUESTS_WORDS, Cloud

FAILING = """
    import pytest

    @pytest.mark.cloud_user_data("#!/bin/sh\\necho secret-of-mine\\n")
    def test_it(cloud, instance):
        with pytest.raises(Exception):
            cloud.client.attach_volume(InstanceId=instance.id, VolumeId="vol-12345678", Device="/dev/sdf")
        assert "this is why" == ""
"""


SUMMARY_OF_ERROR = " - *CloudInit*" if pytest.version_tuple >= (8,) else "*"
"""pytest 7 leaves out a message that does not fit on the line."""


def logs_of(pytester: pytest.Pytester) -> dict[str, str]:
    return {path.name: path.read_text() for path in (pytester.path / "cloud-logs").rglob("*") if path.is_file()}


def test_a_failure_leaves_the_logs_of_the_instance_and_names_their_place(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile(test_failing=FAILING)
    result = pytester.runpytest_inprocess("-q")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*this is why*", "*- cloud logs -*"])
    (directory,) = (pytester.path / "cloud-logs" / "test_failing.py-test_it").iterdir()
    result.stdout.fnmatch_lines([f"{directory.name}: {directory}"])
    logs = logs_of(pytester)
    assert {name: logs[name].strip() for name in GUESTS_WORDS} == GUESTS_WORDS
    calls = logs["api-calls.log"].splitlines()
    assert [call.split()[1] for call in calls][:2] == ["RunInstances", "DescribeInstances"]
    assert all(directory.name in call for call in calls)
    assert "-> 200" in calls[0]
    (refused,) = [call for call in calls if "AttachVolume" in call]
    assert '"Device": "/dev/sdf"' in refused
    assert "-> InvalidVolume.NotFound: " in refused
    assert "secret-of-mine" not in "".join(logs.values())
    assert "c2VjcmV0LW9mLW1pbm" not in "".join(logs.values())


def test_logs_are_collected_on_request(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile(
        """
        def test_good(instance): pass
        def test_bad(instance): assert False
        def test_without(): assert False
        """
    )
    for when, expected in (("never", []), ("always", ["bad", "good"])):
        pytester.runpytest_inprocess("-q", "--cloud-logs", when, "--cloud-logs-dir", f"logs-{when}")
        found = sorted(path.name.rpartition("_")[2] for path in (pytester.path / f"logs-{when}").glob("*"))
        assert found == expected


def test_an_instance_that_never_boots_leaves_its_console_and_its_error(pytester: pytest.Pytester, ec2: Cloud) -> None:
    ec2.guest.program("cloud-init", 'echo "status: error"; echo "detail: the disk is full"; exit 1')
    try:
        pytester.makepyfile(test_a="def test_it(instance): pass")
        result = pytester.runpytest_inprocess("-q")
    finally:
        ec2.guest.program("cloud-init", 'echo "status: done"')
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["i-*: cloud-init failed*", "*- cloud logs -*", f"ERROR test_a.py::test_it{SUMMARY_OF_ERROR}"]
    )
    assert "boot.py" not in result.stdout.str(), "where in the library it was raised tells nothing"
    assert logs_of(pytester)["cloud-init.log"].strip() == GUESTS_WORDS["cloud-init.log"]


def test_collecting_that_fails_hides_nothing(pytester: pytest.Pytester, ec2: Cloud) -> None:
    (pytester.path / "file").write_text("in the way")
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_inprocess("-q", "--cloud-logs-dir", "file/logs")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*this is why*", "*not collected: *Not a directory*"])


def test_a_guest_out_of_reach_is_noted(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile(
        """
        def test_it(instance):
            instance.port = 1
            instance.execute("true")
        """
    )
    result = pytester.runpytest_inprocess("-q")
    result.assert_outcomes(failed=1)
    logs = logs_of(pytester)
    assert logs["not-collected.txt"].startswith("cloud-init-status.txt: ")
    assert len(logs["not-collected.txt"].splitlines()) == 1
    assert "RunInstances" in logs["api-calls.log"]
    result.stdout.fnmatch_lines(["*not collected: cloud-init-status.txt: *"])


def test_the_instances_of_a_test_are_those_that_it_uses(pytester: pytest.Pytester, ec2: Cloud) -> None:
    """However they were launched, and no others."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def ours(cloud, cloud_image):
            return cloud.launch(cloud_image)

        def test_with(ours, session_instance): pass
        def test_own(ours): assert False
        def test_direct(cloud, cloud_image):
            cloud.launch(cloud_image)
            assert False
        def test_other(session_instance): assert False
        """
    )
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=1, failed=3)
    collected = [path.name for path in (pytester.path / "cloud-logs").glob("*/i-*")]
    assert len(collected) == len(set(collected)) == 3


def test_junit_names_the_instance(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile("def test_it(instance): pass\ndef test_other(instance): assert False\ndef test_none(): pass")
    pytester.runpytest_inprocess("-q", "--junitxml=junit.xml", "-o", "junit_family=xunit1")
    cases = ElementTree.parse(pytester.path / "junit.xml").iter("testcase")
    good, bad, none = ([(one.attrib["name"], one.attrib["value"]) for one in case.iter("property")] for case in cases)
    assert none == []
    assert [name for name, _ in bad] == [*(name for name, _ in good), "cloud_logs"]
    assert len(good) == len(dict(good)) == 5
    properties = dict(bad)
    assert properties["cloud_instance_id"].startswith("i-")
    assert properties["cloud_instance_id"] != dict(good)["cloud_instance_id"]
    assert properties["cloud_image"].startswith("ami-")
    assert (properties["cloud_instance_type"], properties["cloud_region"]) == ("t3.micro", "us-east-1")
    assert float(properties["cloud_seconds_to_ready"]) > 0
    assert Path(properties["cloud_logs"]).is_dir()


def test_each_test_has_a_directory_of_its_own() -> None:
    assert directory_of("tests/test_a.py::TestB::test_c") == "tests-test_a.py-TestB-test_c"
    names = {directory_of(f"test_a.py::test_b[{letter * 200}/{end}]") for letter in "ab" for end in ("x y", "x:y")}
    assert len(names) == 4
    assert all(len(name) <= MAX_NAME + 9 and "/" not in name for name in names)
