"""Proxies that the environment names."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.config import Settings
from pycloudlib.ec2.api import retries
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.session import Session, open_session
from pycloudlib.errors import CloudError, CloudSetupError
from support.scripted_ec2 import ScriptedEC2

VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.001)


@pytest.fixture
def dead_proxy() -> Iterator[str]:
    """The URL of a port at which nobody listens, and nobody else will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def session_at(url: str | None, **more: str) -> Session:
    keys = {"access_key_id": "AKIAtest", "secret_access_key": "hidden", **more}
    return open_session(Settings(region="eu-central-1", endpoint_url=url, **keys))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "ec2.localhost"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_loopback_endpoints_never_use_a_proxy(
    host: str, variable: str, dead_proxy: str, script: ScriptedEC2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, dead_proxy)
    if host == "ec2.localhost":
        resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **more: resolve("127.0.0.1", *rest, **more))
    script.answer("DescribeVpcs", "<vpcSet/>")
    session = session_at(script.url.replace("127.0.0.1", host))
    assert session.client.describe_vpcs()["Vpcs"] == []
    assert session.resource.meta.client.describe_vpcs()["Vpcs"] == []
    assert session.client_of("ec2", "eu-west-1").describe_vpcs()["Vpcs"] == []


def test_a_loopback_endpoint_of_a_profile_never_uses_a_proxy(
    dead_proxy: str, script: ScriptedEC2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", dead_proxy)
    config = tmp_path / "aws-config"
    config.write_text(
        f"[profile local]\naws_access_key_id = a\naws_secret_access_key = b\nendpoint_url = {script.url}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    script.answer("DescribeVpcs", "<vpcSet/>")
    session = open_session(Settings(region="eu-central-1", profile="local"))
    assert session.client.describe_vpcs()["Vpcs"] == []
    assert session.endpoint_url == script.url


def test_other_endpoints_use_the_proxy(script: ScriptedEC2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", script.url)
    script.answer("DescribeVpcs", "<vpcSet/>")
    session_at("http://cloud.example/ec2").client.describe_vpcs()
    assert script.paths == ["http://cloud.example/ec2"]


@pytest.mark.parametrize(
    ("variable", "url"),
    [("HTTP_PROXY", "http://cloud.example/ec2"), ("https_proxy", "https://cloud.example/ec2"), ("HTTPS_PROXY", None)],
)
def test_a_proxy_that_is_not_there_is_named_with_its_variable(
    variable: str, url: str | None, dead_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, dead_proxy.replace("//", "//user:secret@"))
    with pytest.raises(CloudSetupError) as caught, translated():
        session_at(url).client.describe_vpcs()
    message = str(caught.value)
    shown = dead_proxy.replace("//", "//***:***@")
    assert message.startswith(f"cannot reach EC2 through the proxy {shown}, which {variable} names: ")
    assert message.endswith("Connection refused; check the proxy, or add the host of the endpoint to NO_PROXY")
    assert ("secret" in message, "\n" in message) == (False, False)


@pytest.mark.parametrize("status", [403, 502])
def test_proxy_error_page_is_reported_as_such(
    status: int, script: ScriptedEC2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", script.url)
    script.say("DescribeVpcs", status, "<html><body><p>Blocked by policy</body></html>")
    with pytest.raises(CloudError, match="check endpoint_url, or the proxy in HTTP_PROXY"), translated():
        session_at("http://cloud.example/ec2").client.describe_vpcs()
