"""The options, wherever they are said."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from pycloudlib.pytest_plugin.options import OPTIONS, CloudOptions, When, read_options

VALUES = {
    "local": ("true", True),
    "local-network": ("user", "user"),
    "local-host-ports": ("3128, 8000", (3128, 8000)),
    "local-inside": ("true", True),
    "local-pull": ("true", True),
    "config": ("settings.toml", None),
    "region": ("eu-north-1", "eu-north-1"),
    "profile": ("ci", "ci"),
    "image": ("noble", "noble"),
    "instance-type": ("t3.large", "t3.large"),
    "tag": ("nightly", "nightly"),
    "ttl": ("90m", 5400),
    "keep": ("on-failure", When.ON_FAILURE),
    "logs": ("always", When.ALWAYS),
    "logs-dir": ("logs", None),
    "host-keys": ("console", "console"),
    "required": ("true", True),
}
"""What is said, and what is understood; paths depend on where they are said."""


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in OPTIONS:
        monkeypatch.delenv(option.variable, raising=False)


def understood(options: CloudOptions, name: str) -> object:
    return getattr(options, name.replace("-", "_"))


def test_ttl_needs_a_unit(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "found '5'; it has no unit: write 5m, 5h, or 5s"
    with pytest.raises(pytest.UsageError, match=f"^--cloud-ttl: {told}$"):
        read_options(pytester.parseconfig("--cloud-ttl", "5"))
    pytester.makeini("[pytest]\ncloud_ttl = 5")
    with pytest.raises(pytest.UsageError, match=f"tox.ini: {told}$"):
        read_options(pytester.parseconfig())
    # The variable is also that of the setting, which takes seconds.
    monkeypatch.setenv("PYCLOUDLIB_TTL", "5400")
    assert read_options(pytester.parseconfig()).ttl == 5400


def test_without_any_everything_has_a_default(pytester: pytest.Pytester) -> None:
    options = read_options(pytester.parseconfig())
    assert not options.local
    assert not options.local_inside
    assert options.local_network is None
    assert not options.required
    assert (options.config, options.region, options.profile, options.ttl, options.host_keys) == (None,) * 5
    assert (options.image, options.instance_type, options.tag) == ("trixie", "t3.micro", "pytest")
    assert (options.keep, options.logs) == (When.NEVER, When.ON_FAILURE)
    assert options.logs_dir == pytester.path / "cloud-logs"


@pytest.mark.parametrize("name", VALUES)
def test_each_option_has_three_sources(name: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    said, meant = VALUES[name]
    option = next(one for one in OPTIONS if one.name == name)
    expected = pytester.path / said if meant is None else meant
    pytester.makeini(f"[pytest]\n{option.ini} = {said}")
    assert understood(read_options(pytester.parseconfig()), name) == expected
    pytester.makeini("[pytest]\n")
    monkeypatch.setenv(option.variable, said)
    assert understood(read_options(pytester.parseconfig()), name) == expected
    monkeypatch.delenv(option.variable)
    arguments = [option.flag] if option.is_switch else [option.flag, said]
    assert understood(read_options(pytester.parseconfig(*arguments)), name) == expected


def test_every_option_is_tried() -> None:
    assert [option.name for option in OPTIONS] == list(VALUES)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\ncloud_tag = file\ncloud_local = true\ncloud_region = eu-west-1")
    monkeypatch.setenv("PYCLOUDLIB_TAG", "environment")
    monkeypatch.setenv("PYCLOUDLIB_LOCAL", "0")
    monkeypatch.setenv("PYCLOUDLIB_REGION", "")
    options = read_options(pytester.parseconfig("--cloud-tag=line"))
    assert (options.tag, options.local, options.region) == ("line", False, "eu-west-1")
    assert read_options(pytester.parseconfig()).tag == "environment"


def test_a_path_in_the_file_begins_where_the_file_is(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\ncloud_config = cloud.toml")
    below: Path = pytester.mkdir("below")
    monkeypatch.chdir(below)
    options = read_options(pytester.parseconfig("--cloud-logs-dir=logs"))
    assert (options.config, options.logs_dir) == (pytester.path / "cloud.toml", below / "logs")


def test_all_invalid_options_are_reported_together(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeini("[pytest]\ncloud_ttl = soon\ncloud_keep = perhaps")
    monkeypatch.setenv("PYCLOUDLIB_REQUIRED", "perhaps")
    result = pytester.runpytest_inprocess("--cloud-tag=No Tag", "--cloud-host-keys=any", "--cloud-region=a b")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*--cloud-region: found 'a b'; must be a region's name such as 'eu-central-1'",
            "--cloud-tag: found 'No Tag'; All letters must be lowercase; *",
            "cloud_ttl in */tox.ini: found 'soon'; must be seconds, or a string such as '90m'*",
            "cloud_keep in */tox.ini: found 'perhaps'; must be one of never, on-failure, always",
            "--cloud-host-keys: found 'any'; must be one of 'console', 'pinned', 'insecure'",
            "environment variable PYCLOUDLIB_REQUIRED: found 'perhaps'; must be true or false",
        ]
    )


@pytest.mark.parametrize("said", ["proxy", "3128,", "0", "65536", "80;81"])
def test_ports_are_numbers_between_commas(pytester: pytest.Pytester, said: str) -> None:
    with pytest.raises(pytest.UsageError, match="must be ports from 1 to 65535, separated by commas"):
        read_options(pytester.parseconfig(f"--cloud-local-host-ports={said}"))


def test_value_rejected_by_pytest_is_reported_like_the_others(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ncloud_local = maybe\ncloud_ttl = soon\ncloud_logs_dir = ~nobody-at-all/logs")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.outlines == []
    result.stderr.fnmatch_lines(
        [
            "ERROR: cloud_local in */tox.ini: invalid truth value 'maybe'; must be true or false",
            "cloud_ttl in */tox.ini: found 'soon'; must be seconds, or a string such as '90m'*",
            "cloud_logs_dir in */tox.ini: found '~nobody-at-all/logs'; there is no such home directory",
        ]
    )


@pytest.mark.parametrize(
    ("header", "said", "told"),
    [
        ("tool.pytest.ini_options", 'cloud_tag = ["a"]', "found ['a']; must be a string"),
        ("tool.pytest.ini_options", "cloud_local = 2", "invalid truth value '2'; must be true or false"),
        ("tool.pytest", 'cloud_local = "yes"', "*expects a bool, got str: 'yes'; must be true or false"),
        ("tool.pytest", "cloud_ttl = 90", "*expects a string, got int: 90; must be a string"),
    ],
)
def test_values_of_the_wrong_type_are_reported(pytester: pytest.Pytester, header: str, said: str, told: str) -> None:
    if header == "tool.pytest" and pytest.version_tuple < (9,):
        pytest.skip("read by pytest 9 and later")
    pytester.makepyprojecttoml(f"[{header}]\n{said}\n")
    with pytest.raises(pytest.UsageError) as caught:
        read_options(pytester.parseconfig())
    assert fnmatch(str(caught.value), f"{said.split(maxsplit=1)[0]} in */pyproject.toml: {told}".replace("[", "[[]"))


def test_a_bad_value_that_does_not_count_is_no_problem(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ncloud_local = maybe")
    assert read_options(pytester.parseconfig("--cloud-local")).local


@pytest.mark.parametrize(
    ("when", "failed", "expected"),
    [
        (When.NEVER, True, False),
        (When.ON_FAILURE, True, True),
        (When.ON_FAILURE, False, False),
        (When.ALWAYS, False, True),
    ],
)
def test_when_something_is_done(when: When, failed: bool, expected: bool) -> None:
    assert when.applies(failed=failed) is expected


def test_a_sweep_is_led_to_the_same_cloud(pytester: pytest.Pytester) -> None:
    options = read_options(pytester.parseconfig("--cloud-config=/a b.toml", "--cloud-profile=ci"))
    assert options.sweep_arguments == ["--config-file", "/a b.toml", "--profile", "ci"]
