from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.config import Settings
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.session import open_session
from pycloudlib.errors import CloudSetupError, CredentialsError, ThrottledError
from support.scripted_ec2 import ScriptedEC2

KEYS = {"access_key_id": "AKIAtest", "secret_access_key": "hidden"}


def test_settings_decide_region_and_endpoint() -> None:
    session = open_session(Settings(region="eu-central-1", endpoint_url="http://127.0.0.1:9", **KEYS))
    assert session.region == "eu-central-1"
    assert session.client.meta.endpoint_url == session.resource.meta.client.meta.endpoint_url == "http://127.0.0.1:9"


def test_missing_region_error_names_the_settings() -> None:
    with pytest.raises(CloudSetupError, match="AWS_REGION"):
        open_session(Settings(**KEYS))


def test_missing_credentials_error_names_the_settings() -> None:
    with pytest.raises(CredentialsError, match="access_key_id"):
        open_session(Settings(region="eu-central-1"))


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(CredentialsError, match="nobody"):
        open_session(Settings(region="eu-central-1", profile="nobody"))


def test_a_profile_gives_region_and_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "aws-config"
    config.write_text("[profile ci]\nregion = eu-north-1\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    session = open_session(Settings(profile="ci"))
    assert (session.region, session.credentials_origin) == ("eu-north-1", "config-file")


def test_a_region_that_is_none_is_refused() -> None:
    with pytest.raises(CloudSetupError, match="unknown AWS region"):
        open_session(Settings(region="not a region", **KEYS))


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(CloudSetupError, match="endpoint_url 'nowhere'"):
        open_session(Settings(region="eu-central-1", endpoint_url="nowhere", **KEYS))


def test_sessions_have_the_description_of_ec2_in_common() -> None:
    one, other = (open_session(Settings(region=region, **KEYS)) for region in ("eu-central-1", "eu-west-1"))
    assert one.client.meta.service_model.metadata is other.client.meta.service_model.metadata
    assert (one.client.meta.region_name, other.client.meta.region_name) == ("eu-central-1", "eu-west-1")


def test_descriptions_of_ones_own_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    open_session(Settings(region="eu-central-1", **KEYS))
    description = tmp_path / "mine" / "2020-01-01" / "service-2.json"
    description.parent.mkdir(parents=True)
    metadata = '{"apiVersion": "2020-01-01", "endpointPrefix": "mine", "protocol": "query", "serviceId": "mine"}'
    description.write_text(f'{{"version": "2.0", "metadata": {metadata}, "operations": {{}}, "shapes": {{}}}}')
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    session = open_session(Settings(region="eu-central-1", endpoint_url="http://127.0.0.1:9", **KEYS))
    assert session.client_of("mine", "eu-central-1").meta.service_model.service_id == "mine"


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
