from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycloudlib.config import Settings
from pycloudlib.ec2.api import retries
from pycloudlib.ec2.api.session import open_session
from pycloudlib.ec2.cloud import EC2
from pycloudlib.key import KeyPair
from support.faulty_ec2 import FaultyEC2, faulty_ec2
from support.guest import Guest
from support.moto_server import REGION, moto_server
from support.scripted_ec2 import ScriptedEC2, scripted_ec2

ConnectTo = Callable[..., EC2]


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the developer's settings nor his credentials reach a test."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "PYCLOUDLIB_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that fail are made again soon; how long the pauses are is for the tests of retries.pause()."""
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def script() -> Iterator[ScriptedEC2]:
    with scripted_ec2() as script:
        yield script


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    with Guest(tmp_path / "guest") as guest:
        yield guest


@pytest.fixture(scope="session")
def key_pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return KeyPair.generate(tmp_path_factory.mktemp("key"))


def settings_for(url: str) -> Settings:
    return Settings(region=REGION, access_key_id="AKIAtest", secret_access_key="secret", endpoint_url=url)


@pytest.fixture
def connect(key_pair: KeyPair) -> Iterator[ConnectTo]:
    """Makes EC2 objects, and cleans up after each."""
    made: list[EC2] = []

    def connect_to(
        url: str, *, ssh_port: int = 22, key: KeyPair = key_pair, tag: str = "test", settings: str = ""
    ) -> EC2:
        from io import StringIO

        ec2 = EC2(
            tag,
            config_file=StringIO(f"[ec2]\nssh_port = {ssh_port}\n{settings}"),
            region=REGION,
            access_key_id="AKIAtest",
            secret_access_key="secret",
            endpoint_url=url,
        )
        ec2.key_pair = key
        made.append(ec2)
        return ec2

    yield connect_to
    for ec2 in made:
        ec2.clean()


@pytest.fixture
def ec2(connect: ConnectTo, moto_url: str) -> EC2:
    """EC2 on moto: instances run at once, and nobody answers in them."""
    return connect(moto_url)


@pytest.fixture
def ec2_with_guest(connect: ConnectTo, moto_url: str, guest: Guest) -> EC2:
    """EC2 on moto, with the same guest in every instance."""
    return connect(moto_url, ssh_port=guest.sshd.port, key=guest.key_pair)


@pytest.fixture
def moto_client(moto_url: str):
    return open_session(settings_for(moto_url)).client


@pytest.fixture
def scripted_client(script: ScriptedEC2):
    return open_session(settings_for(script.url)).client


@pytest.fixture(scope="module")
def gate(moto_url: str) -> Iterator[FaultyEC2]:
    """moto, behind a connection on which calls can be held."""
    with faulty_ec2(moto_url) as faulty:
        yield faulty


@pytest.fixture
def gated_ec2(gate: FaultyEC2, connect: ConnectTo) -> Iterator[EC2]:
    yield connect(gate.url)
    gate.behave()
