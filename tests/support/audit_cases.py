"""For each action that changes something: a valid request, and the calls that show what it did."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from support.audit_world import World
from support.uefi import KEYS, uefi_data

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """How an action is tried.

    Args:
        base: makes a valid request, with as few members as that takes.
        look: everything that shows the effect of a request; given the world, the request, and the response.
        values: samples for members whose value has to mean something, by the member's path; a function gets the world.
        beside: members that another one needs, by path.
        elsewhere: kept members whose effect no call shows, and the test that shows it.
        as_on_ec2: members that are accepted without effect, since EC2 accepts them so.
    """

    base: Callable[[World], Parameters]
    look: Callable[[World, Parameters, Any], object]
    values: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Callable[[World], Parameters]] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    as_on_ec2: frozenset[str] = frozenset()


CASES: dict[str, Case] = {}


def response_of(_world: World, _request: Parameters, response: Any) -> object:
    return response


def case(
    action: str,
    base: Callable[[World], Parameters],
    look: Callable[[World, Parameters, Any], object] = response_of,
    values: Mapping[str, Any] | None = None,
    **more: Any,
) -> None:
    assert action not in CASES, action
    CASES[action] = Case(base, look, values or {}, **more)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# Instances


def whole_instance(w: World, instance: str) -> object:
    c = w.c
    w._wait(lambda: w.instance_of(instance)["State"]["Name"] not in {"pending", "stopping", "shutting-down"}, instance)
    described = c.describe_instances(InstanceIds=[instance])["Reservations"][0]
    volumes = [one["Ebs"]["VolumeId"] for one in described["Instances"][0].get("BlockDeviceMappings", [])]
    attributes = (
        "userData",
        "disableApiTermination",
        "disableApiStop",
        "instanceInitiatedShutdownBehavior",
        "sourceDestCheck",
    )
    interfaces = [one["NetworkInterfaceId"] for one in described["Instances"][0].get("NetworkInterfaces", [])]
    return [
        described,
        c.describe_volumes(VolumeIds=volumes)["Volumes"] if volumes else [],
        c.describe_network_interfaces(Filters=[{"Name": "network-interface-id", "Values": interfaces or ["-"]}])[
            "NetworkInterfaces"
        ],
        [c.describe_instance_attribute(InstanceId=instance, Attribute=one) for one in attributes],
        c.describe_instance_credit_specifications(InstanceIds=[instance]),
    ]


def launched(w: World, _p: Parameters, response: Any) -> object:
    return [len(response["Instances"]), whole_instance(w, response["Instances"][0]["InstanceId"])]


def one_launch(w: World) -> Parameters:
    return {"ImageId": w.image, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small", "SubnetId": w.subnet}


def interface_launch(w: World) -> Parameters:
    return {"SubnetId": None, "NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": w.subnet}]}


def public_interface_launch(w: World) -> Parameters:
    return {"SubnetId": None, "NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": w.new_subnet()}]}


EXTRA_DISK = {"BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3}}]}

case(
    "RunInstances",
    one_launch,
    launched,
    {
        "MaxCount": 2,
        "InstanceType": "t3.large",
        "KeyName": lambda w: w.key,
        "SecurityGroupIds": lambda w: w.group,
        "SecurityGroups": lambda w: w.default_vpc_group(),
        "SubnetId": lambda w: w.new_subnet(),
        "UserData": b64("#!/bin/sh\n"),
        "ImageId": lambda w: w.new_image(),
        "PrivateIpAddress": lambda w: w.free_ip(),
        "Ipv6Addresses.Ipv6Address": lambda w: w.ipv6_block.replace("::/56", "::77"),
        "Ipv6AddressCount": 1,
        "Placement.AvailabilityZone": "us-east-1b",
        "BlockDeviceMappings.DeviceName": "/dev/sdh",
        "BlockDeviceMappings.Ebs.SnapshotId": lambda w: w.image_snapshot,
        "BlockDeviceMappings.Ebs.VolumeSize": 5,
        "BlockDeviceMappings.Ebs.Iops": 3200,
        "BlockDeviceMappings.Ebs.Throughput": 200,
        "BlockDeviceMappings.VirtualName": "ephemeral0",
        "BlockDeviceMappings.NoDevice": "",
        "NetworkInterfaces.NetworkInterfaceId": lambda w: w.new_interface(),
        "NetworkInterfaces.SubnetId": lambda w: w.new_subnet(),
        "NetworkInterfaces.Groups": lambda w: w.group,
        "NetworkInterfaces.PrivateIpAddress": lambda w: w.free_ip(),
        "NetworkInterfaces.PrivateIpAddresses.PrivateIpAddress": lambda w: w.free_ip(),
        "NetworkInterfaces.PrivateIpAddresses.Primary": True,
        "NetworkInterfaces.SecondaryPrivateIpAddressCount": 2,
        "NetworkInterfaces.Ipv6Addresses.Ipv6Address": lambda w: w.ipv6_block.replace("::/56", "::79"),
        "NetworkInterfaces.Ipv6AddressCount": 1,
        "NetworkInterfaces.DeviceIndex": 1,
        "TagSpecifications.ResourceType": "volume",
        "MetadataOptions.HttpPutResponseHopLimit": 3,
    },
    beside={
        "SecurityGroups": lambda _w: {"SubnetId": None},
        "Placement.AvailabilityZone": lambda _w: {"SubnetId": None},
        "BlockDeviceMappings": lambda _w: EXTRA_DISK,
        "BlockDeviceMappings.Ebs.Iops": lambda _w: {
            "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10, "VolumeType": "gp3"}}]
        },
        "BlockDeviceMappings.Ebs.Throughput": lambda _w: {
            "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 10, "VolumeType": "gp3"}}]
        },
        "BlockDeviceMappings.NoDevice": lambda w: {"BlockDeviceMappings": [{"DeviceName": "/dev/sdf"}]},
        "NetworkInterfaces": interface_launch,
        "NetworkInterfaces.AssociatePublicIpAddress": public_interface_launch,
        "NetworkInterfaces.NetworkInterfaceId": lambda _w: {
            "SubnetId": None,
            "NetworkInterfaces": [{"DeviceIndex": 0}],
        },
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
    },
)


def of_instances(w: World, p: Parameters, response: Any) -> object:
    ids = p.get("InstanceIds") or [p["InstanceId"]]
    return [response, [whole_instance(w, one) for one in ids]]


case("StartInstances", lambda w: {"InstanceIds": [w.new_instance("stopped")]}, of_instances)
case("StopInstances", lambda w: {"InstanceIds": [w.new_instance()]}, of_instances)
case("RebootInstances", lambda w: {"InstanceIds": [w.new_instance()]}, of_instances)
case("TerminateInstances", lambda w: {"InstanceIds": [w.new_instance()]}, of_instances)
case("MonitorInstances", lambda w: {"InstanceIds": [w.new_instance()]}, of_instances)
case("UnmonitorInstances", lambda w: {"InstanceIds": [w.new_instance()]}, of_instances)
case(
    "ModifyInstanceAttribute",
    lambda w: {"InstanceId": w.new_instance("stopped")},
    of_instances,
    {
        "InstanceType.Value": "t3.large",
        "UserData.Value": b64("#!/bin/sh\n"),
        "Groups": lambda w: w.group,
        "BlockDeviceMappings.DeviceName": "/dev/xvda",
        "BlockDeviceMappings.Ebs.DeleteOnTermination": False,
        "SourceDestCheck.Value": False,
    },
    beside={
        "BlockDeviceMappings.DeviceName": lambda _w: {"BlockDeviceMappings": [{"Ebs": {"DeleteOnTermination": False}}]},
        "BlockDeviceMappings.Ebs": lambda _w: {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda"}]},
        "Value": lambda _w: {"Attribute": "instanceInitiatedShutdownBehavior", "Value": "terminate"},
        "Attribute": lambda _w: {"Attribute": "instanceInitiatedShutdownBehavior", "Value": "terminate"},
    },
)
case(
    "ModifyInstanceMetadataOptions",
    lambda w: {"InstanceId": w.new_instance(), "HttpTokens": "required"},
    of_instances,
    {"HttpPutResponseHopLimit": 5},
)

# Images


ORGANIZATION = "arn:aws:organizations::111122223333:organization/o-abcdefghij"
UNIT = "arn:aws:organizations::111122223333:ou/o-abcdefghij/ou-abcd-abcdefgh"
SHARED = [
    {"UserId": "111122223333"},
    {"Group": "all"},
    {"OrganizationArn": ORGANIZATION},
    {"OrganizationalUnitArn": UNIT},
]
HIDDEN_TOO = {"IncludeDeprecated": True, "IncludeDisabled": True}


def of_image(w: World, p: Parameters, response: Any) -> object:
    image = (response or {}).get("ImageId") or p["ImageId"]
    c = w.c

    def settled() -> bool:
        found = c.describe_images(Filters=[{"Name": "image-id", "Values": [image]}])["Images"]
        return not found or found[0]["State"] != "pending"

    w._wait(settled, image)
    found = c.describe_images(Filters=[{"Name": "image-id", "Values": [image]}], **HIDDEN_TOO)["Images"]
    snapshots = [
        one["Ebs"]["SnapshotId"]
        for one in (found[0]["BlockDeviceMappings"] if found else [])
        if "SnapshotId" in one.get("Ebs", {})
    ]
    return [
        found,
        c.describe_snapshots(SnapshotIds=snapshots)["Snapshots"] if snapshots else [],
        c.describe_image_attribute(ImageId=image, Attribute="launchPermission") if found else None,
        c.describe_image_attribute(ImageId=image, Attribute="description") if found else None,
        c.describe_image_attribute(ImageId=image, Attribute="uefiData") if found else None,
    ]


case(
    "CreateImage",
    lambda w: {"InstanceId": w.instance, "Name": w.name("image")},
    of_image,
    {
        "Name": lambda w: w.name("chosen"),
        "BlockDeviceMappings.DeviceName": "/dev/sdh",
        "BlockDeviceMappings.Ebs.SnapshotId": lambda w: w.image_snapshot,
        "BlockDeviceMappings.Ebs.VolumeSize": 5,
        "TagSpecifications.ResourceType": "snapshot",
    },
    beside={
        "BlockDeviceMappings": lambda _w: {
            "BlockDeviceMappings": [{"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 3}}]
        },
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "image", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
    },
)
case(
    "RegisterImage",
    lambda w: {
        "Name": w.name("registered"),
        "RootDeviceName": "/dev/sda1",
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": w.image_snapshot}}],
    },
    of_image,
    {
        "RootDeviceName": "/dev/sdz",
        "BlockDeviceMappings.DeviceName": "/dev/sdz",
        "BlockDeviceMappings.Ebs.SnapshotId": lambda w: w.new_snapshot(),
        "BlockDeviceMappings.Ebs.VolumeSize": 5,
        "TagSpecifications.ResourceType": "image",
        "UefiData": uefi_data(*KEYS),
    },
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "image", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
        "UefiData": lambda _w: {"BootMode": "uefi"},
    },
)
case(
    "CopyImage",
    lambda w: {"Name": w.name("copy"), "SourceImageId": w.image, "SourceRegion": "us-east-1"},
    of_image,
    {"SourceImageId": lambda w: w.new_image()},
    beside={
        "CopyImageTags": lambda w: {"SourceImageId": w.tagged_image()},
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "image", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
    },
)
case("DeregisterImage", lambda w: {"ImageId": w.new_image()}, of_image)
case(
    "ModifyImageAttribute",
    lambda w: {"ImageId": w.new_image()},
    of_image,
    {
        "LaunchPermission.Add.UserId": "111122223333",
        "LaunchPermission.Remove.UserId": "111122223333",
        "LaunchPermission.Remove.OrganizationArn": ORGANIZATION,
        "LaunchPermission.Remove.OrganizationalUnitArn": UNIT,
        "UserIds": "111122223333",
        "UserGroups": "all",
        "OrganizationArns": ORGANIZATION,
        "OrganizationalUnitArns": UNIT,
        "LaunchPermission.Add.Group": "all",
    },
    beside={
        "LaunchPermission.Remove": lambda w: {"ImageId": w.shared_image(SHARED)},
        "UserIds": lambda _w: {"Attribute": "launchPermission", "OperationType": "add"},
        "UserGroups": lambda _w: {"Attribute": "launchPermission", "OperationType": "add"},
        "OrganizationArns": lambda _w: {"Attribute": "launchPermission", "OperationType": "add"},
        "OrganizationalUnitArns": lambda _w: {"Attribute": "launchPermission", "OperationType": "add"},
        "Attribute": lambda _w: {"Attribute": "description", "Value": "changed"},
        "Value": lambda _w: {"Attribute": "description"},
        "OperationType": lambda _w: {"Attribute": "launchPermission", "UserIds": ["111122223333"]},
    },
)
case("ResetImageAttribute", lambda w: {"ImageId": w.new_image(), "Attribute": "launchPermission"}, of_image)
case("EnableImageDeprecation", lambda w: {"ImageId": w.new_image(), "DeprecateAt": "2033-01-01T00:00:00Z"}, of_image)
case("DisableImageDeprecation", lambda w: {"ImageId": w.new_image()}, of_image)
case("EnableImage", lambda w: {"ImageId": w.new_image()}, of_image)
case("DisableImage", lambda w: {"ImageId": w.new_image()}, of_image)

# Snapshots and volumes


def of_snapshot(w: World, p: Parameters, response: Any) -> object:
    snapshot = (response or {}).get("SnapshotId") or p["SnapshotId"]
    found = w.c.describe_snapshots(Filters=[{"Name": "snapshot-id", "Values": [snapshot]}])["Snapshots"]
    for one in found:
        one.pop("Progress", None), one.pop("State", None)
    return [
        found,
        w.c.describe_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission") if found else None,
    ]


SNAPSHOT_TAGS = {
    "TagSpecifications": lambda _w: {
        "TagSpecifications": [{"ResourceType": "snapshot", "Tags": [{"Key": "k", "Value": "v"}]}]
    }
}

case(
    "CreateSnapshot",
    lambda w: {"VolumeId": w.volume},
    of_snapshot,
    {"VolumeId": lambda w: w.new_volume(Size=2)},
    beside=SNAPSHOT_TAGS,
)
case(
    "CreateSnapshots",
    lambda w: {"InstanceSpecification": {"InstanceId": w.instance}},
    lambda w, _p, r: [of_snapshot(w, {}, one) for one in r["Snapshots"]],
    {"InstanceSpecification.InstanceId": lambda w: w.new_instance(**EXTRA_DISK)},
    beside={"InstanceSpecification": lambda w: {"InstanceSpecification": {"InstanceId": w.instance}}, **SNAPSHOT_TAGS},
)
case(
    "CopySnapshot",
    lambda w: {"SourceSnapshotId": w.image_snapshot, "SourceRegion": "us-east-1"},
    of_snapshot,
    {"SourceSnapshotId": lambda w: w.new_snapshot(Description="another")},
    beside=SNAPSHOT_TAGS,
)
case("DeleteSnapshot", lambda w: {"SnapshotId": w.new_snapshot()}, of_snapshot)
case(
    "ModifySnapshotAttribute",
    lambda w: {"SnapshotId": w.new_snapshot()},
    of_snapshot,
    {
        "UserIds": "111122223333",
        "GroupNames": "all",
        "CreateVolumePermission.Add.UserId": "111122223333",
        "CreateVolumePermission.Add.Group": "all",
    },
    beside={
        "UserIds": lambda _w: {"Attribute": "createVolumePermission", "OperationType": "add"},
        "GroupNames": lambda _w: {"Attribute": "createVolumePermission", "OperationType": "add"},
        "OperationType": lambda _w: {"Attribute": "createVolumePermission", "UserIds": ["111122223333"]},
        "Attribute": lambda _w: {"OperationType": "add", "UserIds": ["111122223333"]},
    },
)


def of_volume(w: World, p: Parameters, response: Any) -> object:
    volume = (response or {}).get("VolumeId") or p["VolumeId"]

    def settled() -> bool:
        found = w.c.describe_volumes(Filters=[{"Name": "volume-id", "Values": [volume]}])["Volumes"]
        return not found or (
            found[0]["State"] not in {"creating", "deleting"}
            and all(one["State"] not in {"attaching", "detaching"} for one in found[0].get("Attachments", []))
        )

    w._wait(settled, volume)
    found = w.c.describe_volumes(Filters=[{"Name": "volume-id", "Values": [volume]}])["Volumes"]
    modified = w.c.describe_volumes_modifications(VolumeIds=[volume])["VolumesModifications"] if found else []
    return [found, modified]


case(
    "CreateVolume",
    lambda w: {"AvailabilityZone": w.zone, "Size": 10},
    of_volume,
    {
        "AvailabilityZone": "us-east-1b",
        "Size": 12,
        "SnapshotId": lambda w: w.image_snapshot,
        "Iops": 4000,
        "Throughput": 300,
    },
    beside={
        "Iops": lambda _w: {"VolumeType": "gp3"},
        "Throughput": lambda _w: {"VolumeType": "gp3"},
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
    },
)
case(
    "AttachVolume",
    lambda w: {"VolumeId": w.new_volume(), "InstanceId": w.instance, "Device": w.device()},
    of_volume,
    {
        "Device": lambda w: w.device(),
        "InstanceId": lambda w: w.new_instance(),
        "VolumeId": lambda w: w.new_volume(Size=3),
    },
)


def attached(w: World) -> Parameters:
    volume, device = w.new_volume(), w.device()
    w.c.attach_volume(VolumeId=volume, InstanceId=w.instance, Device=device)
    of_volume(w, {"VolumeId": volume}, None)
    return {"VolumeId": volume}


case("DetachVolume", attached, of_volume)
case(
    "ModifyVolume",
    lambda w: {"VolumeId": w.new_volume(Size=10)},
    of_volume,
    {"Size": 20, "Iops": 4000, "Throughput": 300, "TargetSize": 20},
    beside={"Iops": lambda _w: {"VolumeType": "gp3"}, "Throughput": lambda _w: {"VolumeType": "gp3"}},
)
case("DeleteVolume", lambda w: {"VolumeId": w.new_volume()}, of_volume)


def encryption(w: World, _p: Parameters, response: Any) -> object:
    return [response, w.c.get_ebs_encryption_by_default()]


case("EnableEbsEncryptionByDefault", lambda _w: {}, encryption)
case("DisableEbsEncryptionByDefault", lambda _w: {}, encryption)

# Key pairs

PUBLIC_KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIiPWrHhVJUIfBWXqdYuBwT2JwQ1kCzFnXGNNq3vS2Vb audit"


def of_key(w: World, p: Parameters, response: Any) -> object:
    name = p.get("KeyName") or "-"
    found = w.c.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [name]}], IncludePublicKey=True)
    w.c.delete_key_pair(KeyName=name)
    return [str(response).split("BEGIN")[1:2], (response or {}).get("KeyMaterial", "")[:20], found["KeyPairs"]]


KEY_TAGS = {
    "TagSpecifications": lambda _w: {
        "TagSpecifications": [{"ResourceType": "key-pair", "Tags": [{"Key": "k", "Value": "v"}]}]
    }
}
case("CreateKeyPair", lambda _w: {"KeyName": "audit-key"}, of_key, {"KeyName": "another-key"}, beside=KEY_TAGS)
case(
    "ImportKeyPair",
    lambda _w: {"KeyName": "audit-import", "PublicKeyMaterial": PUBLIC_KEY},
    of_key,
    {"KeyName": "another-import", "PublicKeyMaterial": PUBLIC_KEY.replace(b"2Vb", b"2Vc")},
    beside=KEY_TAGS,
)
case(
    "DeleteKeyPair",
    lambda w: {"KeyName": w.new_key()[0]},
    lambda w, _p, r: [r, len(w.c.describe_key_pairs()["KeyPairs"])],
    {"KeyPairId": lambda w: w.new_key()[1]},
    beside={"KeyPairId": lambda _w: {"KeyName": None}},
)

# Security groups


def of_group(w: World, p: Parameters, response: Any) -> object:
    group = (response or {}).get("GroupId") or p.get("GroupId")
    if group is None:
        return [response, w.c.describe_security_groups()["SecurityGroups"]]
    found = w.c.describe_security_groups(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroups"]
    rules = w.c.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    return [found, rules]


case(
    "CreateSecurityGroup",
    lambda w: {"GroupName": w.name("g"), "Description": "d", "VpcId": w.vpc},
    of_group,
    {"VpcId": lambda w: w.new_vpc()},
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "security-group", "Tags": [{"Key": "k", "Value": "v"}]}]
        }
    },
)
case(
    "DeleteSecurityGroup",
    lambda w: {"GroupId": w.new_group()},
    of_group,
    {"GroupName": lambda w: w.default_vpc_group()},
    beside={"GroupName": lambda _w: {"GroupId": None}},
)

SSH_RULE = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
RULE_VALUES = {
    "IpPermissions.IpProtocol": "udp",
    "IpPermissions.FromPort": 21,
    "IpPermissions.ToPort": 23,
    "IpPermissions.IpRanges.CidrIp": "10.9.0.0/16",
    "IpPermissions.Ipv6Ranges.CidrIpv6": "2001:db8:7::/48",
    "IpPermissions.UserIdGroupPairs.GroupId": lambda w: w.new_group(),
    "IpPermissions.UserIdGroupPairs.GroupName": lambda w: w.default_vpc_group(),
    "IpPermissions.PrefixListIds.PrefixListId": lambda w: w.new_prefix_list(),
    "IpProtocol": "udp",
    "FromPort": 20,
    "ToPort": 24,
    "CidrIp": "10.8.0.0/16",
}
SHORT = {"IpPermissions": None, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "10.7.0.0/16"}
RULE_BESIDE: dict[str, Any] = {
    "IpProtocol": lambda _w: SHORT,
    "FromPort": lambda _w: {**SHORT, "ToPort": 30},
    "ToPort": lambda _w: SHORT,
    "CidrIp": lambda _w: SHORT,
    "IpPermissions.Ipv6Ranges": lambda _w: {
        "IpPermissions": [
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}]}
        ]
    },
    "IpPermissions.UserIdGroupPairs": lambda w: {
        "IpPermissions": [
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": [{"GroupId": w.group}]}
        ]
    },
    "IpPermissions.PrefixListIds": lambda w: {
        "IpPermissions": [
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "PrefixListIds": [{"PrefixListId": w.prefix_list}]}
        ]
    },
    "TagSpecifications": lambda _w: {
        "TagSpecifications": [{"ResourceType": "security-group-rule", "Tags": [{"Key": "k", "Value": "v"}]}]
    },
}
EGRESS_BESIDE = {path: beside for path, beside in RULE_BESIDE.items() if "." in path or path == "TagSpecifications"}
case(
    "AuthorizeSecurityGroupIngress",
    lambda w: {"GroupId": w.new_group(), "IpPermissions": [SSH_RULE]},
    of_group,
    RULE_VALUES,
    beside=RULE_BESIDE,
)
case(
    "AuthorizeSecurityGroupEgress",
    lambda w: {"GroupId": w.new_group(), "IpPermissions": [SSH_RULE]},
    of_group,
    RULE_VALUES,
    beside=EGRESS_BESIDE,
)
case(
    "RevokeSecurityGroupIngress",
    lambda w: {"GroupId": w.group_with_rules(), "IpPermissions": [SSH_RULE]},
    of_group,
    {**RULE_VALUES, "SecurityGroupRuleIds": "sgr-0123456789abcdef0"},
    beside={"SecurityGroupRuleIds": lambda _w: {"IpPermissions": None}},
)
case(
    "RevokeSecurityGroupEgress",
    lambda w: {"GroupId": w.group_with_rules(egress=True), "IpPermissions": [SSH_RULE]},
    of_group,
    {**RULE_VALUES, "SecurityGroupRuleIds": "sgr-0123456789abcdef0"},
    beside={"SecurityGroupRuleIds": lambda _w: {"IpPermissions": None}},
)
case(
    "ModifySecurityGroupRules",
    lambda w: {
        "GroupId": w.group_with_rules(),
        "SecurityGroupRules": [
            {
                "SecurityGroupRuleId": w.last_rules[0],
                "SecurityGroupRule": {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIpv4": "10.0.0.0/8"},
            }
        ],
    },
    of_group,
    {
        "SecurityGroupRules.SecurityGroupRule.CidrIpv4": "10.99.0.0/16",
        "SecurityGroupRules.SecurityGroupRule.IpProtocol": "udp",
        "SecurityGroupRules.SecurityGroupRule.ToPort": 23,
        "SecurityGroupRules.SecurityGroupRule.FromPort": 21,
    },
)
for _direction in ("Ingress", "Egress"):
    case(
        f"UpdateSecurityGroupRuleDescriptions{_direction}",
        lambda w, e=_direction == "Egress": {
            "GroupId": w.group_with_rules(egress=e),
            "IpPermissions": [{**SSH_RULE, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "first"}]}],
        },
        of_group,
        {"SecurityGroupRuleDescriptions.SecurityGroupRuleId": lambda w: w.last_rules[0]},
        beside={
            "SecurityGroupRuleDescriptions": lambda w: {
                "IpPermissions": None,
                "SecurityGroupRuleDescriptions": [{"SecurityGroupRuleId": w.last_rules[0], "Description": "second"}],
            }
        },
    )

# Network interfaces


def of_interface(w: World, p: Parameters, response: Any) -> object:
    interface = (response or {}).get("NetworkInterface", {}).get("NetworkInterfaceId") or p.get("NetworkInterfaceId")
    interface = interface or w.last_interface

    def described() -> list[Any]:
        filters = [{"Name": "network-interface-id", "Values": [interface]}]
        return w.c.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]

    w._wait(
        lambda: all(one.get("Attachment", {}).get("Status") not in {"attaching", "detaching"} for one in described()),
        interface,
    )
    return described()


case(
    "CreateNetworkInterface",
    lambda w: {"SubnetId": w.subnet},
    of_interface,
    {
        "SubnetId": lambda w: w.new_subnet(),
        "Groups": lambda w: w.group,
        "PrivateIpAddress": lambda w: w.free_ip(),
        "PrivateIpAddresses.PrivateIpAddress": lambda w: w.free_ip(),
        "PrivateIpAddresses.Primary": True,
        "SecondaryPrivateIpAddressCount": 2,
        "Ipv6Addresses.Ipv6Address": lambda w: w.free_ipv6(),
        "Ipv6AddressCount": 1,
    },
    beside={
        "PrivateIpAddresses.Primary": lambda w: {"PrivateIpAddresses": [{"PrivateIpAddress": w.free_ip()}]},
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "network-interface", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
    },
)
case("DeleteNetworkInterface", lambda w: {"NetworkInterfaceId": w.new_interface()}, of_interface)
case(
    "AttachNetworkInterface",
    lambda w: {"NetworkInterfaceId": w.new_interface(), "InstanceId": w.new_instance(), "DeviceIndex": 1},
    of_interface,
    {"DeviceIndex": 2, "InstanceId": lambda w: w.new_instance(), "NetworkInterfaceId": lambda w: w.new_interface()},
)
case("DetachNetworkInterface", lambda w: {"AttachmentId": w.attach_interface()}, of_interface)
case(
    "ModifyNetworkInterfaceAttribute",
    lambda w: {"NetworkInterfaceId": w.attached_interface(), "Description": {"Value": "x"}},
    of_interface,
    {
        "Groups": lambda w: w.group,
        "SourceDestCheck.Value": False,
        "Attachment.AttachmentId": lambda w: w.last_attachment,
        "Attachment.DeleteOnTermination": False,
    },
    beside={
        "Attachment": lambda w: {
            "Attachment": {"AttachmentId": w.last_attachment, "DeleteOnTermination": True},
            "Description": None,
        },
        "Groups": lambda _w: {"Description": None},
        "SourceDestCheck": lambda _w: {"Description": None},
    },
)
case(
    "AssignPrivateIpAddresses",
    lambda w: {"NetworkInterfaceId": w.new_interface(), "SecondaryPrivateIpAddressCount": 1},
    of_interface,
    {"PrivateIpAddresses": lambda w: w.free_ip(), "SecondaryPrivateIpAddressCount": 2},
    beside={"PrivateIpAddresses": lambda _w: {"SecondaryPrivateIpAddressCount": None}},
)
case(
    "UnassignPrivateIpAddresses",
    lambda w: {"NetworkInterfaceId": w.rich_interface(), "PrivateIpAddresses": [w.last_ip]},
    of_interface,
)
case(
    "AssignIpv6Addresses",
    lambda w: {"NetworkInterfaceId": w.new_interface(), "Ipv6AddressCount": 1},
    of_interface,
    {"Ipv6Addresses": lambda w: w.free_ipv6(), "Ipv6AddressCount": 2},
    beside={"Ipv6Addresses": lambda _w: {"Ipv6AddressCount": None}},
)
case(
    "UnassignIpv6Addresses",
    lambda w: {"NetworkInterfaceId": w.rich_interface(), "Ipv6Addresses": [w.last_ipv6]},
    of_interface,
)

# Addresses


def of_address(w: World, p: Parameters, response: Any) -> object:
    allocation = (response or {}).get("AllocationId") or p.get("AllocationId") or w.last_allocation
    return [response, w.c.describe_addresses(Filters=[{"Name": "allocation-id", "Values": [allocation]}])["Addresses"]]


case(
    "AllocateAddress",
    lambda _w: {},
    of_address,
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "elastic-ip", "Tags": [{"Key": "k", "Value": "v"}]}]
        }
    },
)
case(
    "AssociateAddress",
    lambda w: {"AllocationId": w.new_address(), "NetworkInterfaceId": w.new_interface()},
    of_address,
    {"InstanceId": lambda w: w.instance, "PrivateIpAddress": lambda w: w.last_ip},
    beside={
        "InstanceId": lambda _w: {"NetworkInterfaceId": None},
        "PrivateIpAddress": lambda w: {"NetworkInterfaceId": w.rich_interface()},
    },
)
case("DisassociateAddress", lambda w: {"AssociationId": w.associated_address()}, of_address)
case("ReleaseAddress", lambda w: {"AllocationId": w.new_address()}, of_address)

# VPCs and what they hold


def of_vpc(w: World, p: Parameters, response: Any) -> object:
    vpc = (response or {}).get("Vpc", {}).get("VpcId") or p["VpcId"]
    found = w.c.describe_vpcs(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Vpcs"]
    names = ("enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics")
    return [found, [w.c.describe_vpc_attribute(VpcId=vpc, Attribute=one) for one in names] if found else []]


case(
    "CreateVpc",
    lambda w: {"CidrBlock": w.new_cidr()},
    of_vpc,
    {"CidrBlock": "10.251.0.0/20"},
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "vpc", "Tags": [{"Key": "k", "Value": "v"}]}]
        }
    },
)
case("DeleteVpc", lambda w: {"VpcId": w.new_vpc()}, of_vpc)
case(
    "ModifyVpcAttribute",
    lambda w: {"VpcId": w.new_vpc(), "EnableDnsHostnames": {"Value": True}},
    of_vpc,
    {"EnableDnsSupport.Value": False},
    beside={
        "EnableDnsSupport": lambda _w: {"EnableDnsHostnames": None},
        "EnableNetworkAddressUsageMetrics": lambda _w: {"EnableDnsHostnames": None},
    },
)
case("AssociateVpcCidrBlock", lambda w: {"VpcId": w.new_vpc()}, of_vpc, {"CidrBlock": "100.64.0.0/16"})
case(
    "DisassociateVpcCidrBlock",
    lambda w: {"AssociationId": w.vpc_association()},
    lambda w, _p, _r: of_vpc(w, {"VpcId": w.last_vpc}, None),
)


def of_subnet(w: World, p: Parameters, response: Any) -> object:
    subnet = (response or {}).get("Subnet", {}).get("SubnetId") or p.get("SubnetId") or w.last_subnet
    return w.c.describe_subnets(Filters=[{"Name": "subnet-id", "Values": [subnet]}])["Subnets"]


case(
    "CreateSubnet",
    lambda w: {"VpcId": w.vpc, "CidrBlock": w.free_block()},
    of_subnet,
    {
        "CidrBlock": lambda w: w.free_block(),
        "VpcId": lambda w: w.new_vpc(),
        "AvailabilityZone": "us-east-1c",
        "AvailabilityZoneId": "use1-az4",
        "Ipv6CidrBlock": lambda w: w.free_ipv6_block(),
    },
    beside={
        "AvailabilityZone": lambda _w: {"AvailabilityZone": "us-east-1a"},
        "AvailabilityZoneId": lambda _w: {"AvailabilityZoneId": "use1-az1"},
        "VpcId": lambda w: w.vpc_and_block(),
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "subnet", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
    },
)
case("DeleteSubnet", lambda w: {"SubnetId": w.new_subnet()}, of_subnet)
case(
    "ModifySubnetAttribute",
    lambda w: {"SubnetId": w.dual_subnet(), "MapPublicIpOnLaunch": {"Value": True}},
    of_subnet,
)
case(
    "AssociateSubnetCidrBlock",
    lambda w: {"SubnetId": w.plain_subnet(), "Ipv6CidrBlock": w.free_ipv6_block()},
    of_subnet,
)
case("DisassociateSubnetCidrBlock", lambda w: {"AssociationId": w.subnet_association()}, of_subnet)


def of_tables(w: World, p: Parameters, response: Any) -> object:
    table = (response or {}).get("RouteTable", {}).get("RouteTableId") or p.get("RouteTableId") or w.last_table
    return w.c.describe_route_tables(Filters=[{"Name": "route-table-id", "Values": [table]}])["RouteTables"]


case(
    "CreateRouteTable",
    lambda w: {"VpcId": w.vpc},
    of_tables,
    {"VpcId": lambda w: w.new_vpc()},
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "route-table", "Tags": [{"Key": "k", "Value": "v"}]}]
        }
    },
)
case("DeleteRouteTable", lambda w: {"RouteTableId": w.new_table()}, of_tables)
case(
    "AssociateRouteTable",
    lambda w: {"RouteTableId": w.new_table(), "SubnetId": w.plain_subnet()},
    of_tables,
    {"GatewayId": lambda w: w.gateway},
    beside={"GatewayId": lambda _w: {"SubnetId": None}},
)
case("DisassociateRouteTable", lambda w: {"AssociationId": w.table_association()}, of_tables)
case(
    "ReplaceRouteTableAssociation",
    lambda w: {"AssociationId": w.table_association(), "RouteTableId": w.new_table()},
    of_tables,
)
ROUTE_VALUES: dict[str, Any] = {
    "DestinationCidrBlock": "10.200.0.0/16",
    "DestinationIpv6CidrBlock": "::/0",
    "DestinationPrefixListId": lambda w: w.prefix_list,
    "GatewayId": "igw-0123456789abcdef0",
    "NetworkInterfaceId": "eni-0123456789abcdef0",
    "InstanceId": lambda w: w.instance,
    "NatGatewayId": lambda w: w.nat_gateway,
    "EgressOnlyInternetGatewayId": lambda w: w.egress_gateway,
    "VpcPeeringConnectionId": lambda w: w.peering,
}
ROUTE_BESIDE: dict[str, Any] = {
    "DestinationIpv6CidrBlock": lambda _w: {"DestinationCidrBlock": None},
    "DestinationPrefixListId": lambda _w: {"DestinationCidrBlock": None},
    "EgressOnlyInternetGatewayId": lambda _w: {
        "DestinationCidrBlock": None,
        "DestinationIpv6CidrBlock": "::/0",
        "GatewayId": None,
    },
    **{
        name: (lambda _w: {"GatewayId": None})
        for name in ("NetworkInterfaceId", "InstanceId", "NatGatewayId", "VpcPeeringConnectionId")
    },
}
case(
    "CreateRoute",
    lambda w: {"RouteTableId": w.new_table(), "DestinationCidrBlock": "10.199.0.0/16", "GatewayId": w.gateway},
    of_tables,
    ROUTE_VALUES,
    beside=ROUTE_BESIDE,
)
case(
    "ReplaceRoute",
    lambda w: {
        "RouteTableId": w.table_with_route(),
        "DestinationCidrBlock": "10.199.0.0/16",
        "NetworkInterfaceId": w.interface,
    },
    of_tables,
    {k: v for k, v in ROUTE_VALUES.items() if not k.startswith("Destination")},
    beside={
        k: (lambda _w: {"NetworkInterfaceId": None})
        for k in ("GatewayId", "InstanceId", "NatGatewayId", "VpcPeeringConnectionId")
    },
)
case(
    "DeleteRoute", lambda w: {"RouteTableId": w.table_with_route(), "DestinationCidrBlock": "10.199.0.0/16"}, of_tables
)


def of_gateway(w: World, p: Parameters, response: Any) -> object:
    gateway = (response or {}).get("InternetGateway", {}).get("InternetGatewayId") or p["InternetGatewayId"]
    return w.c.describe_internet_gateways(Filters=[{"Name": "internet-gateway-id", "Values": [gateway]}])[
        "InternetGateways"
    ]


case(
    "CreateInternetGateway",
    lambda _w: {},
    of_gateway,
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "internet-gateway", "Tags": [{"Key": "k", "Value": "v"}]}]
        }
    },
)
case("DeleteInternetGateway", lambda w: {"InternetGatewayId": w.new_gateway()}, of_gateway)
case("AttachInternetGateway", lambda w: {"InternetGatewayId": w.new_gateway(), "VpcId": w.new_vpc()}, of_gateway)
case(
    "DetachInternetGateway",
    lambda w: dict(zip(("InternetGatewayId", "VpcId"), w.attached_gateway(), strict=True)),
    of_gateway,
)


def of_egress(w: World, p: Parameters, response: Any) -> object:
    return [
        response,
        len(w.c.describe_egress_only_internet_gateways()["EgressOnlyInternetGateways"]),
        w.c.describe_egress_only_internet_gateways()["EgressOnlyInternetGateways"][-1:],
    ]


case(
    "CreateEgressOnlyInternetGateway",
    lambda w: {"VpcId": w.vpc},
    lambda _w, _p, r: r,
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [
                {"ResourceType": "egress-only-internet-gateway", "Tags": [{"Key": "k", "Value": "v"}]}
            ]
        }
    },
)
case("DeleteEgressOnlyInternetGateway", lambda w: {"EgressOnlyInternetGatewayId": w.new_egress_gateway()}, of_egress)


def of_nat(w: World, p: Parameters, response: Any) -> object:
    gateway = (response or {}).get("NatGateway", {}).get("NatGatewayId") or p["NatGatewayId"]
    return w.c.describe_nat_gateways(NatGatewayIds=[gateway])["NatGateways"]


case(
    "CreateNatGateway",
    lambda w: {"SubnetId": w.public_subnet(), "AllocationId": w.new_address()},
    of_nat,
    {"PrivateIpAddress": lambda w: w.last_subnet_ip, "ConnectivityType": "private"},
    beside={
        "ConnectivityType": lambda _w: {"AllocationId": None},
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "natgateway", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
    },
)
case("DeleteNatGateway", lambda w: {"NatGatewayId": w.new_nat_gateway()}, of_nat)


def of_acl(w: World, p: Parameters, response: Any) -> object:
    acl = (response or {}).get("NetworkAcl", {}).get("NetworkAclId") or p.get("NetworkAclId") or w.last_acl
    return w.c.describe_network_acls(Filters=[{"Name": "network-acl-id", "Values": [acl]}])["NetworkAcls"]


case(
    "CreateNetworkAcl",
    lambda w: {"VpcId": w.vpc},
    of_acl,
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "network-acl", "Tags": [{"Key": "k", "Value": "v"}]}]
        }
    },
)
case("DeleteNetworkAcl", lambda w: {"NetworkAclId": w.new_acl()}, of_acl)


def acl_entry(acl: str) -> Parameters:
    return {
        "NetworkAclId": acl,
        "RuleNumber": 7,
        "Protocol": "6",
        "RuleAction": "allow",
        "Egress": False,
        "CidrBlock": "10.0.0.0/8",
        "PortRange": {"From": 22, "To": 22},
    }


ACL_VALUES: dict[str, Any] = {
    "RuleNumber": 9,
    "Protocol": "17",
    "Egress": True,
    "CidrBlock": "10.1.0.0/16",
    "PortRange.From": 21,
    "PortRange.To": 23,
    "Ipv6CidrBlock": "2001:db8::/32",
    "IcmpTypeCode.Code": 3,
    "IcmpTypeCode.Type": 8,
}
ACL_BESIDE: dict[str, Any] = {
    "Ipv6CidrBlock": lambda _w: {"CidrBlock": None},
    "IcmpTypeCode": lambda _w: {"Protocol": "1", "PortRange": None, "IcmpTypeCode": {"Code": -1, "Type": -1}},
}
case("CreateNetworkAclEntry", lambda w: acl_entry(w.new_acl()), of_acl, ACL_VALUES, beside=ACL_BESIDE)
case(
    "ReplaceNetworkAclEntry",
    lambda w: acl_entry(w.acl_with_entry()),
    of_acl,
    {k: v for k, v in ACL_VALUES.items() if k != "Egress"},
    beside=ACL_BESIDE,
)
case(
    "DeleteNetworkAclEntry",
    lambda w: {"NetworkAclId": w.acl_with_entry(), "RuleNumber": 7, "Egress": False},
    of_acl,
    {"RuleNumber": 9},
)
case(
    "ReplaceNetworkAclAssociation",
    lambda w: {"AssociationId": w.acl_association(), "NetworkAclId": w.new_acl()},
    of_acl,
)

case(
    "CreateDhcpOptions",
    lambda _w: {"DhcpConfigurations": [{"Key": "domain-name", "Values": ["a.example"]}]},
    values={"DhcpConfigurations.Key": "domain-name-servers", "DhcpConfigurations.Values": "b.example"},
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "dhcp-options", "Tags": [{"Key": "k", "Value": "v"}]}]
        }
    },
)
case("AssociateDhcpOptions", lambda w: {"DhcpOptionsId": w.dhcp_options, "VpcId": w.new_vpc()}, of_vpc)
case(
    "DeleteDhcpOptions",
    lambda w: {"DhcpOptionsId": w.new_dhcp_options()},
    lambda w, _p, _r: len(w.c.describe_dhcp_options()["DhcpOptions"]),
)


def of_peering(w: World, p: Parameters, response: Any) -> object:
    peering = (response or {}).get("VpcPeeringConnection", {}).get("VpcPeeringConnectionId") or p[
        "VpcPeeringConnectionId"
    ]
    return w.c.describe_vpc_peering_connections(VpcPeeringConnectionIds=[peering])["VpcPeeringConnections"]


case(
    "CreateVpcPeeringConnection",
    lambda w: {"VpcId": w.vpc, "PeerVpcId": w.new_vpc()},
    of_peering,
    {"PeerRegion": "eu-west-1", "PeerOwnerId": "111122223333"},
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "vpc-peering-connection", "Tags": [{"Key": "k", "Value": "v"}]}]
        }
    },
)
for _verb in ("Accept", "Reject", "Delete"):
    case(f"{_verb}VpcPeeringConnection", lambda w: {"VpcPeeringConnectionId": w.new_peering()}, of_peering)
case("ModifyVpcPeeringConnectionOptions", lambda w: {"VpcPeeringConnectionId": w.accepted_peering()}, of_peering)


def of_prefix_list(w: World, p: Parameters, response: Any) -> object:
    one = (response or {}).get("PrefixList", {}).get("PrefixListId") or p["PrefixListId"]
    found = w.c.describe_managed_prefix_lists(PrefixListIds=[one])["PrefixLists"]
    live = found and not found[0]["State"].startswith("delete")
    return [found, w.c.get_managed_prefix_list_entries(PrefixListId=one)["Entries"] if live else []]


case(
    "CreateManagedPrefixList",
    lambda w: {"PrefixListName": w.name("pl"), "MaxEntries": 5, "AddressFamily": "IPv4"},
    of_prefix_list,
    {"Entries.Cidr": "10.5.0.0/16", "MaxEntries": 9},
    beside={
        "Entries.Description": lambda _w: {"Entries": [{"Cidr": "10.5.0.0/16"}]},
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "prefix-list", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
    },
)
case(
    "ModifyManagedPrefixList",
    lambda w: {"PrefixListId": w.new_prefix_list()},
    of_prefix_list,
    {"AddEntries.Cidr": "10.6.0.0/16", "RemoveEntries.Cidr": "10.5.0.0/16", "MaxEntries": 11, "CurrentVersion": 7},
    beside={"AddEntries.Description": lambda _w: {"AddEntries": [{"Cidr": "10.6.0.0/16"}]}},
)
case("DeleteManagedPrefixList", lambda w: {"PrefixListId": w.new_prefix_list()}, of_prefix_list)

# Launch templates


TAGGED_DATA = {
    "LaunchTemplateData": {
        "InstanceType": "t3.small",
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "k", "Value": "v"}]}],
    }
}


def of_template(w: World, p: Parameters, response: Any) -> object:
    template = (
        (response or {}).get("LaunchTemplate", {}).get("LaunchTemplateId")
        or p.get("LaunchTemplateId")
        or (w.last_template)
    )
    found = w.c.describe_launch_templates(Filters=[{"Name": "launch-template-name", "Values": ["*"]}])[
        "LaunchTemplates"
    ]
    found = [one for one in found if one["LaunchTemplateId"] == template]
    versions = w.c.describe_launch_template_versions(LaunchTemplateId=template) if found else {}
    return [found, versions.get("LaunchTemplateVersions")]


case(
    "CreateLaunchTemplate",
    lambda w: {"LaunchTemplateName": w.name("t"), "LaunchTemplateData": {"InstanceType": "t3.small"}},
    of_template,
    beside={
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "launch-template", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
        "LaunchTemplateData.TagSpecifications": lambda _w: TAGGED_DATA,
    },
)
case(
    "CreateLaunchTemplateVersion",
    lambda w: {"LaunchTemplateId": w.new_template(), "LaunchTemplateData": {"EbsOptimized": True}},
    of_template,
    {"LaunchTemplateName": lambda w: w.last_template_name, "SourceVersion": "1"},
    beside={
        "LaunchTemplateData.TagSpecifications": lambda _w: TAGGED_DATA,
        "LaunchTemplateName": lambda _w: {"LaunchTemplateId": None},
    },
)
case(
    "DeleteLaunchTemplate",
    lambda w: {"LaunchTemplateId": w.new_template()},
    of_template,
    {"LaunchTemplateName": lambda w: w.last_template_name},
    beside={"LaunchTemplateName": lambda _w: {"LaunchTemplateId": None}},
)
case(
    "ModifyLaunchTemplate",
    lambda w: {"LaunchTemplateId": w.template_of_two(), "DefaultVersion": "2"},
    of_template,
    {"LaunchTemplateName": lambda w: w.last_template_name},
    beside={"LaunchTemplateName": lambda _w: {"LaunchTemplateId": None}},
)

# Tags


def of_tags(w: World, p: Parameters, _response: Any) -> object:
    return w.c.describe_tags(Filters=[{"Name": "resource-id", "Values": p["Resources"]}])["Tags"]


case("CreateTags", lambda w: {"Resources": [w.new_vpc()], "Tags": [{"Key": "k", "Value": "v"}]}, of_tags)
case(
    "DeleteTags",
    lambda w: {"Resources": [w.tagged()], "Tags": [{"Key": "k"}]},
    of_tags,
    {"Tags.Value": "another", "Tags.Key": "other"},
)


# Spot instances, placement groups, profiles, and what else there is


def of_spot(w: World, _p: Parameters, response: Any) -> object:
    ids = [one["SpotInstanceRequestId"] for one in response["SpotInstanceRequests"]]
    found = w.c.describe_spot_instance_requests(SpotInstanceRequestIds=ids)["SpotInstanceRequests"]
    return [found, [whole_instance(w, one["InstanceId"]) for one in found if "InstanceId" in one]]


def of_canceled(w: World, p: Parameters, _response: Any) -> object:
    return w.c.describe_spot_instance_requests(SpotInstanceRequestIds=p["SpotInstanceRequestIds"])


def launch_as_spot(w: World) -> Parameters:
    launch = {name: value for name, value in one_launch(w).items() if name not in ("MinCount", "MaxCount")}
    return {"LaunchSpecification": launch}


_LAUNCH = CASES["RunInstances"]


def besides_spot(beside: Callable[[World], Parameters]) -> Callable[[World], Parameters]:
    def besides(w: World) -> Parameters:
        launch = {**launch_as_spot(w)["LaunchSpecification"], **beside(w)}
        return {"LaunchSpecification": {name: value for name, value in launch.items() if value is not None}}

    return besides


case(
    "RequestSpotInstances",
    launch_as_spot,
    of_spot,
    {
        **{f"LaunchSpecification.{path}": value for path, value in _LAUNCH.values.items()},
        "InstanceCount": 2,
        "SpotPrice": "0.5",
    },
    beside={
        **{f"LaunchSpecification.{path}": besides_spot(beside) for path, beside in _LAUNCH.beside.items()},
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "spot-instances-request", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
    },
)


def spot_request(w: World) -> str:
    return w.c.request_spot_instances(**launch_as_spot(w))["SpotInstanceRequests"][0]["SpotInstanceRequestId"]


def of_placement_group(w: World, p: Parameters, _response: Any) -> object:
    named = [{"Name": "group-name", "Values": [p["GroupName"]]}]
    return w.c.describe_placement_groups(Filters=named)["PlacementGroups"]


case(
    "CreatePlacementGroup",
    lambda w: {"GroupName": w.name("pg")},
    of_placement_group,
    beside={
        "SpreadLevel": lambda _w: {"Strategy": "spread"},
        "TagSpecifications": lambda _w: {
            "TagSpecifications": [{"ResourceType": "placement-group", "Tags": [{"Key": "k", "Value": "v"}]}]
        },
    },
)
case(
    "DeletePlacementGroup",
    lambda w: {"GroupName": w.new_placement_group()},
    of_placement_group,
    {"GroupName": "no-such-group"},
)
case("CancelSpotInstanceRequests", lambda w: {"SpotInstanceRequestIds": [spot_request(w)]}, of_canceled)
case(
    "ModifyInstanceCreditSpecification",
    lambda w: {"InstanceCreditSpecifications": [{"InstanceId": w.instance, "CpuCredits": "unlimited"}]},
    lambda w, _p, r: [r, w.c.describe_instance_credit_specifications(InstanceIds=[w.instance])],
    {"InstanceCreditSpecifications.CpuCredits": "standard"},
)
case(
    "DeleteLaunchTemplateVersions",
    lambda w: {"LaunchTemplateId": w.template_of_two(), "Versions": ["2"]},
    of_template,
    {"LaunchTemplateName": lambda w: w.last_template_name},
    beside={"LaunchTemplateName": lambda _w: {"LaunchTemplateId": None}},
)


def of_profile(w: World, p: Parameters, response: Any) -> object:
    instance = (response or {}).get("IamInstanceProfileAssociation", {}).get("InstanceId") or p.get("InstanceId")
    return [response, whole_instance(w, instance)]


case(
    "AssociateIamInstanceProfile",
    lambda w: {"InstanceId": w.new_instance(), "IamInstanceProfile": {"Name": w.profile}},
    of_profile,
    {"IamInstanceProfile.Name": lambda w: w.new_profile()},
    beside={"IamInstanceProfile.Arn": lambda _w: {"IamInstanceProfile": None}},
)
case(
    "ReplaceIamInstanceProfileAssociation",
    lambda w: {"AssociationId": w.profile_association(), "IamInstanceProfile": {"Name": w.profile}},
    of_profile,
    {"IamInstanceProfile.Name": lambda w: w.new_profile()},
    beside={"IamInstanceProfile.Arn": lambda _w: {"IamInstanceProfile": None}},
)
case("DisassociateIamInstanceProfile", lambda w: {"AssociationId": w.profile_association()}, of_profile)


def of_root_volume(w: World, _p: Parameters, response: Any) -> object:
    task = response["ReplaceRootVolumeTask"]

    def described() -> Any:
        wanted = [task["ReplaceRootVolumeTaskId"]]
        return w.c.describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=wanted)["ReplaceRootVolumeTasks"][0]

    w._wait(lambda: described()["TaskState"] == "succeeded", task["ReplaceRootVolumeTaskId"])
    return [response, described(), whole_instance(w, task["InstanceId"])]


case(
    "CreateReplaceRootVolumeTask",
    lambda w: {"InstanceId": w.new_instance()},
    of_root_volume,
    {"ImageId": lambda w: w.new_image(), "VolumeId": lambda w: w.new_volume(Size=9)},
    beside={
        "TagSpecifications": lambda w: {
            "InstanceId": w.new_instance(),
            "TagSpecifications": [
                {"ResourceType": "replace-root-volume-task", "Tags": [{"Key": "audit", "Value": "tag"}]}
            ],
        }
    },
)
case("CreateDefaultVpc", lambda _w: {})
case("CreateDefaultSubnet", lambda _w: {"AvailabilityZone": "us-east-1a"})


AMIS = "unit/local/api/test_amis.py"

ADDRESSES = "unit/local/api/test_addresses.py"
ELSEWHERE: Mapping[str, Mapping[str, str]] = {
    "RunInstances": {
        "MinCount": "unit/local/api/test_backend.py::test_a_launch_that_ec2_would_refuse_is_refused_with_its_code",
    },
    "StopInstances": {"Force": "unit/local/machines/test_machine.py::test_forced_stop_overtakes_graceful_one"},
    "DetachVolume": {"Force": "unit/local/api/test_forced_detachment.py::test_force_repeats_the_request"},
    "DetachNetworkInterface": {
        "Force": "unit/local/machines/test_machine.py::test_forced_unplug_ends_without_the_guest"
    },
    "CreateImage": {"NoReboot": f"{AMIS}::test_an_instance_runs_on_after_its_image_was_made"},
    "DeregisterImage": {"DeleteAssociatedSnapshots": f"{AMIS}::test_deregister_image_deletes_snapshots_on_request"},
    "EnableImageDeprecation": {"DeprecateAt": f"{AMIS}::test_an_image_is_deprecated_and_is_not"},
    "AssociateAddress": {
        "AllowReassociation": f"{ADDRESSES}::test_it_moves_to_another_interface_unless_that_is_refused"
    },
    "CreateNetworkInterface": {
        "PrivateIpAddresses.Primary": "unit/local/api/test_interfaces.py"
        "::test_named_addresses_are_given_and_the_primary_one_comes_first",
    },
}
"""Kept members whose effect these requests do not show, and the tests that do."""

AS_ON_EC2: Mapping[str, frozenset[str]] = {
    # The id counts.
    "AuthorizeSecurityGroupIngress": frozenset({"IpPermissions.UserIdGroupPairs.GroupName"}),
    "AuthorizeSecurityGroupEgress": frozenset({"IpPermissions.UserIdGroupPairs.GroupName"}),
    # A rule is found without its description.
    "RevokeSecurityGroupIngress": frozenset({"IpPermissions.IpRanges.Description"}),
    "RevokeSecurityGroupEgress": frozenset({"IpPermissions.IpRanges.Description"}),
    # A termination always cuts the power.
    "TerminateInstances": frozenset({"Force", "SkipOsShutdown"}),
    # botocore sends the endpoint's own region, whatever it is told.
    "CopySnapshot": frozenset({"DestinationRegion"}),
}

for _action, _where in ELSEWHERE.items():
    CASES[_action] = replace(CASES[_action], elsewhere=_where)
for _action, _members in AS_ON_EC2.items():
    CASES[_action] = replace(CASES[_action], as_on_ec2=_members)
