"""The image under test, prepared once and used by all."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.suite_ec2 import Cloud, run

CONFTEST = """
    from pathlib import Path

    def pytest_cloud_prepare_image(instance, config):
        assert instance.execute("echo hi").ok
        with (config.rootpath / "prepared").open("a") as file:
            print(instance.image_id, file=file)
"""
TEST = """
    import pytest

    @pytest.mark.parametrize("number", range(6))
    def test_it(cloud, instance, cloud_image, number):
        (image,) = cloud.images()
        assert image.id == cloud_image == instance.image_id
"""


def test_it_is_prepared_once_for_all_workers_and_deleted_in_the_end(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TEST)
    pytester.runpytest_subprocess("-q", "-n", "2").assert_outcomes(passed=6)
    assert len((pytester.path / "prepared").read_text().splitlines()) == 1


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_failed_preparation_is_attempted_once_and_reported_to_all(
    workers: tuple[str, ...], pytester: pytest.Pytester, ec2: Cloud
) -> None:
    pytester.makeconftest(f"{CONFTEST}\n        raise RuntimeError('the mirror is down')\n")
    pytester.makepyfile(TEST)
    result = run(pytester, *workers)
    result.assert_outcomes(errors=6)
    result.stdout.fnmatch_lines(["*the mirror is down*"])
    assert len((pytester.path / "prepared").read_text().splitlines()) == 1


def test_each_image_of_a_parametrized_suite_is_prepared(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("cloud_image", ["bookworm", "trixie"], indirect=True)
        def test_it(instance, cloud_image):
            assert instance.image_id == cloud_image
        """
    )
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=2)
    assert len(set(Path(pytester.path / "prepared").read_text().splitlines())) == 2
