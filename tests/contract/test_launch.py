"""RunInstances, through EC2.launch()."""

from __future__ import annotations

from base64 import b64decode

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.poller import InstanceState
from pycloudlib.errors import CloudError, ImageNotFoundError, InstanceNotFoundError, KeyPairNotFoundError

STRICT_ENDPOINTS = ["simulated", pytest.param("qemu", marks=pytest.mark.vm)]
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
    assert instance.console_log(timeout=60)
