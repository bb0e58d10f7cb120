"""One local EC2 of simulated machines for the tests of each module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from pycloudlib.local import LocalEC2
from support.local_network import Launch, Network, wait_for

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

DEBIAN_DAILIES = "903794441882"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEC2]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with LocalEC2(driver="simulated") as local:
            yield local


@pytest.fixture(scope="module")
def client(local: LocalEC2) -> EC2Client:
    return boto3.client(
        "ec2",
        endpoint_url=local.endpoint_url,
        region_name=local.region,
        aws_access_key_id=local.access_key_id,
        aws_secret_access_key=local.secret_access_key,
        config=Config(retries={"max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def image_id(client: EC2Client) -> str:
    names = [{"Name": "name", "Values": ["debian-12-amd64-daily-*"]}]
    images = client.describe_images(Owners=[DEBIAN_DAILIES], Filters=names)["Images"]
    return max(images, key=lambda image: image["CreationDate"])["ImageId"]


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
