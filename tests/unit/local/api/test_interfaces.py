"""Network interfaces: what the local EC2 answers, with machines that are simulated."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Any

import pytest

from support.local_network import (
    Launch,
    Network,
    attach,
    create,
    describe,
    detach,
    interface,
    primary,
    private_ips,
    wait_for,
)
from support.plain_ec2 import refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_interface_has_the_requested_addresses(client: EC2Client, network: Network) -> None:
    made = interface(client, create(client, network.subnet_id, SecondaryPrivateIpAddressCount=2, Ipv6AddressCount=2))
    assert len(set(private_ips(made))) == 3
    assert [one["Primary"] for one in made["PrivateIpAddresses"]] == [True, False, False]
    assert made["PrivateIpAddress"] == private_ips(made)[0]
    ipv6 = [ipaddress.ip_address(one["Ipv6Address"]) for one in made["Ipv6Addresses"]]
    assert len(set(ipv6)) == 2
    assert all(address in ipaddress.ip_network(network.ipv6_cidr) for address in ipv6)
    assert made["Status"] == "available"


def test_named_addresses_are_given_and_the_primary_one_comes_first(client: EC2Client, network: Network) -> None:
    wanted = [
        {"PrivateIpAddress": "192.168.1.6", "Primary": False},
        {"PrivateIpAddress": "192.168.1.5", "Primary": True},
    ]
    made = interface(client, create(client, network.subnet_id, PrivateIpAddresses=wanted))
    assert private_ips(made) == ["192.168.1.5", "192.168.1.6"]


@pytest.mark.parametrize("address", ["192.168.1.0", "192.168.1.3", "192.168.1.15", "192.168.2.1"])
def test_addresses_outside_the_subnet_and_ec2s_own_are_refused(
    client: EC2Client, network: Network, address: str
) -> None:
    call = client.create_network_interface
    assert refusal(call, SubnetId=network.subnet_id, PrivateIpAddress=address) == "InvalidParameterValue"


def test_an_address_is_given_once_and_free_again_when_its_interface_is_deleted(
    client: EC2Client, network: Network
) -> None:
    interface_id = create(client, network.subnet_id, PrivateIpAddress="192.168.1.5")
    call = client.create_network_interface
    assert refusal(call, SubnetId=network.subnet_id, PrivateIpAddress="192.168.1.5") == "InvalidIPAddress.InUse"
    client.delete_network_interface(NetworkInterfaceId=interface_id)
    create(client, network.subnet_id, PrivateIpAddress="192.168.1.5")


def test_a_subnet_runs_out_of_addresses(client: EC2Client, network: Network, image_id: str) -> None:
    create(client, network.subnet_id, SecondaryPrivateIpAddressCount=9)
    subnet = client.describe_subnets(SubnetIds=[network.subnet_id])["Subnets"][0]
    assert subnet["AvailableIpAddressCount"] == 1
    assert (
        refusal(client.run_instances, ImageId=image_id, MinCount=2, MaxCount=2, SubnetId=network.subnet_id)
        == "InsufficientFreeAddressesInSubnet"
    )
    last = interface(client, create(client, network.subnet_id))["PrivateIpAddress"]
    assert ipaddress.ip_address(last) in ipaddress.ip_network("192.168.1.0/28")
    assert refusal(client.create_network_interface, SubnetId=network.subnet_id) == "InsufficientFreeAddressesInSubnet"


def test_ipv6_needs_a_subnet_that_has_it(client: EC2Client) -> None:
    vpc_id = client.create_vpc(CidrBlock="192.168.0.0/16")["Vpc"]["VpcId"]
    subnet_id = client.create_subnet(VpcId=vpc_id, CidrBlock="192.168.1.0/24")["Subnet"]["SubnetId"]
    assert refusal(client.create_network_interface, SubnetId=subnet_id, Ipv6AddressCount=1) == "InvalidParameterValue"


def test_ipv6_count_overrides_the_subnets_assignment(client: EC2Client, network: Network) -> None:
    client.modify_subnet_attribute(SubnetId=network.subnet_id, AssignIpv6AddressOnCreation={"Value": True})
    assigned = interface(client, create(client, network.subnet_id))
    assert len(assigned["Ipv6Addresses"]) == 1
    assert not interface(client, create(client, network.subnet_id, Ipv6AddressCount=0)).get("Ipv6Addresses")
    named = assigned["Ipv6Addresses"][0]["Ipv6Address"]
    client.delete_network_interface(NetworkInterfaceId=assigned["NetworkInterfaceId"])
    given = interface(client, create(client, network.subnet_id, Ipv6Addresses=[{"Ipv6Address": named}]))
    assert [one["Ipv6Address"] for one in given["Ipv6Addresses"]] == [named]


def test_an_unknown_security_group_is_refused(client: EC2Client, network: Network) -> None:
    call = client.create_network_interface
    assert refusal(call, SubnetId=network.subnet_id, Groups=["sg-00000000000000000"]) == "InvalidGroup.NotFound"


def test_a_security_group_of_another_vpc_is_refused(client: EC2Client, network: Network) -> None:
    groups = client.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["default"]}])["SecurityGroups"]
    foreign = next(group["GroupId"] for group in groups if group["VpcId"] != network.vpc_id)
    call = client.create_network_interface
    assert refusal(call, SubnetId=network.subnet_id, Groups=[foreign]) == "InvalidParameter"


def test_an_interface_is_attached_and_detached(client: EC2Client, network: Network, launch: Launch) -> None:
    instance_id = launch(SubnetId=network.subnet_id)
    interface_id = create(client, network.subnet_id)
    attachment_id = attach(client, interface_id, instance_id)
    attached = interface(client, interface_id)
    assert attached["Status"] == "in-use"
    assert attached["Attachment"]["InstanceId"] == instance_id
    assert attached["Attachment"]["DeviceIndex"] == 1
    listed = [one["NetworkInterfaceId"] for one in describe(client, instance_id)["NetworkInterfaces"]]
    assert listed[1:] == [interface_id]
    detach(client, interface_id, attachment_id)
    assert "Attachment" not in interface(client, interface_id)
    assert len(describe(client, instance_id)["NetworkInterfaces"]) == 1
    client.delete_network_interface(NetworkInterfaceId=interface_id)


def test_what_is_attached_is_neither_attached_again_nor_deleted(
    client: EC2Client, network: Network, launch: Launch
) -> None:
    instance_id = launch(SubnetId=network.subnet_id)
    first, second = create(client, network.subnet_id), create(client, network.subnet_id)
    attach(client, first, instance_id)
    call = client.attach_network_interface
    again = {"InstanceId": instance_id, "DeviceIndex": 2, "NetworkInterfaceId": first}
    assert refusal(call, **again) == "InvalidNetworkInterface.InUse"
    same_index = {"InstanceId": instance_id, "DeviceIndex": 1, "NetworkInterfaceId": second}
    assert refusal(call, **same_index) == "InvalidParameterValue"
    assert refusal(client.delete_network_interface, NetworkInterfaceId=first) == "InvalidParameterValue"


def test_the_primary_interface_cannot_be_detached(client: EC2Client, launch: Launch) -> None:
    attachment = interface(client, primary(client, launch()))["Attachment"]
    assert refusal(client.detach_network_interface, AttachmentId=attachment["AttachmentId"]) == "OperationNotPermitted"


def test_an_attachment_that_there_is_not_cannot_be_undone(client: EC2Client) -> None:
    call = client.detach_network_interface
    assert refusal(call, AttachmentId="eni-attach-00000000") == "InvalidAttachmentID.NotFound"


def test_no_more_interfaces_are_attached_than_the_type_takes(
    client: EC2Client, network: Network, launch: Launch
) -> None:
    instance_id = launch(SubnetId=network.subnet_id, InstanceType="t3.micro")
    attach(client, create(client, network.subnet_id), instance_id)
    assert (
        refusal(
            client.attach_network_interface,
            NetworkInterfaceId=create(client, network.subnet_id),
            InstanceId=instance_id,
            DeviceIndex=2,
        )
        == "AttachmentLimitExceeded"
    )


def test_an_interface_is_attached_in_its_own_zone_only(client: EC2Client, network: Network, launch: Launch) -> None:
    elsewhere = client.create_subnet(VpcId=network.vpc_id, CidrBlock="192.168.2.0/24", AvailabilityZone="us-east-1b")[
        "Subnet"
    ]["SubnetId"]
    interface_id = create(client, elsewhere)
    wanted = {"NetworkInterfaceId": interface_id, "InstanceId": launch(SubnetId=network.subnet_id), "DeviceIndex": 1}
    assert refusal(client.attach_network_interface, **wanted) == "InvalidParameterCombination"


def test_interfaces_go_with_their_instance_if_they_are_to(client: EC2Client, network: Network, launch: Launch) -> None:
    instance_id = launch(SubnetId=network.subnet_id)
    kept, deleted = create(client, network.subnet_id), create(client, network.subnet_id)
    attach(client, kept, instance_id, 1)
    attachment_id = attach(client, deleted, instance_id, 2)
    client.modify_network_interface_attribute(
        NetworkInterfaceId=deleted, Attachment={"AttachmentId": attachment_id, "DeleteOnTermination": True}
    )
    first = primary(client, instance_id)
    client.terminate_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "terminated")
    assert interface(client, kept)["Status"] == "available"
    for gone in (first, deleted):
        call = client.describe_network_interfaces
        assert refusal(call, NetworkInterfaceIds=[gone]) == "InvalidNetworkInterfaceID.NotFound"


def test_a_launch_with_several_interfaces_has_all_of_them(client: EC2Client, network: Network, launch: Launch) -> None:
    given = create(client, network.subnet_id)
    specs = [
        {"DeviceIndex": 0, "SubnetId": network.subnet_id, "SecondaryPrivateIpAddressCount": 1, "Ipv6AddressCount": 1},
        {"DeviceIndex": 1, "NetworkInterfaceId": given},
        {"DeviceIndex": 2, "SubnetId": network.subnet_id, "DeleteOnTermination": False},
    ]
    tags = [{"ResourceType": "network-interface", "Tags": [{"Key": "of", "Value": "the launch"}]}]
    instance_id = launch(NetworkInterfaces=specs, TagSpecifications=tags)
    found = {one["Attachment"]["DeviceIndex"]: one for one in describe(client, instance_id)["NetworkInterfaces"]}
    assert len(private_ips(found[0])) == 2
    assert len(found[0]["Ipv6Addresses"]) == 1
    assert found[1]["NetworkInterfaceId"] == given
    assert [found[index]["Attachment"]["DeleteOnTermination"] for index in (0, 1, 2)] == [True, False, False]
    tagged = interface(client, found[0]["NetworkInterfaceId"])["TagSet"]
    assert tagged == [{"Key": "of", "Value": "the launch"}]
    assert "PublicIpAddress" not in describe(client, instance_id)
    assert describe(client, instance_id)["SubnetId"] == network.subnet_id


@pytest.mark.parametrize("said", [(True, None, True), (True, False, False), (False, True, True)])
def test_public_address_follows_the_subnet_or_the_launch(
    client: EC2Client, network: Network, launch: Launch, said: tuple[bool, bool | None, bool]
) -> None:
    by_subnet, asked, expected = said
    client.modify_subnet_attribute(SubnetId=network.subnet_id, MapPublicIpOnLaunch={"Value": by_subnet})
    spec: dict[str, Any] = {"DeviceIndex": 0, "SubnetId": network.subnet_id}
    if asked is not None:
        spec["AssociatePublicIpAddress"] = asked
    assert ("PublicIpAddress" in describe(client, launch(NetworkInterfaces=[spec]))) is expected


def test_private_addresses_are_assigned_and_unassigned(client: EC2Client, network: Network) -> None:
    interface_id = create(client, network.subnet_id)
    answer = client.assign_private_ip_addresses(NetworkInterfaceId=interface_id, SecondaryPrivateIpAddressCount=2)
    new = [one["PrivateIpAddress"] for one in answer["AssignedPrivateIpAddresses"]]
    assert private_ips(interface(client, interface_id))[1:] == new
    client.unassign_private_ip_addresses(NetworkInterfaceId=interface_id, PrivateIpAddresses=new[:1])
    assert private_ips(interface(client, interface_id))[1:] == new[1:]
    first = private_ips(interface(client, interface_id))[0]
    call = client.unassign_private_ip_addresses
    assert refusal(call, NetworkInterfaceId=interface_id, PrivateIpAddresses=[first]) == "InvalidParameterValue"


def test_ipv6_addresses_are_assigned_and_unassigned(client: EC2Client, network: Network) -> None:
    interface_id = create(client, network.subnet_id)
    answer = client.assign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6AddressCount=2)
    new = answer["AssignedIpv6Addresses"]
    assert [one["Ipv6Address"] for one in interface(client, interface_id)["Ipv6Addresses"]] == new
    client.unassign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6Addresses=new[:1])
    assert [one["Ipv6Address"] for one in interface(client, interface_id)["Ipv6Addresses"]] == new[1:]


def test_an_instance_takes_no_more_addresses_than_its_type(client: EC2Client, network: Network, launch: Launch) -> None:
    first = primary(client, launch(SubnetId=network.subnet_id, InstanceType="t3.micro"))
    assert (
        refusal(client.assign_private_ip_addresses, NetworkInterfaceId=first, SecondaryPrivateIpAddressCount=2)
        == "PrivateIpAddressLimitExceeded"
    )


def test_the_groups_of_an_instance_are_those_of_its_primary_interface(
    client: EC2Client, network: Network, launch: Launch
) -> None:
    group_id = client.create_security_group(GroupName="one", Description="one", VpcId=network.vpc_id)["GroupId"]
    instance_id = launch(SubnetId=network.subnet_id)
    client.modify_instance_attribute(InstanceId=instance_id, Groups=[group_id])
    first = primary(client, instance_id)
    assert [one["GroupId"] for one in interface(client, first)["Groups"]] == [group_id]
    assert [one["GroupId"] for one in describe(client, instance_id)["SecurityGroups"]] == [group_id]


def test_interfaces_are_found_by_what_they_are(client: EC2Client, network: Network) -> None:
    found = interface(client, create(client, network.subnet_id, SecondaryPrivateIpAddressCount=1))
    for name, value in {
        "addresses.private-ip-address": private_ips(found)[1],
        "mac-address": found["MacAddress"],
    }.items():
        filters: Any = [{"Name": name, "Values": [value]}, {"Name": "vpc-id", "Values": [network.vpc_id]}]
        listed = client.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
        assert [one["NetworkInterfaceId"] for one in listed] == [found["NetworkInterfaceId"]], name


def test_a_launch_that_fails_leaves_nothing(client: EC2Client, network: Network, image_id: str) -> None:
    kept = create(client, network.subnet_id, PrivateIpAddress="192.168.1.5")
    specs: Any = [
        {"DeviceIndex": 0, "SubnetId": network.subnet_id},
        {"DeviceIndex": 1, "NetworkInterfaceId": kept},
        {"DeviceIndex": 2, "SubnetId": network.subnet_id, "PrivateIpAddress": "192.168.1.5"},
    ]
    wanted: dict[str, Any] = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1}
    assert refusal(client.run_instances, NetworkInterfaces=specs, **wanted) == "InvalidIPAddress.InUse"
    in_subnet: Any = [{"Name": "subnet-id", "Values": [network.subnet_id]}]
    left = client.describe_network_interfaces(Filters=in_subnet)["NetworkInterfaces"]
    assert [(one["NetworkInterfaceId"], one["Status"]) for one in left] == [(kept, "available")]
    assert client.describe_instances(Filters=in_subnet)["Reservations"] == []
    launched = client.run_instances(SubnetId=network.subnet_id, **wanted)["Instances"][0]
    assert len(launched["NetworkInterfaces"]) == 1


def test_several_instances_cannot_have_the_same_address(client: EC2Client, network: Network, image_id: str) -> None:
    wanted: dict[str, Any] = {"ImageId": image_id, "MinCount": 2, "MaxCount": 2, "SubnetId": network.subnet_id}
    call = client.run_instances
    assert refusal(call, PrivateIpAddress="192.168.1.6", **wanted) == "InvalidParameterCombination"


def test_launch_has_the_requested_ipv6_addresses(client: EC2Client, network: Network, launch: Launch) -> None:
    named = str(IPv6Network(network.ipv6_cidr)[0x99])
    told = describe(client, launch(SubnetId=network.subnet_id, Ipv6Addresses=[{"Ipv6Address": named}]))
    assert [one["Ipv6Address"] for one in told["NetworkInterfaces"][0]["Ipv6Addresses"]] == [named]
    counted = describe(client, launch(SubnetId=network.subnet_id, Ipv6AddressCount=2))
    assert len(counted["NetworkInterfaces"][0]["Ipv6Addresses"]) == 2
