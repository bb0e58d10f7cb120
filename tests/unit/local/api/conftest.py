"""A local EC2 of simulated machines without records for the tests of each module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.local import LocalEC2
from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.models.base import LocalCloud, LocalRecords
from pycloudlib.local.images.simulated import SimulatedCatalog
from pycloudlib.local.machines.simulated import SimulatedDriver, SimulatedTimes
from pycloudlib.local.storage.simulated import SimulatedStore
from support.local_network import Launch, Network, wait_for
from support.plain_ec2 import PlainEC2, connect, newest_image, reset, simulated_ec2

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture(scope="module")
def local_options() -> dict[str, Any]:
    """Options of LocalEC2. A module that overrides them has a server of its own."""
    return {}


@pytest.fixture(scope="module")
def local(
    local_options: dict[str, Any], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalEC2]:
    if not local_options:
        shared: LocalEC2 = request.getfixturevalue("session_ec2")
        reset(shared)
        yield shared
        return
    with simulated_ec2(tmp_path_factory.mktemp("state"), **local_options) as local:
        yield local


@pytest.fixture(scope="module")
def client(local: LocalEC2) -> EC2Client:
    return connect(local)


@pytest.fixture(scope="module")
def ec2(client: EC2Client) -> PlainEC2:
    return PlainEC2(client)


@pytest.fixture(scope="module")
def image_id(client: EC2Client) -> str:
    return newest_image(client)["ImageId"]


@pytest.fixture
def network(client: EC2Client) -> Network:
    """A VPC of one's own with one small subnet."""
    vpc_id = client.create_vpc(CidrBlock="192.168.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    block = client.describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    ipv6_cidr = block.replace("/56", "/64")
    subnet = client.create_subnet(
        VpcId=vpc_id, CidrBlock="192.168.1.0/28", Ipv6CidrBlock=ipv6_cidr, AvailabilityZone="us-east-1a"
    )["Subnet"]
    return Network(vpc_id, subnet["SubnetId"], ipv6_cidr)


@pytest.fixture
def launch(client: EC2Client, image_id: str) -> Launch:
    """Launches an instance and waits until it runs."""

    def launch(**parameters: Any) -> str:
        wanted = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small", **parameters}
        instance_id = client.run_instances(**wanted)["Instances"][0]["InstanceId"]
        wait_for(client, instance_id, "running")
        return instance_id

    return launch


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEC2Backend]:
    """The records of a region, without a server."""
    driver = SimulatedDriver(SimulatedTimes())
    cloud = LocalCloud(
        driver=driver,
        volumes=SimulatedStore(driver),
        catalogue=SimulatedCatalog(),
        max_memory_mib=64,
        max_cpus=1,
        spot_notice_seconds=3600.0,
    )
    monkeypatch.setattr(LocalRecords, "cloud", cloud, raising=False)
    yield LocalEC2Backend("us-east-1", "123456789012")
    driver.close()
