"""An EC2 that is not AWS's: https, another port, a path, and a server that does not know everything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.errors import CloudSetupError, PycloudlibError
from pycloudlib.key import KeyPair
from support.front import OLD, Front, front, self_signed


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., EC2]]:
    made: list[EC2] = []

    def connect_to(endpoint, url: str = "") -> EC2:
        ec2 = EC2(
            "compatible",
            endpoint_url=url or endpoint.url,
            region=endpoint.region,
            access_key_id=endpoint.access_key_id,
            secret_access_key=endpoint.secret_access_key,
        )
        ec2.key_pair = endpoint.key_pair or KeyPair.generate(tmp_path)
        made.append(ec2)
        return ec2

    yield connect_to
    for ec2 in made:
        ec2.clean()


@pytest.fixture
def old(serve) -> Iterator[Front]:
    """A server in front of the simulated one, with no client yet that knows what it lacks."""
    with front(serve("simulated").url, unknown=OLD) as server:
        yield server


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
def test_an_endpoint_may_have_a_path(endpoint, connect) -> None:
    assert endpoint.url.endswith("/services/Cloud")
    ec2 = connect(endpoint)
    instance = ec2.launch(ec2.daily_image("bookworm"), wait=False)
    assert [found.id for found in ec2.instances(name=ec2.tag)] == [instance.id]
    assert ec2.resource.Instance(instance.id).image_id == instance.image_id


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
def test_what_is_beside_the_path_is_not_ec2(endpoint, connect) -> None:
    with pytest.raises(PycloudlibError) as caught:
        connect(replace(endpoint, url=endpoint.url.removesuffix("/Cloud"))).list_keys()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
def test_https_works_with_a_certificate_that_is_vouched_for(
    endpoint, connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    with front(endpoint.url, certificate=certificate) as server:
        assert server.url.startswith("https://")
        assert server.url.endswith("/services/Cloud")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        ec2 = connect(endpoint, server.url)
        instance = ec2.launch(ec2.daily_image("bookworm"), wait=False)
        assert instance.delete() == []
        assert ec2.clean() == []
        assert server.count("RunInstances") == 1


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
def test_https_with_a_certificate_that_nobody_vouches_for_is_refused(endpoint, connect, tmp_path: Path) -> None:
    with front(endpoint.url, certificate=self_signed(tmp_path)) as server:
        with pytest.raises(PycloudlibError, match="certificate"):
            connect(endpoint, server.url).list_keys()
        assert server.asked == []


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
def test_what_a_server_does_not_know_is_left_out_with_one_warning_that_names_it(
    endpoint, connect, old: Front, caplog: pytest.LogCaptureFixture
) -> None:
    ec2 = connect(endpoint, old.url)
    with caplog.at_level(logging.WARNING, logger="pycloudlib"):
        image_id = ec2.daily_image("bookworm")
        for _ in range(2):
            ec2.launch(image_id, wait=False, MetadataOptions={"HttpTokens": "required"})
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == len({*warnings}) == 3
    for name in ("IncludeDeprecated", "TagSpecifications", "MetadataOptions"):
        assert any(f"the server at {old.url} does not support {name}: " in warning for warning in warnings)


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
def test_unsupported_parameters_are_omitted_from_later_requests(endpoint, connect, old: Front) -> None:
    ec2 = connect(endpoint, old.url)
    image_id = ec2.daily_image("bookworm")
    ec2.launch(image_id, wait=False)
    old.asked.clear()
    ec2.launch(image_id, wait=False)
    assert old.count("RunInstances") == 1
    assert not [key for question in old.asked for key in question if key.startswith(OLD)]


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
def test_what_was_created_without_tags_is_tagged_at_once(endpoint, connect, old: Front) -> None:
    ec2 = connect(endpoint, old.url)
    fleet = ec2.launch_many(
        ec2.daily_image("bookworm"),
        2,
        wait=False,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "blue"}]}],
    )
    for found in connect(endpoint).instances(name=ec2.tag):
        assert found.id in fleet.ids
        assert found.tags["team"] == "blue"
        assert {"pycloudlib:run", "pycloudlib:owner", "pycloudlib:created"} <= set(found.tags)
    assert len(connect(endpoint).instances(name=ec2.tag)) == 2


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
def test_a_client_of_another_region_does_without_too(endpoint, connect, old: Front) -> None:
    there = connect(endpoint, old.url).in_region("eu-west-1")
    launched = there.launch(there.daily_image("bookworm"), wait=False)
    assert there.instances(name=there.tag) == [launched]


def test_an_endpoint_that_is_not_there_is_named() -> None:
    ec2 = EC2(endpoint_url="https://127.0.0.1:9/services/Cloud", region="r", access_key_id="a", secret_access_key="b")
    with pytest.raises(CloudSetupError, match=r"cannot reach EC2 at https://127\.0\.0\.1:9/services/Cloud"):
        ec2.list_keys()
