"""What the metadata of an instance say about its launch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.models.launch_options import LaunchOptions
from pycloudlib.local.images.simulated import SimulatedCatalog
from pycloudlib.local.network.metadata import look_up


@pytest.fixture
def instance(records: LocalEC2Backend) -> Any:
    records.create_placement_group("near", "cluster", {})
    records.launch_options = LaunchOptions(
        placement={"GroupName": "near"}, private_dns={"HostnameType": "resource-name"}, spot={}
    )
    image = next(image for image in SimulatedCatalog().images() if image.architecture == "x86_64")
    launch = records.run_instances(
        image.image_id,
        1,
        None,
        [],
        instance_type="t3.micro",
        is_instance_type_default=False,
        placement="us-east-1b",
        region_name="us-east-1",
    )
    return launch.instances[0]


def test_metadata_follow_the_launch(records: LocalEC2Backend, instance: Any) -> None:
    metadata = records.controllers[instance.id].metadata()

    def answer(path: str) -> str:
        body = look_up(metadata, f"/latest/{path}")
        assert body is not None, path
        return body.decode()

    assert answer("meta-data/local-hostname") == f"{instance.id}.ec2.internal"
    assert answer("meta-data/instance-life-cycle") == "spot"
    assert answer("meta-data/placement/availability-zone") == "us-east-1b"
    assert answer("meta-data/placement/availability-zone-id") == "use1-az1"
    assert answer("meta-data/placement/group-name") == "near"
    document = json.loads(answer("dynamic/instance-identity/document"))
    assert (document["instanceType"], document["availabilityZone"]) == ("t3.micro", "us-east-1b")
