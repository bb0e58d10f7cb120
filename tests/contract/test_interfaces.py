"""Network interfaces added to an instance and removed from it, as EC2 tells of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import InstanceStateError, InvalidArgumentError, NetworkNotFoundError, PycloudlibError
from pycloudlib.waiting import wait_until

"""What guests see of it, tests/vm tells."""


@pytest.fixture
def instance(ec2: EC2, image_id: str) -> EC2Instance:
    """An instance with room for three interfaces of six addresses, in the default VPC, which has IPv4 only."""
    return launched(ec2, image_id)


@pytest.fixture
def instance_with_ipv6(ec2: EC2, image_id: str) -> EC2Instance:
    """The same in a VPC with IPv6."""
    return launched(ec2, image_id, vpc=ec2.get_or_create_vpc(ec2.tag))


def launched(ec2: EC2, image_id: str, **more: Any) -> EC2Instance:
    instance = ec2.launch(image_id, "t3.medium", wait=False, **more)
    wait_until(lambda: instance.state is InstanceState.RUNNING, what="it to be running", deadline=Deadline.after(60))
    return instance


@pytest.fixture
def untouched(ec2: EC2, instance: EC2Instance) -> Iterator[EC2Instance]:
    """The same, for tests after which it must have neither more interfaces nor addresses than before."""
    before = [interface.id for interface in instance.network_interfaces()]
    everywhere = all_interfaces(ec2)
    yield instance
    assert [interface.id for interface in instance.network_interfaces()] == before
    assert all_interfaces(ec2) == everywhere
    assert own_addresses(ec2) == []


def all_interfaces(ec2: EC2) -> set[str]:
    """Those of this test: others run beside it."""
    found = ec2.client.describe_network_interfaces(Filters=[{"Name": "tag:Name", "Values": [ec2.tag]}])
    return {record["NetworkInterfaceId"] for record in found["NetworkInterfaces"]}


def own_addresses(ec2: EC2) -> list[str]:
    found = ec2.client.describe_addresses(Filters=[{"Name": "tag:Name", "Values": [ec2.tag]}])
    return [record["PublicIp"] for record in found["Addresses"]]


def test_an_instance_has_a_primary_interface(instance: EC2Instance) -> None:
    (primary,) = instance.network_interfaces()
    assert (primary.is_primary, primary.private_ips[0]) == (True, instance.private_ip)


def test_an_added_interface_is_attached_beside_the_primary_one(instance: EC2Instance) -> None:
    ip = instance.add_network_interface()
    primary, added = instance.network_interfaces()
    assert (added.private_ips, added.device_index, added.attachment_status) == ((ip,), 1, "attached")
    assert (added.subnet_id, added.security_group_ids) == (primary.subnet_id, primary.security_group_ids)


def test_an_added_interface_is_tagged(ec2: EC2, instance: EC2Instance) -> None:
    instance.add_network_interface()
    added = instance.network_interfaces()[1]
    (record,) = ec2.client.describe_network_interfaces(NetworkInterfaceIds=[added.id])["NetworkInterfaces"]
    assert {"Name", "pycloudlib:run", "pycloudlib:owner"} <= {tag["Key"] for tag in record["TagSet"]}


def test_several_private_and_ipv6_addresses(instance_with_ipv6: EC2Instance) -> None:
    instance = instance_with_ipv6
    ip = instance.add_network_interface(ipv4_address_count=3, ipv6_address_count=2)
    added = instance.network_interfaces()[1]
    assert (len(set(added.private_ips)), len(set(added.ipv6_ips)), added.private_ips[0]) == (3, 2, ip)


def test_added_interface_has_only_the_requested_ipv6_addresses(instance_with_ipv6: EC2Instance) -> None:
    instance_with_ipv6.add_network_interface()
    assert instance_with_ipv6.network_interfaces()[1].ipv6_ips == ()


def test_a_public_address_leads_to_the_private_one(ec2: EC2, instance: EC2Instance) -> None:
    ip = instance.add_network_interface(ipv4_public_ip_count=1)
    added = instance.network_interfaces()[1]
    (address,) = ec2.client.describe_addresses(Filters=[{"Name": "tag:Name", "Values": [ec2.tag]}])["Addresses"]
    assert (address["NetworkInterfaceId"], address["PrivateIpAddress"]) == (added.id, ip)
    assert added.public_ips == (address["PublicIp"],)
    assert {"pycloudlib:run", "pycloudlib:owner"} <= {tag["Key"] for tag in address["Tags"]}


def test_several_public_addresses_lead_to_one_private_address_each(
    request: pytest.FixtureRequest, instance: EC2Instance
) -> None:
    if "moto" in request.node.name:
        pytest.skip("moto's interfaces have one public address at most")
    instance.add_network_interface(ipv4_address_count=2, ipv4_public_ip_count=2)
    assert len(instance.network_interfaces()[1].public_ips) == 2
    assert len(set(instance.public_ips)) == 3


def test_interfaces_get_the_next_free_index(instance: EC2Instance) -> None:
    first, second = instance.add_network_interface(), instance.add_network_interface()
    assert [interface.device_index for interface in instance.network_interfaces()] == [0, 1, 2]
    instance.remove_network_interface(first)
    third = instance.add_network_interface()
    by_index = {interface.device_index: interface.private_ips[0] for interface in instance.network_interfaces()}
    assert (by_index[1], by_index[2]) == (third, second)


def test_two_threads_get_two_indices(ec2: EC2, instance: EC2Instance) -> None:
    same = ec2.get_instance(instance.id, username="somebody")
    with ThreadPoolExecutor(2) as pool:
        ips = list(pool.map(lambda one: one.add_network_interface(), [instance, same]))
    added = instance.network_interfaces()[1:]
    assert {interface.private_ips[0] for interface in added} == set(ips)
    assert [interface.device_index for interface in added] == [1, 2]


@pytest.mark.parametrize("kind", ["primary", "secondary", "ipv6", "public"])
def test_an_interface_is_removed_by_any_of_its_addresses(ec2: EC2, instance_with_ipv6: EC2Instance, kind: str) -> None:
    instance = instance_with_ipv6
    instance.add_network_interface(ipv4_address_count=2, ipv6_address_count=1, ipv4_public_ip_count=1)
    added = instance.network_interfaces()[1]
    primary, secondary = added.private_ips
    by_kind = {"primary": primary, "secondary": secondary, "ipv6": added.ipv6_ips[0], "public": added.public_ips[0]}
    instance.remove_network_interface(by_kind[kind])
    assert len(instance.network_interfaces()) == 1
    assert added.id not in all_interfaces(ec2)
    assert own_addresses(ec2) == []


def test_somebody_elses_elastic_address_is_not_released(ec2: EC2, instance: EC2Instance) -> None:
    ip = instance.add_network_interface()
    added = instance.network_interfaces()[1]
    theirs = ec2.client.allocate_address(Domain="vpc")["AllocationId"]
    ec2.client.associate_address(AllocationId=theirs, NetworkInterfaceId=added.id)
    instance.remove_network_interface(ip)
    (address,) = ec2.client.describe_addresses(AllocationIds=[theirs])["Addresses"]
    association = address.get("AssociationId")
    if association:
        ec2.client.disassociate_address(AssociationId=association)
    ec2.client.release_address(AllocationId=theirs)


def test_an_interface_of_another_instance_is_not_found(ec2: EC2, instance: EC2Instance, image_id: str) -> None:
    neighbour = ec2.launch(image_id, wait=False, SubnetId=instance.network_interfaces()[0].subnet_id)
    with pytest.raises(NetworkNotFoundError, match=f"no interface of {instance.id} has the address"):
        instance.remove_network_interface(neighbour.private_ip)
    assert len(neighbour.network_interfaces()) == 1


def test_the_primary_interface_cannot_be_removed(untouched: EC2Instance) -> None:
    with pytest.raises(InvalidArgumentError, match="primary interface"):
        untouched.remove_network_interface(untouched.private_ip)


def test_what_is_no_address_is_refused(untouched: EC2Instance) -> None:
    with pytest.raises(InvalidArgumentError, match="is not an address"):
        untouched.remove_network_interface("eth1")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"ipv4_address_count": 0}, "from 1 to"),
    ({"ipv4_address_count": True}, "whole number"),
    ({"ipv4_address_count": "2"}, "whole number"),
    ({"ipv6_address_count": -1}, "from 0 to"),
    ({"ipv4_public_ip_count": 2}, "need as many private ones"),
    ({"ipv4_address_count": 200}, r"t3\.medium takes 6 IPv4 addresses, not 200"),
    ({"ipv6_address_count": 200}, r"t3\.medium takes 6 IPv6 addresses, not 200"),
]


def test_impossible_counts_are_refused_before_anything_is_created(untouched: EC2Instance) -> None:
    for counts, reason in REFUSED:
        with pytest.raises(InvalidArgumentError, match=reason):
            untouched.add_network_interface(**counts)


def test_no_free_index_is_refused_before_anything_is_created(ec2: EC2, instance: EC2Instance) -> None:
    instance.add_network_interface()
    instance.add_network_interface()
    before = all_interfaces(ec2)
    with pytest.raises(InvalidArgumentError, match=r"has 3 network interfaces, the maximum of a t3\.medium"):
        instance.add_network_interface()
    assert all_interfaces(ec2) == before


def test_ipv6_in_a_subnet_without_it_is_refused(untouched: EC2Instance) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot have IPv6 addresses"):
        untouched.add_network_interface(ipv6_address_count=1)


def test_a_deleted_instance_is_given_no_interface(ec2: EC2, instance: EC2Instance) -> None:
    assert instance.delete() == []
    with pytest.raises(InstanceStateError, match="deleted"):
        instance.add_network_interface()
    with pytest.raises(InstanceStateError, match="deleted"):
        instance.remove_network_interface("10.0.0.1")
    assert all_interfaces(ec2) == set()


def test_an_instance_terminated_by_somebody_else_is_given_no_interface(
    ec2: EC2, other_ec2: EC2, instance: EC2Instance
) -> None:
    assert other_ec2.get_instance(instance.id).delete() == []
    with pytest.raises(InstanceStateError, match="terminated"):
        instance.add_network_interface()


def test_a_failure_on_the_way_leaves_nothing(ec2: EC2, untouched: EC2Instance) -> None:
    def refuse(**_: object) -> None:
        raise PycloudlibError("no")

    ec2.client.meta.events.register("before-call.ec2.AssociateAddress", refuse)
    try:
        with pytest.raises(PycloudlibError, match="no"):
            untouched.add_network_interface(ipv4_public_ip_count=1)
    finally:
        ec2.client.meta.events.unregister("before-call.ec2.AssociateAddress", refuse)


def test_deleting_the_instance_releases_its_public_addresses(ec2: EC2, instance: EC2Instance) -> None:
    instance.add_network_interface(ipv4_public_ip_count=1)
    assert len(own_addresses(ec2)) == 1
    assert instance.delete() == []
    assert own_addresses(ec2) == []


def test_clean_leaves_neither_interfaces_nor_addresses(ec2: EC2, instance: EC2Instance) -> None:
    instance.add_network_interface(ipv4_address_count=2, ipv4_public_ip_count=1)
    assert ec2.clean() == []
    assert own_addresses(ec2) == []
    assert all_interfaces(ec2) == set()
