"""Markers with wrong arguments: errors at collection, each naming its test."""

from __future__ import annotations

import inspect

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.pytest_plugin.markers import DECIDED_ELSEWHERE, LAUNCH_ARGUMENTS, problem_of_argument
from support.suite_ec2 import run

WRONG = """
    import pytest

    @pytest.mark.cloud_user_data
    def test_none(instance): pass

    @pytest.mark.cloud_user_data({"secret": "of mine"})
    def test_type(instance): pass

    @pytest.mark.cloud_image("noble", "jammy")
    def test_two(instance): pass

    @pytest.mark.cloud_launch(disk_size=20, image_id="ami-1", keep_on_failure=True)
    def test_launch(instance): pass

    @pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.cloud_launch("t3.small")), 2])
    def test_parameter(instance, number): pass

    @pytest.mark.cloud_launch(EbsOptimized=True, disk_size_gb=20)
    def test_right(instance): pass
"""

IN_A_CLASS = """
    import pytest

    @pytest.mark.cloud_instance_type(3)
    class TestClass:
        def test_in_class(self, instance): pass
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "workers"])
def test_invalid_marker_is_reported_with_its_test(workers: tuple[str, ...], pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=WRONG, test_other=IN_A_CLASS)
    result = run(pytester, *workers)
    result.assert_outcomes(errors=2)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if workers else pytest.ExitCode.INTERRUPTED)
    allowed = "a string, bytes, or an email.message.Message"
    result.stdout.fnmatch_lines_random(
        [
            f"test_it.py::test_none: marker cloud_user_data: takes one argument, {allowed}, and has none",
            f"test_it.py::test_type: marker cloud_user_data: takes {allowed}, not dict",
            "test_it.py::test_two: marker cloud_image: takes one argument, an AMI id, a release, or a name, and has 2",
            "test_other.py::TestClass::test_in_class: marker cloud_instance_type: takes an instance type *, not 3",
            "test_it.py::test_launch: marker cloud_launch: EC2.launch() has no argument 'disk_size'; "
            "did you mean disk_size_gb?",
            "test_it.py::test_launch: marker cloud_launch: image_id cannot be given here: use the marker cloud_image",
            "test_it.py::test_launch: marker cloud_launch: keep_on_failure cannot be given here: "
            "use the option --cloud-keep",
            "test_it.py::test_parameter[[]1[]]: marker cloud_launch: takes arguments of EC2.launch() by name, "
            "not 1 without",
        ]
    )
    assert "test_right" not in result.stdout.str()
    assert "of mine" not in result.stdout.str()


def test_the_markers_are_known_to_pytest(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--markers")
    result.stdout.fnmatch_lines(
        [f"@pytest.mark.cloud_{name}(*" for name in ("user_data", "image", "instance_type", "launch")]
    )


def test_the_arguments_are_those_of_launch() -> None:
    parameters = inspect.signature(EC2.launch).parameters
    known = {name for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD} - {"self"}
    assert known == LAUNCH_ARGUMENTS | set(DECIDED_ELSEWHERE)


@pytest.mark.parametrize("name", ["user_data", "SubnetId"])
def test_what_launch_takes_is_no_problem(name: str) -> None:
    assert problem_of_argument(name) == ""


@pytest.mark.parametrize("name", ["", "subnetid", 3])
def test_what_launch_does_not_take_is_one(name: object) -> None:
    assert problem_of_argument(name)
