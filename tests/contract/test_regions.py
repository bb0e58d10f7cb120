"""Regions and credentials: several EC2 objects side by side."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import InvalidArgumentError

VARIABLES = [
    *(f"AWS_{name}" for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "DEFAULT_PROFILE")),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
    *("PYCLOUDLIB_CONFIG", "PYCLOUDLIB_ACCESS_KEY_ID", "PYCLOUDLIB_SECRET_ACCESS_KEY", "PYCLOUDLIB_REGION"),
]

WITHOUT_MACHINES = ["moto", "simulated"]

OTHER = "eu-west-1"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of one's own, and an environment that says nothing."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def signers(ec2: EC2) -> set[str]:
    """With whose credentials, and for which region, a call is signed."""
    seen: list[str] = []
    ec2.client.meta.events.register(
        "before-send.ec2.*", lambda request, **_: seen.append(str(request.headers["Authorization"]))
    )
    ec2.list_keys()
    return {f"{header.split('Credential=')[1].split('/')[0]} {header.split('/')[2]}" for header in seen}


def from_arguments(url: str, home: Path, environment: pytest.MonkeyPatch) -> EC2:
    return EC2(endpoint_url=url, region=OTHER, access_key_id="AKIAarguments", secret_access_key="b")


def from_our_environment(url: str, home: Path, environment: pytest.MonkeyPatch) -> EC2:
    environment.setenv("PYCLOUDLIB_ACCESS_KEY_ID", "AKIAour")
    environment.setenv("PYCLOUDLIB_SECRET_ACCESS_KEY", "b")
    environment.setenv("PYCLOUDLIB_REGION", OTHER)
    environment.setenv("PYCLOUDLIB_ENDPOINT_URL", url)
    return EC2()


def from_aws_environment(url: str, home: Path, environment: pytest.MonkeyPatch) -> EC2:
    environment.setenv("AWS_ACCESS_KEY_ID", "AKIAenvironment")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "b")
    environment.setenv("AWS_REGION", OTHER)
    environment.setenv("AWS_ENDPOINT_URL", url)
    return EC2()


def from_a_profile(url: str, home: Path, environment: pytest.MonkeyPatch) -> EC2:
    write(home / ".aws/config", f"[profile ci]\nregion = {OTHER}\nendpoint_url = {url}\n")
    write(home / ".aws/credentials", "[ci]\naws_access_key_id = AKIAprofile\naws_secret_access_key = b\n")
    return EC2(profile="ci", endpoint_url=url)


def from_a_settings_file(url: str, home: Path, environment: pytest.MonkeyPatch) -> EC2:
    path = home / "settings.toml"
    settings = {"region": OTHER, "endpoint_url": url, "access_key_id": "AKIAfile", "secret_access_key": "b"}
    write(path, "\n".join(["[ec2]", *(f'{key} = "{value}"' for key, value in settings.items())]))
    return EC2(config_file=path)


def from_boto3s_chain(url: str, home: Path, environment: pytest.MonkeyPatch) -> EC2:
    write(home / ".aws/config", f"[default]\nregion = {OTHER}\n")
    write(home / ".aws/credentials", "[default]\naws_access_key_id = AKIAchain\naws_secret_access_key = b\n")
    return EC2(endpoint_url=url)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
@pytest.mark.parametrize(
    ("connect", "access_key_id"),
    [
        (from_arguments, "AKIAarguments"),
        (from_our_environment, "AKIAour"),
        (from_aws_environment, "AKIAenvironment"),
        (from_a_profile, "AKIAprofile"),
        (from_a_settings_file, "AKIAfile"),
        (from_boto3s_chain, "AKIAchain"),
    ],
)
def test_each_source_of_credentials_will_do_alone(
    endpoint,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    connect: Callable[[str, Path, pytest.MonkeyPatch], EC2],
    access_key_id: str,
) -> None:
    assert signers(connect(endpoint.url, home, monkeypatch)) == {f"{access_key_id} {OTHER}"}


def test_regions_are_listed_by_name(ec2: EC2) -> None:
    found = ec2.regions()
    assert ec2.region in found
    assert found == sorted(set(found))


@pytest.mark.parametrize("endpoint", WITHOUT_MACHINES, indirect=True)
def test_two_regions_are_worked_in_at_once(ec2: EC2, image_id: str) -> None:
    there = ec2.in_region(OTHER)
    assert (there.region, there.tag) == (OTHER, ec2.tag)
    here_launched = ec2.launch(image_id, wait=False)
    there_launched = there.launch(there.daily_image("bookworm"), wait=False)
    assert there_launched.availability_zone.startswith(OTHER)
    assert [found.id for found in ec2.instances(name=ec2.tag)] == [here_launched.id]
    assert [found.id for found in there.instances(name=ec2.tag)] == [there_launched.id]
    assert there.created_keys != []
    assert there.clean() == []
    assert there_launched.state is InstanceState.TERMINATED
    assert not here_launched.state.is_ending


@pytest.mark.parametrize("endpoint", WITHOUT_MACHINES, indirect=True)
def test_cleaning_up_cleans_up_in_the_other_regions_too(ec2: EC2) -> None:
    there = ec2.in_region(OTHER)
    launched = there.launch(there.daily_image("bookworm"), wait=False)
    assert ec2.in_region(OTHER) is there
    assert ec2.clean() == []
    assert launched.state is InstanceState.TERMINATED
    assert (there.created_instances, there.created_keys) == ([], [])


@pytest.mark.parametrize("endpoint", WITHOUT_MACHINES, indirect=True)
def test_a_key_that_was_uploaded_here_is_uploaded_there_too(ec2: EC2) -> None:
    ec2.upload_key(ec2.key_pair.public_key_path, ec2.key_pair.private_key_path, name=f"{ec2.tag}-key")
    there = ec2.in_region(OTHER)
    there.launch(there.daily_image("bookworm"), wait=False)
    (name,) = there.created_keys
    assert name in there.list_keys()


@pytest.mark.parametrize("endpoint", WITHOUT_MACHINES, indirect=True)
def test_objects_with_other_credentials_and_regions_do_not_mix(endpoint) -> None:
    one = EC2(endpoint_url=endpoint.url, region=OTHER, access_key_id="AKIAone", secret_access_key="b")
    other = EC2(endpoint_url=endpoint.url, region="us-west-2", access_key_id="AKIAother", secret_access_key="b")
    assert signers(one) == {f"AKIAone {OTHER}"}
    assert signers(other) == {"AKIAother us-west-2"}
    assert signers(one.in_region("us-west-2")) == {"AKIAone us-west-2"}


def test_this_objects_own_region_is_another_object(ec2: EC2) -> None:
    assert ec2.in_region(ec2.region) is not ec2


@pytest.mark.parametrize("name", ["eu-wset-1", "nowhere"])
def test_an_unknown_region_is_refused_with_the_nearest(ec2: EC2, name: str) -> None:
    with pytest.raises(
        InvalidArgumentError, match=f"unknown region '{name}', or not enabled for this account; .*{OTHER}"
    ):
        ec2.in_region(name)


@pytest.mark.parametrize("name", [None, 7, ["eu-west-1"]])
def test_a_region_that_is_no_text_is_refused(ec2: EC2, name: object) -> None:
    with pytest.raises(InvalidArgumentError, match="it must be a string"):
        ec2.in_region(name)


def test_settings_without_a_region_of_their_own_are_kept(endpoint) -> None:
    settings = StringIO("[ec2]\nboot_timeout = 77\nssh_port = 2200\n")
    here = EC2(
        config_file=settings, endpoint_url=endpoint.url, region=OTHER, access_key_id="AKIAone", secret_access_key="b"
    )
    there = here.in_region("us-west-2")
    assert there.config == {**here.config, "region": "us-west-2"}
