from __future__ import annotations

import io
import ipaddress
import logging
import os
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from sys import getrecursionlimit

import hypothesis
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from pycloudlib import config
from pycloudlib.config import KEYS, Config, Settings, load_settings, parse_config
from pycloudlib.errors import CloudSetupError, ConfigError
from pycloudlib.setting_values import is_loopback

SECRET = "hunter2/hunter2"
TEMPLATE = Path(__file__).parents[2] / "pycloudlib.toml.template"


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("AWS_", "PYCLOUDLIB_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(config, "SYSTEM_FILE", tmp_path / "etc" / "pycloudlib.toml")


def stream(text: str) -> io.StringIO:
    return io.StringIO(text)


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def problems_of(toml_text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_settings(stream(toml_text))
    return caught.value.problems


# Where settings come from


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('[gce]\nproject = "x"\n[lxd]\n', "has no section [ec2], only [gce], [lxd]: it has no EC2 settings"),
        ('region = "eu-west-1"\nprofile = "x"\n', "has no section [ec2]: write [ec2] above region, profile"),
        ("", ""),
        ("[ec2]\n", ""),
    ],
)
def test_file_without_the_section_ec2_gives_a_hint(
    text: str, hint: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "mine.toml", text)
    assert load_settings(path) == Settings(source=str(path))
    assert [record.getMessage() for record in caplog.records] == ([f"{path} {hint}"] if hint else [])


def test_no_file_and_no_variable_give_the_defaults() -> None:
    assert load_settings() == Settings(ssh_port=22, host_keys="pinned", boot_timeout=600.0, source=None)


def test_an_argument_beats_the_environment_which_beats_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[ec2]\nregion = "from-file"\nusername = "from-file"\nssh_port = 1'
    monkeypatch.setenv("PYCLOUDLIB_REGION", "from-environment")
    monkeypatch.setenv("PYCLOUDLIB_USERNAME", "from-environment")
    settings = load_settings(stream(text), overrides={"region": "from-argument"})
    assert (settings.region, settings.username, settings.ssh_port) == ("from-argument", "from-environment", 1)


def test_each_setting_has_an_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCLOUDLIB_USERNAME", "me")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    settings = load_settings(stream('[ec2]\nssh_port = 1\nregion = "x"'), overrides={"ttl": "2h", "profile": None})
    assert settings.origins == {
        "region": "environment variable AWS_REGION",
        "ssh_port": "configuration stream: [ec2] ssh_port",
        "ttl": "argument ttl",
        "username": "environment variable PYCLOUDLIB_USERNAME",
    }


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("region", "eu-north-1", "eu-north-1"),
        ("profile", "dev", "dev"),
        ("endpoint_url", "http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("key_name", "a key", "a key"),
        ("username", "admin", "admin"),
        ("ssh_port", "2222", 2222),
        ("ssh_cidr", "10.0.0.0/8", ipaddress.ip_network("10.0.0.0/8")),
        ("host_keys", "console", "console"),
        ("ttl", "1h30m", 5400),
        ("boot_timeout", "90.5", 90.5),
        ("wait_on_launch", "False", False),
        ("wait_on_launch", "true", True),
        ("cloud_init_failure", "warn", "warn"),
    ],
)
def test_every_key_has_a_variable_of_its_own(
    key: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PYCLOUDLIB_{key.upper()}", text)
    assert getattr(load_settings(), key) == value


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("AWS_REGION", "region"),
        ("AWS_DEFAULT_REGION", "region"),
        ("AWS_PROFILE", "profile"),
        ("AWS_DEFAULT_PROFILE", "profile"),
    ],
)
def test_the_variables_of_the_aws_tools_are_read(variable: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "some-thing")
    assert getattr(load_settings(stream('[ec2]\nregion = "other"\nprofile = "other"')), key) == "some-thing"


def test_the_endpoint_of_ec2_beats_the_endpoint_of_all_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all:1")
    assert load_settings().endpoint_url == "http://all:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "http://ec2:2")
    assert load_settings().endpoint_url == "http://ec2:2"


def test_aws_ignore_configured_endpoint_urls_is_honored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all:1")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert load_settings().endpoint_url is None


def test_an_own_variable_beats_that_of_the_aws_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "theirs")
    monkeypatch.setenv("PYCLOUDLIB_REGION", "ours")
    assert load_settings().region == "ours"


def test_empty_values_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCLOUDLIB_SSH_PORT", "")
    monkeypatch.setenv("AWS_PROFILE", "")
    settings = load_settings(stream('[ec2]\nregion = "there"\nssh_port = 2022'), overrides={"region": "", "ttl": None})
    assert (settings.region, settings.profile, settings.ssh_port) == ("there", None, 2022)


# Which file


def test_the_users_file_comes_before_that_of_the_system() -> None:
    written(config.SYSTEM_FILE, '[ec2]\nregion = "system"')
    assert load_settings().region == "system"
    users = written(Path.home() / ".config/pycloudlib.toml", '[ec2]\nregion = "user"')
    assert load_settings().region == "user"
    assert load_settings().source == str(users)


def test_the_variable_comes_before_the_usual_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(Path.home() / ".config/pycloudlib.toml", '[ec2]\nregion = "user"')
    monkeypatch.setenv("PYCLOUDLIB_CONFIG", str(written(tmp_path / "ci.toml", '[ec2]\nregion = "named"')))
    assert load_settings().region == "named"


def test_the_argument_comes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCLOUDLIB_CONFIG", str(tmp_path / "missing.toml"))
    file = written(tmp_path / "mine.toml", '[ec2]\nregion = "mine"')
    assert load_settings(file).region == "mine"
    assert load_settings(str(file)).region == "mine"
    with file.open() as opened:
        settings = load_settings(opened)
    assert (settings.region, settings.source) == ("mine", str(file))


def test_a_tilde_in_the_path_of_the_file_is_expanded() -> None:
    written(Path.home() / "c.toml", '[ec2]\nregion = "tilde"')
    assert load_settings("~/c.toml").region == "tilde"


def test_a_named_file_that_does_not_exist_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigError, match=re.escape(f"{missing}: there is no such file")):
        load_settings(missing)
    monkeypatch.setenv("PYCLOUDLIB_CONFIG", str(missing))
    with pytest.raises(ConfigError, match=r"missing.toml \(named by PYCLOUDLIB_CONFIG\): there is no such file"):
        load_settings()


def test_without_a_home_directory_there_is_no_default_file(homeless: None) -> None:
    assert load_settings() == Settings(source=None)
    written(config.SYSTEM_FILE, '[ec2]\nregion = "system"')
    assert load_settings().region == "system"
    with pytest.raises(ConfigError, match=r"^~/mine\.toml: there is no such home directory$"):
        load_settings("~/mine.toml")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, as only root may")
def test_a_home_directory_of_another_user_holds_no_default_file(tmp_path: Path) -> None:
    # It imports first: the interpreter may be where that user cannot look.
    program = "import os; from pycloudlib.config import load_settings; os.setuid(54321); print(load_settings().region)"
    closed = tmp_path / "root"
    written(closed / ".config/pycloudlib.toml", '[ec2]\nregion = "not-ours"')
    closed.chmod(0o700)
    environment = {"PATH": os.environ["PATH"], "HOME": str(closed)}
    read = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (read.stdout, read.stderr) == ("None\n", "")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    # A link to itself cannot be read by root either.
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    with pytest.raises(ConfigError, match="cannot be read: Too many levels of symbolic links"):
        load_settings(loop)


def test_unknown_home_directory_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"^~nobody-at-all/c.toml: there is no such home directory$"):
        load_settings("~nobody-at-all/c.toml")


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "binary.toml"
    file.write_bytes(b'[ec2]\nsecret_access_key = "\xff\xfe"')
    with pytest.raises(ConfigError, match=r"binary\.toml: is not valid UTF-8"):
        load_settings(file)


def test_a_stream_of_bytes_and_a_closed_stream_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "c.toml", "")
    with file.open("rb") as opened, pytest.raises(ConfigError, match="open it as text"):
        load_settings(opened)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="already closed"):
        load_settings(opened)  # type: ignore[arg-type]


def test_a_stream_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    with file.open("w") as opened, pytest.raises(ConfigError, match=r"c\.toml: cannot be read: not readable"):
        load_settings(opened)
    file.write_bytes(b"\xff")
    with file.open(encoding="utf-8") as opened, pytest.raises(ConfigError, match=r"c\.toml: is not valid UTF-8"):
        load_settings(opened)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b'\xef\xbb\xbf[ec2]\nregion = "here"')
    assert load_settings(file).region == "here"


# Syntax


def test_malformed_toml_is_one_line_with_the_file_and_the_line_number(tmp_path: Path) -> None:
    file = written(tmp_path / "c.toml", '[ec2]\nregion = "here"\nssh_port = \n')
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    assert str(caught.value) == f"{file}, line 3: is not valid TOML: empty value is invalid"


@pytest.mark.parametrize(
    "text",
    [
        f'[ec2]\nsecret_access_key = "{SECRET}"\n[ec2]\n',
        f'[ec2]\nsecret_access_key = "{SECRET}" {SECRET}',
        f"[ec2]\nsecret_access_key = {SECRET}",
        f"[ec2]\nsecret_access_key = 1_{SECRET}",
        f'[ec2]\nsecret_access_key = "\\x{SECRET}"',
        f'[ec2]\nsecret_access_key "{SECRET}"',
        f"[ec2 {SECRET}]",
        f"[ec2]\n{SECRET}",
    ],
)
def test_a_syntax_error_quotes_nothing_that_may_be_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(stream(text))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


PIECES = ["[", "]", "[[", "ec2", "\n", "=", '"', "'", '"""', "{", "}", ".", "a", "1", "\\", "#", ":", "-", "+", " "]


@hypothesis.settings(deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES)).map("".join))
@example(".='\"''")
def test_no_text_at_all_makes_the_parser_fail_otherwise(text: str) -> None:
    outcome: object
    try:
        outcome = parse_config(stream(text))
    except ConfigError as error:
        outcome = str(error)
    assert isinstance(outcome, Config) or (isinstance(outcome, str) and len(outcome.splitlines()) == 1)


def test_nesting_without_end_is_a_syntax_error() -> None:
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_settings(stream(f"[ec2]\nx = {'[' * 2 * getrecursionlimit()}"))


def test_sections_of_other_clouds_are_left_alone() -> None:
    settings = load_settings(stream('[gce]\nanything = [1]\nssh_port = "x"\n[ec2]\nregion = "here"'))
    assert settings.region == "here"


def test_a_file_without_the_section_is_fine() -> None:
    assert load_settings(stream('[gce]\nproject = "p"')) == Settings(source="configuration stream")


def test_a_section_that_is_no_table_is_an_error() -> None:
    assert problems_of("ec2 = 5") == ("configuration stream: [ec2] must be a table, not 5 (an integer)",)
    assert problems_of("[[ec2]]\nregion = 'x'") == ("configuration stream: [ec2] must be a table, not an array",)


# Checks


def test_all_problems_are_reported_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(
        tmp_path / "c.toml",
        '[ec2]\nregoin = "x"\nssh_port = "ssh"\nhost_keys = "none"\n'
        'public_key_path = "/nowhere/id.pub"\nboot_timeout = 0',
    )
    monkeypatch.setenv("PYCLOUDLIB_TTL", "soon")
    with pytest.raises(ConfigError) as caught:
        load_settings(file, overrides={"region": 5})
    duration = "must be seconds, or a string such as '90m' or '1h30m': more than 0, at most ten years"
    assert set(caught.value.problems) == {
        f"{file}: [ec2] regoin: unknown key; did you mean region?",
        f"{file}: [ec2] ssh_port: found 'ssh' (a string); must be an integer from 1 to 65535",
        f"{file}: [ec2] host_keys: found 'none' (a string); must be one of 'console', 'pinned', 'insecure'",
        f"{file}: [ec2] public_key_path: found '/nowhere/id.pub' (a string); must be a file that exists",
        f"{file}: [ec2] boot_timeout: found 0 (an integer); {duration}",
        f"environment variable PYCLOUDLIB_TTL: found 'soon' (a string); {duration}",
        "argument region: found 5 (an integer); must be a string",
    }
    assert str(caught.value).startswith("7 problems in the settings:\n  ")
    assert isinstance(caught.value, CloudSetupError)


def test_an_unknown_key_that_resembles_none_is_answered_with_all() -> None:
    (problem,) = problems_of("[ec2]\nzzz = 1")
    assert problem.endswith(f"unknown key; known ones: {', '.join(KEYS)}")


def test_an_unknown_argument_is_a_problem() -> None:
    with pytest.raises(ConfigError, match="argument sshport: unknown key; did you mean ssh_port"):
        load_settings(overrides={"sshport": 1})


@pytest.mark.parametrize("port", ["1", "65535"])
def test_ports_within_range_are_taken(port: str) -> None:
    assert load_settings(stream(f"[ec2]\nssh_port = {port}")).ssh_port == int(port)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "22.0", "true", '"0x16"', "[22]"])
def test_other_ports_are_refused(port: str) -> None:
    (problem,) = problems_of(f"[ec2]\nssh_port = {port}")
    assert problem.endswith("must be an integer from 1 to 65535")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ('"90"', 90), ('"2h"', 7200), ('"90m"', 5400), ('"1d2h3m4s"', 93784), ('" 1H30M "', 5400), ("1.5", 2)],
)
def test_a_ttl_is_seconds_or_a_text_with_units(text: str, seconds: int) -> None:
    assert load_settings(stream(f"[ec2]\nttl = {text}")).ttl == seconds


@pytest.mark.parametrize(
    "text", ["0", "-5", '"0h"', '"2 weeks"', '"h"', "true", "inf", "nan", "1e300", '"30m1h"', "[]"]
)
def test_other_durations_are_refused(text: str) -> None:
    (problem,) = problems_of(f"[ec2]\nttl = {text}")
    assert problem.startswith("configuration stream: [ec2] ttl: found ")


@pytest.mark.parametrize("url", ["127.0.0.1:5000", "ftp://host", "http://", "http://host:99999", "http://[::1"])
def test_an_endpoint_that_is_no_url_is_refused(url: str) -> None:
    (problem,) = problems_of(f'[ec2]\nendpoint_url = "{url}"')
    assert problem.endswith("must be a URL such as 'http://127.0.0.1:4566'")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        *((f"http://{host}:4566/path", True) for host in ("localhost", "LOCALHOST", "localhost.", "a.localhost")),
        *((f"http://{host}:4566", True) for host in ("127.0.0.1", "127.255.0.3", "[::1]", "[::ffff:127.0.0.1]")),
        ("https://0.0.0.0", True),
        *((f"http://{host}", False) for host in ("10.0.0.1", "[2001:db8::1]", "localhost.example", "128.0.0.1")),
        *((url, False) for url in (None, "", "localhost", "http://[::1", "127.0.0.1:80")),
    ],
)
def test_loopback_urls_are_known(url: str | None, expected: bool) -> None:
    assert is_loopback(url) is expected


def test_networks_of_both_families_are_taken() -> None:
    assert str(load_settings(overrides={"ssh_cidr": "2001:db8::/32"}).ssh_cidr) == "2001:db8::/32"
    assert str(load_settings(overrides={"ssh_cidr": "192.0.2.7"}).ssh_cidr) == "192.0.2.7/32"


def test_an_address_within_a_network_is_answered_with_the_network() -> None:
    (problem,) = problems_of('[ec2]\nssh_cidr = "10.1.2.3/8"')
    assert problem.endswith("the network of this address is '10.0.0.0/8'")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("region", "eu central"),
        ("username", "two words"),
        ("username", "-oProxyCommand=x"),
        ("key_name", "schlüssel"),
        ("ssh_cidr", "anywhere"),
    ],
)
def test_texts_of_the_wrong_form_are_refused(key: str, value: str) -> None:
    (problem,) = problems_of(f'[ec2]\n{key} = "{value}"')
    assert problem.startswith(f"configuration stream: [ec2] {key}: found {value!r} (a string); ")


def test_a_long_value_is_shown_in_short() -> None:
    (problem,) = problems_of(f'[ec2]\nregion = "{"x y" * 1000}"')
    assert len(problem) < 250


def test_only_the_value_that_counts_is_checked() -> None:
    text = '[ec2]\nssh_port = "nonsense"\npublic_key_path = "/nowhere"'
    own_key = str(TEMPLATE)
    settings = load_settings(stream(text), overrides={"ssh_port": 22, "public_key_path": own_key})
    assert settings.public_key_path == TEMPLATE


def test_key_paths_are_expanded_and_must_be_files() -> None:
    key = written(Path.home() / ".ssh/id.pub", "x")
    settings = load_settings(stream('[ec2]\npublic_key_path = "~/.ssh/id.pub"'))
    assert settings.public_key_path == key
    (problem,) = problems_of('[ec2]\nprivate_key_path = "~/.ssh"')
    assert problem.endswith(f"there is no file {Path.home() / '.ssh'}")
    (problem,) = problems_of('[ec2]\nprivate_key_path = "~nobody-at-all/id"')
    assert problem.endswith("there is no such home directory")


@pytest.mark.parametrize("value", ["5", "['a']", f'"/{"long" * 100}"'])
def test_what_cannot_be_a_path_is_refused(value: str) -> None:
    (problem,) = problems_of(f"[ec2]\npublic_key_path = {value}")
    assert re.search(r"public_key_path: found .*; must be a (path|file that exists)$", problem)


def test_the_halves_of_a_key_pair_are_not_mixed_from_several_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (written(tmp_path / name, "x") for name in ("ours.pub", "theirs"))
    text = f'[ec2]\npublic_key_path = "{theirs}"\nprivate_key_path = "{theirs}"\nkey_name = "theirs"'
    assert load_settings(stream(text), overrides={"key_name": "ours"}).key_name == "ours"
    monkeypatch.setenv("PYCLOUDLIB_PUBLIC_KEY_PATH", str(ours))
    settings = load_settings(stream(text))
    assert (settings.public_key_path, settings.private_key_path, settings.key_name) == (ours, None, None)


# Credentials

PAIR = '[ec2]\nregion = "here"\naccess_key_id = "FILE"\nsecret_access_key = "file"\nsession_token = "file-token"'


def credentials(settings: Settings) -> tuple[str | None, ...]:
    return settings.profile, settings.access_key_id, settings.secret_access_key, settings.session_token


def test_credentials_of_one_place_are_not_mixed_with_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials(load_settings(stream(PAIR))) == (None, "FILE", "file", "file-token")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AWS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws")
    assert credentials(load_settings(stream(PAIR))) == (None, "AWS", "aws", None)
    monkeypatch.setenv("PYCLOUDLIB_ACCESS_KEY_ID", "OWN")
    monkeypatch.setenv("PYCLOUDLIB_SECRET_ACCESS_KEY", "own")
    assert credentials(load_settings(stream(PAIR))) == (None, "OWN", "own", None)
    given_here = {"access_key_id": "ARG", "secret_access_key": "arg", "session_token": "arg-token"}
    assert credentials(load_settings(stream(PAIR), overrides=given_here)) == (None, "ARG", "arg", "arg-token")


def test_credentials_as_arguments_do_not_discard_the_rest_of_the_file() -> None:
    settings = load_settings(stream(PAIR), overrides={"access_key_id": "ARG", "secret_access_key": "arg"})
    assert settings.region == "here"


def test_a_profile_beats_credentials_of_a_lower_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials(load_settings(stream(PAIR), overrides={"profile": "dev"})) == ("dev", None, None, None)
    monkeypatch.setenv("AWS_PROFILE", "sso")
    assert credentials(load_settings(stream(PAIR))) == ("sso", None, None, None)


def test_credentials_beat_a_profile_of_a_lower_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AWS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws")
    assert credentials(load_settings(stream('[ec2]\nprofile = "dev"'))) == (None, "AWS", "aws", None)


def test_half_a_pair_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    only = "all credentials must come from the same source"
    assert problems_of('[ec2]\naccess_key_id = "A"') == (
        f"configuration stream: [ec2] access_key_id: given without secret_access_key; {only}",
    )
    assert problems_of('[ec2]\nsecret_access_key = "s"') == (
        f"configuration stream: [ec2] secret_access_key: given without access_key_id; {only}",
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AWS")
    assert problems_of(PAIR) == (f"environment variable AWS_ACCESS_KEY_ID: given without secret_access_key; {only}",)


def test_a_token_left_over_in_the_environment_is_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "stale")
    assert credentials(load_settings(stream(PAIR))) == (None, "FILE", "file", "file-token")


def test_a_token_alone_in_the_file_is_a_problem() -> None:
    assert len(problems_of('[ec2]\nsession_token = "t"')) == 2


# Secrets


def test_a_secret_is_in_no_message_and_no_repr() -> None:
    text = f'[ec2]\naccess_key_id = "A"\nsecret_access_key = "{SECRET}"\nsession_token = "{SECRET}"'
    settings = load_settings(stream(text))
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(parse_config(stream(text)))
    assert "hunter2" not in str(settings.as_mapping())


@pytest.mark.parametrize("key", ["access_key_id", "secret_access_key", "session_token"])
@pytest.mark.parametrize("value", [f'["{SECRET}"]', f'" {SECRET}"'])
def test_a_refused_secret_is_not_shown(key: str, value: str) -> None:
    problems = problems_of(f"[ec2]\n{key} = {value}")
    assert [problem for problem in problems if f"[ec2] {key}: found a" in problem]
    assert not [problem for problem in problems if "hunter2" in problem]


def test_a_file_with_a_secret_that_others_can_read_gets_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path / "c.toml", PAIR, mode=0o640)
    load_settings(file)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"{file} holds a secret and is readable by other users: run `chmod 600 {file}`"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (PAIR, 0o600),
        ('[ec2]\nregion = "here"', 0o644),
        *((f'{PAIR}\nendpoint_url = "http://{host}:4566"', 0o644) for host in ("127.0.0.1", "localhost", "[::1]")),
    ],
)
def test_a_closed_file_one_without_a_secret_and_a_loopback_endpoints_get_no_warning(
    text: str, mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_settings(written(tmp_path / "c.toml", text, mode))
    assert not caplog.records


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('wait_on_launch = "no"', "wait_on_launch: found 'no' (a string); must be true or false"),
        ("wait_on_launch = 0", "wait_on_launch: found 0 (an integer); must be true or false"),
        ('cloud_init_failure = "log"', "cloud_init_failure: found 'log' (a string); must be 'raise' or 'warn'"),
    ],
)
def test_choice_of_another_value_is_refused(line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(stream(f"[ec2]\n{line}"))
    assert str(caught.value).endswith(problem)


# What is made of it


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        load_settings().region = "elsewhere"  # type: ignore[misc]


def test_the_mapping_has_what_is_set_as_plain_values(tmp_path: Path) -> None:
    key = written(tmp_path / "id.pub", "x")
    settings = load_settings(stream(PAIR), overrides={"public_key_path": key, "ssh_cidr": "10.0.0.0/8"})
    assert settings.as_mapping() == {
        "region": "here",
        "access_key_id": "FILE",
        "public_key_path": str(key),
        "ssh_port": 22,
        "ssh_cidr": "10.0.0.0/8",
        "host_keys": "pinned",
        "boot_timeout": 600.0,
        "wait_on_launch": True,
        "cloud_init_failure": "raise",
    }


def test_missing_key_error_names_the_setting() -> None:
    for values in (load_settings().as_mapping(), parse_config(stream("[gce]"))):
        with pytest.raises(KeyError, match="private_key_path must be set in pycloudlib"):
            values["private_key_path"]
        assert values.get("private_key_path") is None


def test_parse_config_gives_the_whole_file() -> None:
    parsed = parse_config(stream('[ec2]\nregion = "here"\nown = 1\n[gce]\nproject = "p"'))
    assert parsed["ec2"]["region"] == "here"
    assert parsed["gce"] == {"project": "p"}


def test_parse_config_without_any_file_gives_nothing() -> None:
    assert parse_config() == Config()


def test_the_template_names_every_key_and_sets_none() -> None:
    template = TEMPLATE.read_text()
    assert load_settings(stream(template)) == Settings(source="configuration stream")
    assert [line.split()[1] for line in template.splitlines() if line.startswith("# ") and " = " in line] == list(KEYS)


def test_the_examples_of_the_template_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(Path.home() / ".ssh/id_ed25519.pub", "x")
    written(Path.home() / ".ssh/id_ed25519", "x")
    examples = [line[2:] for line in TEMPLATE.read_text().splitlines() if line.startswith("# ") and " = " in line]
    settings = load_settings(stream("\n".join(["[ec2]", *examples])))
    assert settings.ttl == 7200
    assert set(settings.as_mapping()) == set(KEYS) - config.SECRET_KEYS
