"""RunInstances, through EC2.launch()."""

from __future__ import annotations

from base64 import b64decode
from email import message_from_bytes
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import (
    CloudError,
    ImageNotFoundError,
    InstanceNotFoundError,
    InvalidArgumentError,
    KeyPairNotFoundError,
)

STRICT_ENDPOINTS = ["simulated", "old", pytest.param("qemu", marks=pytest.mark.vm)]
"""Those that look at what they are given; moto takes any type of instance and any name of a key."""


def test_a_launched_instance_runs_commands(instance: EC2Instance) -> None:
    assert instance.state is InstanceState.RUNNING
    assert instance.execute("echo hi") == "hi"


def test_the_timeline_is_in_order(instance: EC2Instance) -> None:
    timeline = instance.timeline
    stages = [timeline.running, timeline.reachable, timeline.logged_in, timeline.ready]
    assert stages == sorted(stages)


def test_an_instance_has_what_it_was_launched_with(ec2: EC2, image_id: str) -> None:
    instance = ec2.launch(image_id, "t3.small", wait=False)
    assert (instance.image_id, instance.instance_type) == (image_id, "t3.small")
    assert instance.availability_zone.startswith(ec2.region)
    assert instance.private_ip


def test_an_instance_is_tagged_by_the_launch_itself(ec2: EC2, other_ec2: EC2, image_id: str) -> None:
    launched = ec2.launch(image_id, wait=False)
    tags = other_ec2.get_instance(launched.id).tags
    assert tags["Name"] == ec2.tag
    assert {"pycloudlib:run", "pycloudlib:owner", "pycloudlib:created"} <= set(tags)


@pytest.mark.parametrize("endpoint", ["moto", "simulated", "old"], indirect=True)
def test_an_instance_launched_without_waiting_can_be_waited_for(ec2: EC2, endpoint, image_id: str) -> None:
    instance = ec2.launch(image_id, username=endpoint.username, wait=False)
    instance.wait()
    assert instance.execute("true").ok


def test_an_instance_is_found_by_its_id(ec2: EC2, other_ec2: EC2, image_id: str) -> None:
    launched = ec2.launch(image_id, wait=False)
    found = other_ec2.get_instance(launched.id)
    assert (found.id, found.image_id, found.username) == (launched.id, image_id, "admin")


def test_an_unknown_instance_is_not_found(ec2: EC2) -> None:
    with pytest.raises(InstanceNotFoundError, match="i-0123456789abcdef0"):
        ec2.get_instance("i-0123456789abcdef0")


def test_an_unknown_image_is_not_launched(ec2: EC2) -> None:
    with pytest.raises(ImageNotFoundError, match="ami-0123456789abcdef0"):
        ec2.launch("ami-0123456789abcdef0")
    assert ec2.created_instances == []


@pytest.mark.parametrize("endpoint", STRICT_ENDPOINTS, indirect=True)
def test_an_unknown_instance_type_is_refused(ec2: EC2, image_id: str) -> None:
    with pytest.raises(CloudError, match=r"t9\.huge"):
        ec2.launch(image_id, "t9.huge", wait=False)
    assert ec2.created_instances == []


@pytest.mark.parametrize("endpoint", STRICT_ENDPOINTS, indirect=True)
def test_an_unknown_key_is_refused(ec2: EC2, image_id: str) -> None:
    with pytest.raises(KeyPairNotFoundError, match="no-such-key"):
        ec2.launch(image_id, KeyName="no-such-key", wait=False)
    assert ec2.created_instances == []


def test_user_data_is_given_to_ec2_as_it_is(ec2: EC2, image_id: str) -> None:
    instance = ec2.launch(image_id, wait=False, user_data=b"\xff\x00 binary")
    answer = ec2.client.describe_instance_attribute(InstanceId=instance.id, Attribute="userData")
    assert b64decode(answer["UserData"]["Value"]) == b"\xff\x00 binary"


def test_the_console_log_is_there_once_it_was_printed(instance: EC2Instance) -> None:
    assert instance.console_log(timeout=240)


def described(ec2: EC2, instance: EC2Instance) -> dict:
    return ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]


def test_a_mime_message_is_given_as_cloud_init_reads_it(ec2: EC2, image_id: str) -> None:
    message = MIMEMultipart()
    message.attach(MIMEText("#cloud-config\nruncmd: []\n", "cloud-config"))
    message.attach(MIMEText("#!/bin/sh\n", "x-shellscript"))
    instance = ec2.launch(image_id, wait=False, user_data=message)
    answer = ec2.client.describe_instance_attribute(InstanceId=instance.id, Attribute="userData")
    parts = message_from_bytes(b64decode(answer["UserData"]["Value"])).get_payload()
    assert [part.get_content_type() for part in parts] == ["text/cloud-config", "text/x-shellscript"]


def test_launch_uses_the_requested_security_groups_and_subnet(ec2: EC2, image_id: str) -> None:
    subnet = ec2.client.describe_subnets()["Subnets"][0]
    groups = ec2.client.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [subnet["VpcId"]]}])
    group_id = groups["SecurityGroups"][0]["GroupId"]
    instance = ec2.launch(image_id, wait=False, SubnetId=subnet["SubnetId"], SecurityGroupsIds=[group_id])
    shown = described(ec2, instance)
    assert shown["SubnetId"] == subnet["SubnetId"]
    assert group_id in [group["GroupId"] for group in shown["SecurityGroups"]]
    assert instance.availability_zone == subnet["AvailabilityZone"]


def test_an_interface_of_the_callers_gets_the_subnet_given_beside_it(ec2: EC2, image_id: str) -> None:
    subnet = ec2.client.describe_subnets()["Subnets"][-1]
    instance = ec2.launch(
        image_id,
        wait=False,
        SubnetId=subnet["SubnetId"],
        NetworkInterfaces=[{"DeviceIndex": 0, "Description": "mine"}],
    )
    assert described(ec2, instance)["SubnetId"] == subnet["SubnetId"]


def test_launch_uses_the_requested_placement(ec2: EC2, image_id: str) -> None:
    zone = ec2.client.describe_availability_zones()["AvailabilityZones"][-1]["ZoneName"]
    assert ec2.launch(image_id, wait=False, Placement={"AvailabilityZone": zone}).availability_zone == zone


def test_root_volume_has_the_requested_size(ec2: EC2, image_id: str) -> None:
    instance = ec2.launch(image_id, wait=False, disk_size_gb=33)
    mapped = described(ec2, instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert ec2.client.describe_volumes(VolumeIds=[mapped])["Volumes"][0]["Size"] == 33


def test_an_instance_is_launched_into_a_vpc(ec2: EC2, image_id: str) -> None:
    vpc = ec2.get_or_create_vpc(ec2.tag)
    instance = ec2.launch(image_id, "t3.micro", None, vpc, wait=False)
    shown = described(ec2, instance)
    assert shown["VpcId"] == vpc.id
    assert [group["GroupId"] for group in shown["SecurityGroups"]] == [vpc.security_group_id]
    assert instance.delete() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"disk_size_gb": 0}, "disk_size_gb is 0; it must be a whole number from 1 to 16384"),
        ({"user_data": "x" * 16385}, "16385 bytes"),
        ({"user_data": 7}, "user_data is a int"),
        ({"enable_ipv6": "yes"}, "enable_ipv6 is 'yes'"),
        ({"vpc": "vpc-1"}, "vpc is a str; it must be a VPC from get_or_create_vpc"),
        ({"SubnetIds": []}, "did you mean SubnetId"),
        ({"Placement": "here"}, "Placement"),
        ({"instance_type": ""}, "instance_type is ''"),
    ],
)
def test_bad_arguments_are_refused_in_one_line_before_anything_is_created(
    ec2: EC2, image_id: str, arguments: dict, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        ec2.launch(image_id, wait=False, **arguments)
    assert "\n" not in str(caught.value)
    assert (ec2.created_instances, ec2.created_keys) == ([], [])
