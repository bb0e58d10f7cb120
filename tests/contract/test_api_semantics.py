"""The local EC2 answers plain boto3 as EC2 does: what is refused and how, what is said twice, what comes in pages."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pycloudlib.deadline import Deadline
from pycloudlib.key import KeyPair
from pycloudlib.waiting import wait_until

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from .conftest import Endpoint

ABSENT = "0123456789abcdef0"
TAG = {"Key": "role", "Value": "web"}


@pytest.fixture(scope="module")
def simulated(serve: Callable[[str], Endpoint]) -> Endpoint:
    return serve("simulated")


def connect(endpoint: Endpoint, region: str) -> EC2Client:
    return boto3.client(
        "ec2",
        endpoint_url=endpoint.url,
        region_name=region,
        aws_access_key_id=endpoint.access_key_id,
        aws_secret_access_key=endpoint.secret_access_key,
        config=Config(retries={"max_attempts": 1}, parameter_validation=False),
    )


@pytest.fixture(scope="module")
def client(simulated: Endpoint) -> EC2Client:
    """A region in which nothing else is."""
    return connect(simulated, "eu-north-1")


@pytest.fixture(scope="module")
def image(client: EC2Client) -> str:
    names = [{"Name": "name", "Values": ["debian-12-amd64-daily-*"]}]
    return client.describe_images(Filters=names)["Images"][0]["ImageId"]


Launch = Callable[..., list[str]]


@pytest.fixture
def launch(client: EC2Client, image: str) -> Iterator[Launch]:
    """Launches, and terminates afterwards."""
    launched: list[str] = []

    def launch(count: int = 1, **parameters: Any) -> list[str]:
        wanted = {"ImageId": image, "MinCount": count, "MaxCount": count, "InstanceType": "t3.micro", **parameters}
        ids = [one["InstanceId"] for one in client.run_instances(**wanted)["Instances"]]
        launched.extend(ids)
        return ids

    yield launch
    for instance_id in launched:
        with suppress(ClientError):  # of one that is terminated already
            client.modify_instance_attribute(InstanceId=instance_id, DisableApiTermination={"Value": False})
    if launched:
        client.terminate_instances(InstanceIds=launched)


@pytest.fixture
def group(client: EC2Client) -> Iterator[str]:
    group_id = client.create_security_group(GroupName="a group", Description="a group")["GroupId"]
    yield group_id
    client.delete_security_group(GroupId=group_id)


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def tcp(first: int | None, last: int | None, cidr: str = "192.0.2.0/24", protocol: str = "tcp") -> dict[str, Any]:
    ports = {"FromPort": first, "ToPort": last} if first is not None else {}
    return {"IpProtocol": protocol, **ports, "IpRanges": [{"CidrIp": cidr}]}


def ingress(client: EC2Client, group_id: str) -> list[tuple[Any, Any]]:
    (described,) = client.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    return [(one.get("FromPort"), one.get("ToPort")) for one in described["IpPermissions"]]


# What is not there, or is no id at all


@pytest.mark.parametrize(
    ("action", "parameters", "code", "message"),
    [
        ("describe_instances", {"InstanceIds": [f"i-{ABSENT}"]}, "InvalidInstanceID.NotFound", f"i-{ABSENT}"),
        ("describe_instances", {"InstanceIds": ["i-12"]}, "InvalidInstanceID.Malformed", 'Invalid id: "i-12"'),
        ("terminate_instances", {"InstanceIds": ["ami-12345678"]}, "InvalidInstanceID.Malformed", "Invalid id"),
        ("describe_images", {"ImageIds": [f"ami-{ABSENT}"]}, "InvalidAMIID.NotFound", f"ami-{ABSENT}"),
        ("describe_images", {"ImageIds": ["mine"]}, "InvalidAMIID.Malformed", '(expecting "ami-...")'),
        ("describe_volumes", {"VolumeIds": [f"vol-{ABSENT}"]}, "InvalidVolume.NotFound", f"vol-{ABSENT}"),
        ("describe_volumes", {"VolumeIds": ["mine"]}, "InvalidParameterValue", "Expected: 'vol-...'"),
        ("describe_snapshots", {"SnapshotIds": ["mine"]}, "InvalidParameterValue", "Expected: 'snap-...'"),
        ("describe_security_groups", {"GroupIds": [f"sg-{ABSENT}"]}, "InvalidGroup.NotFound", f"'sg-{ABSENT}'"),
        ("describe_security_groups", {"GroupIds": ["mine"]}, "InvalidGroupId.Malformed", '(expecting "sg-...")'),
        ("describe_security_groups", {"GroupNames": ["mine"]}, "InvalidGroup.NotFound", "'mine' does not exist"),
        ("describe_key_pairs", {"KeyNames": ["mine"]}, "InvalidKeyPair.NotFound", "'mine' does not exist"),
        ("describe_regions", {"RegionNames": ["mine-1"]}, "InvalidParameterValue", "mine-1"),
        ("describe_fast_launch_images", {}, "UnsupportedOperation", "does not have DescribeFastLaunchImages"),
        ("create_key_pair", {}, "MissingParameter", "KeyName"),
    ],
)
def test_what_is_not_there_is_refused_with_ec2s_code(
    client: EC2Client, action: str, parameters: dict[str, Any], code: str, message: str
) -> None:
    refused = refusal(getattr(client, action), **parameters)
    assert refused[0] == code
    assert message in refused[1]


def test_an_unknown_action_is_invalid(simulated: Endpoint) -> None:
    client = connect(simulated, "us-east-1")
    client.meta.events.register(
        "before-call.ec2.DescribeRegions", lambda params, **_: params["body"].update(Action="DescribeNothing")
    )
    message = "The action DescribeNothing is not valid for this web service."
    assert refusal(client.describe_regions) == ("InvalidAction", message)


def test_a_region_that_there_is_not_is_refused(simulated: Endpoint) -> None:
    assert refusal(connect(simulated, "xx-north-9").describe_instances)[0] == "InvalidParameterValue"


# Launching


@pytest.mark.parametrize(("least", "most"), [(0, 1), (-1, 1), (2, 1), (1, 0), (0, 0)])
def test_counts_that_are_none_launch_nothing(client: EC2Client, launch: Launch, least: int, most: int) -> None:
    assert refusal(launch, MinCount=least, MaxCount=most)[0] == "InvalidParameterValue"
    assert client.describe_instances(Filters=_alive())["Reservations"] == []


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"SecurityGroups": ["not there"]}, "InvalidGroup.NotFound"),
        ({"SecurityGroupIds": ["nonsense"]}, "InvalidGroupId.Malformed"),
        ({"SubnetId": f"subnet-{ABSENT}"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroups": ["default"], "SubnetId": f"subnet-{ABSENT}"}, "InvalidParameterCombination"),
        ({"KeyName": "not there"}, "InvalidKeyPair.NotFound"),
        ({"InstanceType": "t9.huge"}, "InvalidParameterValue"),
        ({"Placement": {"AvailabilityZone": "us-east-1a"}}, "InvalidParameterValue"),
        ({"UserData": "x" * 16385}, "InvalidParameterValue"),
        ({"InstanceInitiatedShutdownBehavior": "sleep"}, "InvalidParameterValue"),
        ({"MetadataOptions": {"HttpTokens": "maybe"}}, "InvalidParameterValue"),
        ({"TagSpecifications": [{"ResourceType": "house", "Tags": [TAG]}]}, "InvalidParameterValue"),
        ({"TagSpecifications": [{"ResourceType": "instance", "Tags": [TAG, TAG]}]}, "InvalidParameterValue"),
    ],
)
def test_a_launch_that_ec2_would_refuse_launches_nothing(
    client: EC2Client, launch: Launch, parameters: dict[str, Any], code: str
) -> None:
    assert refusal(launch, **parameters)[0] == code
    assert client.describe_instances(Filters=_alive())["Reservations"] == []


@pytest.mark.parametrize(
    ("resource", "tag", "code"),
    [
        (f"i-{ABSENT}", {"Key": "a", "Value": ""}, "InvalidInstanceID.NotFound"),
        (f"vol-{ABSENT}", {"Key": "a", "Value": ""}, "InvalidVolume.NotFound"),
        (f"vpc-{ABSENT}", {"Key": "a", "Value": ""}, "InvalidVpcID.NotFound"),
        (f"sg-{ABSENT}", {"Key": "a", "Value": ""}, "InvalidGroup.NotFound"),
        ("nonsense", {"Key": "a", "Value": ""}, "InvalidID"),
        ("", {"Key": "aws:mine", "Value": ""}, "InvalidParameterValue"),
        ("", {"Key": "k" * 129, "Value": ""}, "InvalidParameterValue"),
        ("", {"Key": "k", "Value": "v" * 257}, "InvalidParameterValue"),
    ],
)
def test_tags_that_ec2_would_refuse_are_refused(
    client: EC2Client, group: str, resource: str, tag: dict[str, str], code: str
) -> None:
    assert refusal(client.create_tags, Resources=[resource or group], Tags=[tag])[0] == code
    (described,) = client.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert described["Tags"] == []


def test_termination_protection_is_read_and_undone(client: EC2Client, launch: Launch) -> None:
    (instance_id,) = launch(DisableApiTermination=True)

    def protected() -> bool:
        answer = client.describe_instance_attribute(InstanceId=instance_id, Attribute="disableApiTermination")
        return answer["DisableApiTermination"]["Value"]

    assert protected()
    assert refusal(client.terminate_instances, InstanceIds=[instance_id])[0] == "OperationNotPermitted"
    client.modify_instance_attribute(InstanceId=instance_id, DisableApiTermination={"Value": False})
    assert not protected()
    client.terminate_instances(InstanceIds=[instance_id])


# Said twice


def test_the_same_token_launches_once_and_answers_the_same(client: EC2Client, launch: Launch) -> None:
    first = launch(ClientToken="token-1")
    assert launch(ClientToken="token-1") == first
    assert refusal(launch, ClientToken="token-1", InstanceType="t3.small")[0] == "IdempotentParameterMismatch"
    assert launch(ClientToken="token-2") != first


def test_a_token_is_of_one_region(simulated: Endpoint, client: EC2Client, launch: Launch, image: str) -> None:
    first = launch(ClientToken="both")
    there = connect(simulated, "eu-south-1")
    others = there.run_instances(ImageId=image, MinCount=1, MaxCount=1, ClientToken="both")["Instances"]
    assert [one["InstanceId"] for one in others] != first


def test_the_same_token_makes_one_volume(client: EC2Client) -> None:
    wanted = {"AvailabilityZone": "eu-north-1a", "Size": 1, "ClientToken": "volume"}
    volume_id = client.create_volume(**wanted)["VolumeId"]
    assert client.create_volume(**wanted)["VolumeId"] == volume_id
    assert refusal(client.create_volume, **{**wanted, "Size": 2})[0] == "IdempotentParameterMismatch"


def test_a_token_whose_request_was_refused_can_be_used_again(client: EC2Client, launch: Launch) -> None:
    assert refusal(launch, ClientToken="refused", ImageId=f"ami-{ABSENT}")[0] == "InvalidAMIID.NotFound"
    assert launch(ClientToken="refused")


# Only tried


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("create_security_group", {"GroupName": "dry", "Description": "dry"}),
        ("create_key_pair", {"KeyName": "dry"}),
        ("create_vpc", {"CidrBlock": "172.20.0.0/16"}),
        ("create_volume", {"AvailabilityZone": "eu-west-3a", "Size": 1}),
        ("allocate_address", {"Domain": "vpc"}),
        ("describe_instances", {}),
    ],
)
def test_dry_run_changes_nothing_and_returns_dry_run_operation(
    simulated: Endpoint, action: str, parameters: dict[str, Any]
) -> None:
    client = connect(simulated, "eu-west-3")

    def known() -> list[int]:
        groups, keys = client.describe_security_groups()["SecurityGroups"], client.describe_key_pairs()["KeyPairs"]
        vpcs, volumes = client.describe_vpcs()["Vpcs"], client.describe_volumes()["Volumes"]
        return [*map(len, (groups, keys, vpcs, volumes, client.describe_addresses()["Addresses"]))]

    before = known()
    with pytest.raises(ClientError) as caught:
        getattr(client, action)(**parameters, DryRun=True)
    assert caught.value.response["Error"]["Code"] == "DryRunOperation"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert known() == before


def test_a_dry_run_of_what_would_be_refused_is_refused(client: EC2Client) -> None:
    refused = refusal(client.terminate_instances, InstanceIds=["nonsense"], DryRun=True)
    assert refused[0] == "InvalidInstanceID.Malformed"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "resolve:ssm:nope"}, "SsmInvalidParameter"),
        ({"KeyName": "nobodys"}, "InvalidKeyPair.NotFound"),
        ({"InstanceType": "t4g.small"}, "InvalidParameterValue"),
        ({}, "DryRunOperation"),
    ],
)
def test_a_dry_run_of_a_launch_looks_at_what_it_names(
    client: EC2Client, image: str, parameters: dict[str, Any], code: str
) -> None:
    wanted = {"ImageId": image, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small", **parameters}
    assert refusal(client.run_instances, **wanted, DryRun=True)[0] == code


# In pages


def test_instances_come_in_pages_each_of_them_once(client: EC2Client, launch: Launch) -> None:
    expected = {launch()[0] for _ in range(11)}
    pages = [
        [one["InstanceId"] for launched in page["Reservations"] for one in launched["Instances"]]
        for page in client.get_paginator("describe_instances").paginate(
            Filters=_alive(), PaginationConfig={"PageSize": 5}
        )
    ]
    assert [len(page) for page in pages] == [5, 5, 1]
    assert sorted(chain.from_iterable(pages)) == sorted(expected)


@pytest.mark.parametrize(
    ("action", "key", "name"),
    [
        ("describe_images", "Images", "ImageId"),
        ("describe_volumes", "Volumes", "VolumeId"),
        ("describe_snapshots", "Snapshots", "SnapshotId"),
        ("describe_security_groups", "SecurityGroups", "GroupId"),
        ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
        ("describe_vpcs", "Vpcs", "VpcId"),
        ("describe_subnets", "Subnets", "SubnetId"),
        ("describe_tags", "Tags", "ResourceId"),
    ],
)
def test_other_resources_come_in_pages_too(simulated: Endpoint, image: str, action: str, key: str, name: str) -> None:
    client = connect(simulated, "ap-south-1")
    _populate(client, image)
    whole = [one[name] for one in getattr(client, action)()[key]]
    pages = [
        [one[name] for one in page[key]]
        for page in client.get_paginator(action).paginate(PaginationConfig={"PageSize": 5})
    ]
    assert len(pages) > 1
    assert {len(page) for page in pages[:-1]} == {5}
    assert sorted(chain.from_iterable(pages)) == sorted(whole)


def test_what_is_deleted_between_two_pages_hides_nothing(client: EC2Client) -> None:
    made = {client.create_volume(AvailabilityZone="eu-north-1a", Size=1)["VolumeId"] for _ in range(11)}
    seen = set()
    for page in client.get_paginator("describe_volumes").paginate(
        Filters=[{"Name": "status", "Values": ["available"]}], PaginationConfig={"PageSize": 5}
    ):
        for volume in page["Volumes"]:
            seen.add(volume["VolumeId"])
            client.delete_volume(VolumeId=volume["VolumeId"])
    assert made <= seen


@pytest.mark.parametrize(
    ("action", "parameters", "code"),
    [
        ("describe_instances", {"MaxResults": 4}, "InvalidParameterValue"),
        ("describe_instances", {"MaxResults": 1001}, "InvalidParameterValue"),
        ("describe_instances", {"MaxResults": 5, "InstanceIds": [f"i-{ABSENT}"]}, "InvalidParameterCombination"),
        ("describe_volumes", {"MaxResults": 5, "VolumeIds": [f"vol-{ABSENT}"]}, "InvalidParameterCombination"),
        ("describe_instances", {"NextToken": "nonsense"}, "InvalidNextToken"),
    ],
)
def test_pages_that_ec2_would_refuse_are_refused(
    client: EC2Client, action: str, parameters: dict[str, Any], code: str
) -> None:
    assert refusal(getattr(client, action), **parameters)[0] == code


# Filters


@pytest.mark.parametrize("noun", ["instances", "images", "volumes", "snapshots", "vpcs", "subnets", "security_groups"])
def test_a_filter_that_there_is_not_is_refused(client: EC2Client, noun: str) -> None:
    refused = refusal(getattr(client, f"describe_{noun}"), Filters=[{"Name": "colour", "Values": ["red"]}])
    assert refused == ("InvalidParameterValue", "The filter 'colour' is invalid")


def test_a_filter_that_only_ec2_has_is_refused_by_name(client: EC2Client) -> None:
    filters = [{"Name": "attached-ebs-status.status", "Values": ["ok"]}]
    refused = refusal(client.describe_instance_status, Filters=filters)
    assert refused[0] == "UnsupportedOperation"
    assert "attached-ebs-status.status" in refused[1]


def test_instances_are_found_by_what_they_are(client: EC2Client, launch: Launch, image: str) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "web-1"}]}]
    (wanted,), (other,) = launch(TagSpecifications=tags, InstanceType="t3.small"), launch()
    (described,) = client.describe_instances(InstanceIds=[wanted])["Reservations"]
    instance = described["Instances"][0]

    def found(name: str, *values: str) -> set[str]:
        answer = client.describe_instances(Filters=[*_alive(), {"Name": name, "Values": list(values)}])
        return {one["InstanceId"] for launched in answer["Reservations"] for one in launched["Instances"]}

    assert found("tag:role", "web-1") == found("tag:role", "web-*") == found("tag-key", "role") == {wanted}
    assert found("tag:role", "web") == set()
    assert found("instance-type", "t3.small") == found("instance-type", "*.small") == {wanted}
    assert found("image-id", image) == {wanted, other}
    assert found("private-ip-address", instance["PrivateIpAddress"]) == {wanted}
    assert found("reservation-id", described["ReservationId"]) == {wanted}
    volume = instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert found("block-device-mapping.volume-id", volume) == {wanted}
    interface = instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
    assert found("network-interface.network-interface-id", interface) == {wanted}
    assert found("instance-id", wanted, other) == {wanted, other}


def test_instances_are_found_by_their_state(client: EC2Client, launch: Launch) -> None:
    (instance_id,) = launch()
    client.terminate_instances(InstanceIds=[instance_id])

    def found(state: str) -> bool:
        filters = [
            {"Name": "instance-state-name", "Values": [state]},
            {"Name": "instance-id", "Values": [instance_id]},
        ]
        return bool(client.describe_instances(Filters=filters)["Reservations"])

    wait_until(
        lambda: found("terminated"), what=f"{instance_id} to be terminated", deadline=Deadline.after(60), interval=0.05
    )
    assert not found("running")


# Security groups


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"GroupName": "a group", "Description": "again"}, "InvalidGroup.Duplicate"),
        ({"GroupName": "sg-mine", "Description": "no"}, "InvalidParameterValue"),
        ({"GroupName": "default", "Description": "no"}, "InvalidParameterValue"),
        ({"GroupName": "mäßig", "Description": "no"}, "InvalidParameterValue"),
        ({"GroupName": "x" * 256, "Description": "no"}, "InvalidParameterValue"),
        ({"GroupName": "mine", "Description": "no", "VpcId": f"vpc-{ABSENT}"}, "InvalidVpcID.NotFound"),
    ],
)
@pytest.mark.usefixtures("group")
def test_a_group_that_ec2_would_refuse_is_refused(client: EC2Client, parameters: dict[str, Any], code: str) -> None:
    assert refusal(client.create_security_group, **parameters)[0] == code


@pytest.mark.parametrize(
    ("permissions", "code"),
    [
        ([tcp(443, 443), tcp(22, 22)], "InvalidPermission.Duplicate"),
        ([tcp(443, 443), tcp(443, 443)], "InvalidParameterValue"),
        ([tcp(9, 8)], "InvalidParameterValue"),
        ([tcp(0, 65536)], "InvalidParameterValue"),
        ([tcp(None, None)], "InvalidParameterValue"),
        ([tcp(1, 2, cidr="192.0.2.0")], "InvalidParameterValue"),
        ([tcp(1, 2, cidr="nonsense")], "InvalidParameterValue"),
        ([tcp(1, 2, protocol="nonsense")], "InvalidParameterValue"),
        ([{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": f"sg-{ABSENT}"}]}], "InvalidGroup.NotFound"),
    ],
)
def test_rules_that_ec2_would_refuse_change_nothing(
    client: EC2Client, group: str, permissions: list[dict[str, Any]], code: str
) -> None:
    client.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(22, 22)])
    assert refusal(client.authorize_security_group_ingress, GroupId=group, IpPermissions=permissions)[0] == code
    assert ingress(client, group) == [(22, 22)]


def test_all_rules_of_a_request_are_answered_with_their_ids(client: EC2Client, group: str) -> None:
    rules = client.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(22, 22), tcp(80, 81)])
    assert [(one["FromPort"], one["ToPort"]) for one in rules["SecurityGroupRules"]] == [(22, 22), (80, 81)]


def test_revoking_what_is_not_there_changes_nothing(client: EC2Client, group: str) -> None:
    client.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(22, 22)])
    refused = refusal(client.revoke_security_group_ingress, GroupId=group, IpPermissions=[tcp(22, 22), tcp(80, 80)])
    assert refused[0] == "InvalidPermission.NotFound"
    assert ingress(client, group) == [(22, 22)]
    client.revoke_security_group_ingress(GroupId=group, IpPermissions=[tcp(22, 22)])
    assert ingress(client, group) == []


def test_a_group_that_is_used_is_not_deleted(client: EC2Client, launch: Launch, group: str) -> None:
    other = client.create_security_group(GroupName="refers", Description="to the other one")["GroupId"]
    rule = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
    client.authorize_security_group_ingress(GroupId=other, IpPermissions=rule)
    assert refusal(client.delete_security_group, GroupId=group)[0] == "DependencyViolation"
    client.delete_security_group(GroupId=other)
    (instance_id,) = launch(SecurityGroupIds=[group])
    assert refusal(client.delete_security_group, GroupId=group)[0] == "DependencyViolation"
    client.terminate_instances(InstanceIds=[instance_id])
    client.get_waiter("instance_terminated").wait(
        InstanceIds=[instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )


def test_the_default_group_lets_its_members_in_and_stays(client: EC2Client) -> None:
    (default,) = client.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    (rule,) = default["IpPermissions"]
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [default["GroupId"]]
    assert refusal(client.delete_security_group, GroupId=default["GroupId"])[0] == "CannotDelete"


# Key pairs


def test_a_created_rsa_key_is_pem_with_the_sha1_of_the_private_key(client: EC2Client) -> None:
    created = client.create_key_pair(KeyName="created-rsa")
    assert created["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    private = serialization.load_pem_private_key(created["KeyMaterial"].encode(), password=None)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert created["KeyFingerprint"] == hashlib.sha1(der).digest().hex(":")
    (described,) = client.describe_key_pairs(KeyPairIds=[created["KeyPairId"]], IncludePublicKey=True)["KeyPairs"]
    assert described["KeyType"] == "rsa"
    assert described["PublicKey"].split() == [*_openssh(private), "created-rsa"]


def test_a_created_ed25519_key_is_openssh_with_the_sha256_of_the_public_key(client: EC2Client) -> None:
    created = client.create_key_pair(KeyName="created-ed25519", KeyType="ed25519")
    private = serialization.load_ssh_private_key(created["KeyMaterial"].encode(), password=None)
    assert created["KeyFingerprint"] == _sha256(_openssh(private)[1])


def test_an_imported_key_has_the_fingerprint_of_the_public_key(client: EC2Client, tmp_path: Path) -> None:
    public = KeyPair.generate(tmp_path / "key").public_key_content
    imported = client.import_key_pair(KeyName="imported-ed25519", PublicKeyMaterial=public.encode())
    assert imported["KeyFingerprint"] == _sha256(public.split()[1])
    rsa = serialization.load_pem_private_key(
        client.create_key_pair(KeyName="an-rsa-key")["KeyMaterial"].encode(), password=None
    )
    imported = client.import_key_pair(KeyName="imported-rsa", PublicKeyMaterial=" ".join(_openssh(rsa)).encode())
    der = rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert imported["KeyFingerprint"] == hashlib.md5(der).digest().hex(":")


@pytest.mark.parametrize(
    ("action", "parameters", "code"),
    [
        ("create_key_pair", {"KeyName": "taken"}, "InvalidKeyPair.Duplicate"),
        ("import_key_pair", {"KeyName": "taken", "PublicKeyMaterial": b"x"}, "InvalidKeyPair.Duplicate"),
        ("import_key_pair", {"KeyName": "new", "PublicKeyMaterial": b"nonsense"}, "InvalidKey.Format"),
        ("create_key_pair", {"KeyName": "new", "KeyType": "dsa"}, "InvalidParameterValue"),
        ("create_key_pair", {"KeyName": "x" * 256}, "InvalidParameterValue"),
        ("create_key_pair", {"KeyName": "new", "KeyFormat": "ppk"}, "UnsupportedOperation"),
    ],
)
def test_a_key_that_ec2_would_refuse_is_refused(
    client: EC2Client, action: str, parameters: dict[str, Any], code: str
) -> None:
    client.create_key_pair(KeyName="taken", KeyType="ed25519")
    try:
        assert refusal(getattr(client, action), **parameters)[0] == code
    finally:
        client.delete_key_pair(KeyName="taken")


def test_a_key_that_is_gone_already_can_be_deleted(client: EC2Client) -> None:
    key_pair_id = client.create_key_pair(KeyName="once", KeyType="ed25519")["KeyPairId"]
    client.delete_key_pair(KeyPairId=key_pair_id)
    client.delete_key_pair(KeyName="once")
    assert refusal(client.describe_key_pairs, KeyNames=["once"])[0] == "InvalidKeyPair.NotFound"


# Regions


def test_regions_are_listed_and_have_their_own_resources(simulated: Endpoint, client: EC2Client) -> None:
    names = {one["RegionName"] for one in client.describe_regions()["Regions"]}
    assert {"us-east-1", "eu-central-1", "ap-southeast-2"} <= names
    (one,) = client.describe_regions(RegionNames=["eu-west-1"])["Regions"]
    assert one["RegionName"] == "eu-west-1"
    client.create_key_pair(KeyName="of one region", KeyType="ed25519")
    there = connect(simulated, "eu-west-1")
    assert refusal(there.describe_key_pairs, KeyNames=["of one region"])[0] == "InvalidKeyPair.NotFound"


def _alive() -> list[dict[str, Any]]:
    return [{"Name": "instance-state-name", "Values": ["pending", "running"]}]


def _populate(client: EC2Client, image: str) -> None:
    if client.describe_instances()["Reservations"]:
        return
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "one of six"}]}]
    client.run_instances(ImageId=image, MinCount=6, MaxCount=6, TagSpecifications=tags)
    for number in range(6):
        client.create_vpc(CidrBlock=f"172.{16 + number}.0.0/16")
    client.create_subnet(
        VpcId=client.create_vpc(CidrBlock="192.168.0.0/16")["Vpc"]["VpcId"], CidrBlock="192.168.0.0/24"
    )
    vpc = client.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"][0]["VpcId"]
    for number in range(4):
        client.create_subnet(VpcId=vpc, CidrBlock=f"172.16.{number}.0/24")
    volume = client.create_volume(AvailabilityZone="ap-south-1a", Size=1)["VolumeId"]
    for _ in range(6):
        client.create_snapshot(VolumeId=volume)


def _openssh(private: Any) -> list[str]:
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode().split()


def _sha256(key: str) -> str:
    return base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode()
