from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.config import Settings
from pycloudlib.ec2.faults import translated
from pycloudlib.ec2.session import open_session
from pycloudlib.errors import CloudSetupError, CredentialsError, ThrottledError
from support.scripted_ec2 import ScriptedEC2

KEYS = {"access_key_id": "AKIAtest", "secret_access_key": "hidden"}


def test_settings_decide_region_and_endpoint() -> None:
    session = open_session(Settings(region="eu-central-1", endpoint_url="http://127.0.0.1:9", **KEYS))
    assert session.region == "eu-central-1"
    assert session.client.meta.endpoint_url == session.resource.meta.client.meta.endpoint_url == "http://127.0.0.1:9"


def test_without_any_region_it_says_where_to_set_one() -> None:
    with pytest.raises(CloudSetupError, match="AWS_REGION"):
        open_session(Settings(**KEYS))


def test_without_any_credentials_it_says_where_to_set_them() -> None:
    with pytest.raises(CredentialsError, match="access_key_id"):
        open_session(Settings(region="eu-central-1"))


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(CredentialsError, match="nobody"):
        open_session(Settings(region="eu-central-1", profile="nobody"))


def test_a_profile_gives_region_and_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "aws-config"
    config.write_text("[profile ci]\nregion = eu-north-1\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert open_session(Settings(profile="ci")).region == "eu-north-1"


def test_a_region_that_is_none_is_refused() -> None:
    with pytest.raises(CloudSetupError, match="no such"):
        open_session(Settings(region="not a region", **KEYS))


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(CloudSetupError, match="endpoint_url 'nowhere'"):
        open_session(Settings(region="eu-central-1", endpoint_url="nowhere", **KEYS))


def test_the_secret_is_in_no_repr() -> None:
    assert "hidden" not in repr(open_session(Settings(region="eu-central-1", **KEYS)))


def test_every_call_names_the_library_as_its_user_agent(scripted_client, script: ScriptedEC2) -> None:
    agents: list[str] = []
    scripted_client.meta.events.register(
        "before-send.ec2.*", lambda request, **_: agents.append(request.headers["User-Agent"])
    )
    script.answer("DescribeKeyPairs", "<keySet/>")
    scripted_client.describe_key_pairs()
    assert b"pycloudlib-ec2/" in agents[0]


def test_a_throttled_call_is_tried_again_a_few_times(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeKeyPairs", "RequestLimitExceeded", status=503)
    script.answer("DescribeKeyPairs", "<keySet/>")
    with translated():
        scripted_client.describe_key_pairs()
    assert script.count("DescribeKeyPairs") == 2


def test_a_call_that_stays_throttled_is_an_error(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeKeyPairs", "RequestLimitExceeded", status=503)
    with pytest.raises(ThrottledError), translated():
        scripted_client.describe_key_pairs()
