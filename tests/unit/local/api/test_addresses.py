"""Elastic addresses: what the local EC2 answers, with machines that are simulated."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.moto_adapter import EC2ClientError
from pycloudlib.local.network.public_addresses import PublicAddresses
from support.local_network import Launch, Network, attach, create, describe, interface, primary, wait_for
from support.plain_ec2 import refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture
def allocation(client: EC2Client) -> dict[str, Any]:
    return dict(client.allocate_address(Domain="vpc"))


def public_ip(client: EC2Client, instance_id: str) -> str | None:
    return describe(client, instance_id).get("PublicIpAddress")


def addresses(client: EC2Client, allocation: dict[str, Any]) -> dict[str, Any]:
    return client.describe_addresses(AllocationIds=[allocation["AllocationId"]])["Addresses"][0]


def test_an_elastic_address_is_a_loopback_address_of_its_own(client: EC2Client) -> None:
    allocated = [client.allocate_address(Domain="vpc") for _ in range(3)]
    found = {one["PublicIp"] for one in allocated}
    assert len(found) == 3
    assert all(ipaddress.ip_address(one).is_loopback for one in found)
    assert {one["Domain"] for one in allocated} == {"vpc"}


def test_allocation_is_refused_when_no_address_is_free(
    records: LocalEC2Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records.cloud.driver, "_addresses", PublicAddresses(None, "203.0.113.0/28"))
    for _ in range(14):
        records.allocate_address("vpc")
    with pytest.raises(EC2ClientError, match=r"no address of 203\.0\.113\.0/28 is left") as refused:
        records.allocate_address("vpc")
    assert refused.value.code == "InsufficientAddressCapacity"


def test_it_takes_the_place_of_the_address_that_came_with_the_start(
    client: EC2Client, launch: Launch, allocation: dict[str, Any]
) -> None:
    instance_id = launch()
    before = public_ip(client, instance_id)
    client.associate_address(AllocationId=allocation["AllocationId"], InstanceId=instance_id)
    described = describe(client, instance_id)
    assert described["PublicIpAddress"] == allocation["PublicIp"]
    assert described["PublicDnsName"] == f"ec2-{allocation['PublicIp'].replace('.', '-')}.compute-1.amazonaws.com"
    found = addresses(client, allocation)
    assert (found["InstanceId"], found["PrivateIpAddress"]) == (instance_id, described["PrivateIpAddress"])
    client.disassociate_address(AssociationId=found["AssociationId"])
    assert public_ip(client, instance_id) not in {None, before, allocation["PublicIp"]}
    assert "AssociationId" not in addresses(client, allocation)


def test_it_stays_over_a_stop(client: EC2Client, launch: Launch, allocation: dict[str, Any]) -> None:
    instance_id = launch()
    client.associate_address(AllocationId=allocation["AllocationId"], InstanceId=instance_id)
    client.stop_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "stopped")
    assert public_ip(client, instance_id) == allocation["PublicIp"]
    client.start_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "running")
    assert public_ip(client, instance_id) == allocation["PublicIp"]


def test_it_is_free_when_the_instance_is_gone(client: EC2Client, launch: Launch, allocation: dict[str, Any]) -> None:
    instance_id = launch()
    client.associate_address(AllocationId=allocation["AllocationId"], InstanceId=instance_id)
    client.terminate_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "terminated")
    assert "AssociationId" not in addresses(client, allocation)
    client.release_address(AllocationId=allocation["AllocationId"])


def test_every_private_address_can_have_its_own(client: EC2Client, network: Network) -> None:
    interface_id = create(client, network.subnet_id, SecondaryPrivateIpAddressCount=1)
    private = [one["PrivateIpAddress"] for one in interface(client, interface_id)["PrivateIpAddresses"]]
    expected = {}
    for address in private:
        allocated = client.allocate_address(Domain="vpc")
        client.associate_address(
            AllocationId=allocated["AllocationId"], NetworkInterfaceId=interface_id, PrivateIpAddress=address
        )
        expected[address] = allocated["PublicIp"]
    found = interface(client, interface_id)
    assert {one["PrivateIpAddress"]: one["Association"]["PublicIp"] for one in found["PrivateIpAddresses"]} == expected
    assert found["Association"]["PublicIp"] == expected[private[0]]
    client.unassign_private_ip_addresses(NetworkInterfaceId=interface_id, PrivateIpAddresses=private[1:])
    left = client.describe_addresses(Filters=[{"Name": "network-interface-id", "Values": [interface_id]}])
    assert [one["PublicIp"] for one in left["Addresses"]] == [expected[private[0]]]


def test_it_moves_with_its_interface(
    client: EC2Client, network: Network, launch: Launch, allocation: dict[str, Any]
) -> None:
    interface_id = create(client, network.subnet_id)
    client.associate_address(AllocationId=allocation["AllocationId"], NetworkInterfaceId=interface_id)
    assert "InstanceId" not in addresses(client, allocation) or not addresses(client, allocation)["InstanceId"]
    instance_id = launch(SubnetId=network.subnet_id)
    attach(client, interface_id, instance_id)
    assert addresses(client, allocation)["InstanceId"] == instance_id


def test_it_moves_to_another_interface_unless_that_is_refused(
    client: EC2Client, network: Network, allocation: dict[str, Any]
) -> None:
    first, second = create(client, network.subnet_id), create(client, network.subnet_id)
    wanted: dict[str, Any] = {"AllocationId": allocation["AllocationId"]}
    client.associate_address(NetworkInterfaceId=first, **wanted)
    again = {**wanted, "NetworkInterfaceId": second, "AllowReassociation": False}
    assert refusal(client.associate_address, **again) == "Resource.AlreadyAssociated"
    client.associate_address(NetworkInterfaceId=second, **wanted)
    assert addresses(client, allocation)["NetworkInterfaceId"] == second
    assert "Association" not in interface(client, first)


def test_it_is_not_released_while_it_leads_somewhere(
    client: EC2Client, network: Network, allocation: dict[str, Any]
) -> None:
    interface_id = create(client, network.subnet_id)
    client.associate_address(AllocationId=allocation["AllocationId"], NetworkInterfaceId=interface_id)
    release = {"AllocationId": allocation["AllocationId"]}
    assert refusal(client.release_address, **release) == "InvalidIPAddress.InUse"
    client.disassociate_address(AssociationId=addresses(client, allocation)["AssociationId"])
    client.release_address(**release)
    assert refusal(client.release_address, **release) == "InvalidAllocationID.NotFound"


def test_instance_with_several_interfaces_requires_an_interface_id(
    client: EC2Client, network: Network, launch: Launch, allocation: dict[str, Any]
) -> None:
    instance_id = launch(SubnetId=network.subnet_id)
    attach(client, create(client, network.subnet_id), instance_id)
    wanted = {"AllocationId": allocation["AllocationId"], "InstanceId": instance_id}
    assert refusal(client.associate_address, **wanted) == "InvalidInstanceID"


def test_what_there_is_not_is_refused(client: EC2Client, launch: Launch, allocation: dict[str, Any]) -> None:
    first = primary(client, launch())
    missing = {"AllocationId": "eipalloc-00000000", "NetworkInterfaceId": first}
    assert refusal(client.associate_address, **missing) == "InvalidAllocationID.NotFound"
    foreign = {"AllocationId": allocation["AllocationId"], "NetworkInterfaceId": first, "PrivateIpAddress": "10.0.0.9"}
    assert refusal(client.associate_address, **foreign) == "InvalidParameterValue"
    assert refusal(client.describe_addresses, PublicIps=["127.9.9.9"]) == "InvalidAddress.NotFound"
    assert refusal(client.disassociate_address, AssociationId="eipassoc-0") == "InvalidAssociationID.NotFound"
