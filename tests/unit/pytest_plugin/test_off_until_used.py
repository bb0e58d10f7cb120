"""Installed is not used: nothing slow is imported, nothing is asked of the network, nothing is in the way."""

from __future__ import annotations

import pytest

from support.suite_ec2 import Cloud, run

SLOW = ("asyncio", "boto3", "botocore", "cryptography", "moto", "paramiko", "tenacity", "toml")


def test_collecting_imports_nothing_slow(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        f"""
        import sys

        def pytest_unconfigure():
            loaded = [name for name in {SLOW} if name in sys.modules]
            print("loaded:", loaded, "plugin:", "pycloudlib.pytest_plugin.fixtures" in sys.modules)
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.cloud_instance_type("t3.small")
        def test_it(instance, cloud_image): pass
        """
    )
    # The other plugins here import some of it.
    others = [word for name in ("hypothesispytest", "xdist", "pytest_cov") for word in ("-p", f"no:{name}")]
    result = pytester.runpytest_subprocess("--collect-only", "-q", "-s", *others)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_it", "*loaded: [[][]] plugin: True"])


def test_without_a_configuration_tests_are_skipped_with_the_reason(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_any(monkeypatch)
    pytester.makepyfile("def test_it(instance): pass\ndef test_other(): pass")
    result = pytester.runpytest_inprocess("-q", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*no cloud is configured: no AWS region: *; use --cloud-local, or *"])
    required = pytester.runpytest_inprocess("-q", "--cloud-required")
    required.assert_outcomes(passed=1, errors=1)
    required.stdout.fnmatch_lines(["--cloud-required: no cloud is configured: no AWS region: *"])


def test_without_an_ssh_key_tests_are_skipped_with_the_reason(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_any(monkeypatch)
    for name, value in {"REGION": "eu-central-1", "ACCESS_KEY_ID": "AKIAtest", "SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(f"PYCLOUDLIB_{name}", value)
    pytester.makepyfile("def test_it(instance): pass")
    result = pytester.runpytest_inprocess("-q", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*no cloud is configured: *SSH key*"])


def test_a_configuration_that_is_wrong_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(instance): pass")
    result = pytester.runpytest_inprocess("-q", "--cloud-config=none.toml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["/*/none.toml: there is no such file"])


def test_a_local_ec2_that_cannot_start_is_an_error_of_those_who_need_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(pytester.mkdir("empty")))
    pytester.makepyfile("def test_it(instance): pass\ndef test_other(): pass")
    for workers in ([], ["-n", "1"]):
        result = run(pytester, "--cloud-local", *workers)
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(["--cloud-local: *qemu*"])


def test_an_image_that_there_is_not_is_a_clear_error(pytester: pytest.Pytester, ec2: Cloud) -> None:
    pytester.makepyfile("def test_it(instance): pass")
    result = pytester.runpytest_inprocess("-q", "--cloud-image=bookwurm")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*bookwurm*"])


def without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of these tests says; there is no file in pytester's home."""
    for prefix in ("PYCLOUDLIB_", "AWS_"):
        for name in ("CONFIG", "REGION", "DEFAULT_REGION", "PROFILE", "DEFAULT_PROFILE", "ACCESS_KEY_ID"):
            monkeypatch.delenv(f"{prefix}{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
