"""clean() keeps what is removed from the created_* lists, and deletes what is added to them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import InvalidArgumentError
from support.moto_server import BOOKWORM_DAILY

Connect = Callable[..., EC2]


@pytest.fixture
def other(connect: Connect, moto_url: str) -> EC2:
    return connect(moto_url, tag="other")


def image_of(ec2: EC2) -> str:
    instance = ec2.launch(BOOKWORM_DAILY, wait=False)
    instance.shutdown()
    return ec2.snapshot(instance, clean=False)


def test_removed_instance_is_kept_and_appended_one_deleted(ec2: EC2, other: EC2) -> None:
    kept, deleted = ec2.launch(BOOKWORM_DAILY, wait=False), other.launch(BOOKWORM_DAILY, wait=False)
    ec2.created_instances.remove(kept)
    ec2.created_instances.append(ec2.get_instance(deleted.id))
    assert [instance.id for instance in ec2.created_instances] == [deleted.id]
    assert ec2.clean() == []
    assert (kept.state, deleted.state) == (InstanceState.RUNNING, InstanceState.TERMINATED)
    other.created_instances = [kept]
    assert other.clean() == []
    assert kept.state is InstanceState.TERMINATED


def test_removed_image_is_kept_and_appended_one_deleted(ec2: EC2, other: EC2) -> None:
    kept, deleted = image_of(ec2), image_of(other)
    ec2.created_images.remove(kept)
    ec2.created_images.append(deleted)
    assert ec2.created_images == [deleted]
    assert ec2.clean() == []
    assert {kept, deleted} & {image.id for image in ec2.images()} == {kept}
    other.created_images = [kept]
    assert other.clean() == []
    assert kept not in {image.id for image in ec2.images()}


def test_removed_vpc_is_kept_and_appended_one_deleted(ec2: EC2, other: EC2) -> None:
    kept, deleted = ec2.get_or_create_vpc(ec2.tag), other.get_or_create_vpc(other.tag)
    ec2.created_vpcs.remove(kept)
    ec2.created_vpcs.append(deleted)
    assert ec2.created_vpcs == [deleted]
    assert ec2.clean() == []
    assert {vpc.id for vpc in ec2.resource.vpcs.filter(VpcIds=[kept.id])} == {kept.id}
    other.created_vpcs = [kept]
    assert other.clean() == []
    assert not {kept.id, deleted.id} & {vpc.id for vpc in ec2.resource.vpcs.all()}


def test_removed_key_is_kept_and_appended_one_deleted(ec2: EC2, other: EC2) -> None:
    for owner in (ec2, other):
        owner.upload_key(owner.key_pair.public_key_path, name=owner.tag)
    ec2.created_keys.remove(ec2.tag)
    ec2.created_keys.append(other.tag)
    assert ec2.created_keys == [other.tag]
    assert ec2.clean() == []
    assert ec2.tag in ec2.list_keys()
    assert other.tag not in ec2.list_keys()
    other.created_keys = [ec2.tag]
    assert other.clean() == []
    assert ec2.tag not in ec2.list_keys()


@pytest.mark.parametrize("single", ["ami-1", 7])
@pytest.mark.parametrize("name", ["created_instances", "created_images", "created_vpcs", "created_keys"])
def test_a_single_object_is_no_list(ec2: EC2, name: str, single: object) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{single!r} is not a list of resources"):
        setattr(ec2, name, single)
    assert getattr(ec2, name) == []


@pytest.mark.parametrize("name", ["created_instances", "created_images", "created_vpcs", "created_keys"])
def test_other_objects_are_refused(ec2: EC2, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="7 is no"):
        getattr(ec2, name).append(7)
    assert getattr(ec2, name) == []
