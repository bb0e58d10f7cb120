"""DescribeInstances, through EC2.instances(), get_instance() and the attributes of an instance."""

from __future__ import annotations

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import InstanceNotFoundError, InvalidArgumentError


def ids(instances: list[EC2Instance]) -> set[str]:
    return {instance.id for instance in instances}


def test_instances_are_found_by_tag_and_image(ec2: EC2, other_ec2: EC2, image_id: str) -> None:
    mine = {ec2.launch(image_id, wait=False).id for _ in range(2)}
    theirs = other_ec2.launch(image_id, wait=False).id
    assert ids(ec2.instances(tag={"Name": ec2.tag})) == mine
    assert ids(ec2.instances(name=ec2.tag, image=image_id)) == mine
    assert mine | {theirs} <= ids(ec2.instances(image_id=[image_id]))
    assert ids(ec2.instances({"tag:Name": [ec2.tag, other_ec2.tag]})) == mine | {theirs}
    assert mine | {theirs} <= ids(ec2.instances(tag="pycloudlib:run"))
    assert ec2.instances(name=ec2.tag, image="ami-0123456789abcdef0") == []


def test_instances_are_found_by_state(ec2: EC2, running: EC2Instance) -> None:
    assert ids(ec2.instances(state="running", name=ec2.tag)) == {running.id}
    assert ids(ec2.instances(state=InstanceState.RUNNING, name=ec2.tag)) == {running.id}
    running.shutdown()
    assert ec2.instances(state="running", name=ec2.tag) == []
    assert ids(ec2.instances(state=["stopped", "stopping"], name=ec2.tag)) == {running.id}


def test_description_is_cached(ec2: EC2, running: EC2Instance) -> None:
    (listed,) = ec2.instances(name=ec2.tag)
    seen = listed.description
    assert (seen.instance_id, seen.state, seen.image_id) == (running.id, InstanceState.RUNNING, running.image_id)
    assert seen.launched is not None
    assert seen.launched.tzinfo is not None
    running.shutdown()
    listed.refresh()
    assert listed.description.state is InstanceState.STOPPED


def test_what_was_launched_here_is_the_same_object(ec2: EC2, image_id: str) -> None:
    instance = ec2.launch(image_id, wait=False)
    (found,) = ec2.instances(instance_id=instance.id)
    assert found is instance
    assert ec2.get_instance(instance.id) is instance


def test_what_others_launched_is_left_alone(ec2: EC2, other_ec2: EC2, image_id: str) -> None:
    launched = ec2.launch(image_id, wait=False)
    (found,) = other_ec2.instances(instance_id=launched.id)
    assert (found.id, found.username) == (launched.id, "admin")
    assert other_ec2.clean() == []
    assert not launched.state.is_ending


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"stat": "running"}, "unknown filter 'stat' of instances.*; did you mean state"),
        ({"instance_typ": "t3.micro"}, "did you mean instance_type"),
        ({"colour": "blue"}, "the usual ones are state"),
        ({"state": "asleep"}, "unknown instance state 'asleep'; allowed: pending, running"),
        ({"image": object()}, "must be a string"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(ec2: EC2, filters: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ec2.instances(**filters)


def test_an_instance_of_boto3s_becomes_one_of_ours(ec2: EC2, other_ec2: EC2, image_id: str) -> None:
    launched = ec2.launch(image_id, wait=False)
    theirs = other_ec2.resource.Instance(launched.id)
    found = other_ec2.get_instance(theirs)
    assert (found.id, found.private_ip) == (launched.id, theirs.private_ip_address)
    assert ec2.get_instance(ec2.resource.Instance(launched.id)) is launched


@pytest.mark.parametrize("nothing", [None, 7, "", object()])
def test_what_is_no_instance_is_refused(ec2: EC2, nothing: object) -> None:
    with pytest.raises(InvalidArgumentError, match="is not an instance"):
        ec2.get_instance(nothing)


def test_an_instance_of_boto3s_that_is_not_there_is_not_found(ec2: EC2) -> None:
    with pytest.raises(InstanceNotFoundError, match="i-0123456789abcdef0"):
        ec2.get_instance(ec2.resource.Instance("i-0123456789abcdef0"))


def test_plain_boto3_sees_the_same(ec2: EC2, image_id: str) -> None:
    launched = ec2.launch(image_id, wait=False)
    assert launched.id in [found.id for found in ec2.resource.instances.all()]
    answer = ec2.client.describe_instances(InstanceIds=[launched.id])
    assert answer["Reservations"][0]["Instances"][0]["InstanceId"] == launched.id


def test_attributes_match_the_description(ec2: EC2, running: EC2Instance) -> None:
    running.refresh()
    (record,) = ec2.client.describe_instances(InstanceIds=[running.id])["Reservations"][0]["Instances"]
    assert running.ip == record["PublicIpAddress"]
    assert running.private_ip == record["PrivateIpAddress"]
    assert running.public_dns_name == record["PublicDnsName"] != ""
    assert running.private_dns_name == record["PrivateDnsName"] != ""
    assert running.availability_zone == record["Placement"]["AvailabilityZone"]
    assert running.tags == {tag["Key"]: tag["Value"] for tag in record["Tags"]}


def test_refresh_asks_again(ec2: EC2, running: EC2Instance) -> None:
    ec2.client.create_tags(Resources=[running.id], Tags=[{"Key": "Name", "Value": "renamed"}])
    running.refresh()
    assert running.tags["Name"] == "renamed"
