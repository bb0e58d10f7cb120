"""What an EC2 object created is gone when it is cleaned up, and nothing else is."""

from __future__ import annotations

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import InstanceStateError


def test_clean_deletes_instances_and_keys(ec2: EC2, image_id: str) -> None:
    instances = [ec2.launch(image_id, wait=False) for _ in range(3)]
    (key_name,) = ec2.created_keys
    assert ec2.created_instances == instances
    assert ec2.clean() == []
    assert {instance.state for instance in instances} == {InstanceState.TERMINATED}
    assert key_name not in ec2.list_keys()
    assert (ec2.created_instances, ec2.created_keys) == ([], [])


def test_clean_deletes_stopped_instances(ec2: EC2, running: EC2Instance) -> None:
    running.shutdown()
    assert ec2.clean() == []
    assert running.state is InstanceState.TERMINATED


def test_clean_leaves_what_others_created(ec2: EC2, other_ec2: EC2, image_id: str) -> None:
    launched = ec2.launch(image_id, wait=False)
    other_ec2.get_instance(launched.id)
    assert other_ec2.clean() == []
    assert not launched.state.is_ending


def test_clean_twice_is_harmless(ec2: EC2, image_id: str) -> None:
    ec2.launch(image_id, wait=False)
    assert ec2.clean() == []
    assert ec2.clean() == []


def test_leaving_the_context_cleans_up_after_an_error_too(ec2: EC2, image_id: str) -> None:
    instance = ec2.launch(image_id, wait=False)
    with pytest.raises(ZeroDivisionError), ec2:
        raise ZeroDivisionError
    assert instance.state is InstanceState.TERMINATED
    with pytest.raises(InstanceStateError):
        instance.execute("true")
