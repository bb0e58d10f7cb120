"""Launches from launch templates: each value of a template takes effect."""

from __future__ import annotations

import base64
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.local_network import describe, wait_for
from support.plain_ec2 import refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from pycloudlib.local import LocalEC2

FORM = "application/x-www-form-urlencoded; charset=utf-8"
LAUNCH: dict[str, Any] = {"MinCount": 1, "MaxCount": 1}


def template(client: EC2Client, name: str, **data: Any) -> str:
    created = client.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
    return created["LaunchTemplate"]["LaunchTemplateId"]


def run(client: EC2Client, name: str, *, version: str | None = None, **parameters: Any) -> dict[str, Any]:
    reference = {"LaunchTemplateName": name, **({"Version": version} if version else {})}
    launched = client.run_instances(LaunchTemplate=reference, **{**LAUNCH, **parameters})
    instance_id = launched["Instances"][0]["InstanceId"]
    wait_for(client, instance_id, "running")
    return describe(client, instance_id)


def attribute(client: EC2Client, instance_id: str, name: str) -> Any:
    answer: dict[str, Any] = client.describe_instance_attribute(InstanceId=instance_id, Attribute=name)
    return answer[name[0].upper() + name[1:]]["Value"]


def test_launch_takes_effect_of_every_value(client: EC2Client, image_id: str) -> None:
    vpc_id = client.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    group_id = client.create_security_group(GroupName="templated", Description="x", VpcId=vpc_id)["GroupId"]
    client.create_key_pair(KeyName="templated")
    template(
        client,
        "complete",
        ImageId=image_id,
        InstanceType="t3.micro",
        KeyName="templated",
        SecurityGroupIds=[group_id],
        Placement={"AvailabilityZone": "us-east-1b", "Tenancy": "dedicated"},
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 3},
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3, "DeleteOnTermination": False}}],
        DisableApiTermination=True,
        DisableApiStop=True,
        InstanceInitiatedShutdownBehavior="terminate",
        Monitoring={"Enabled": True},
        EbsOptimized=True,
        UserData=base64.b64encode(b"#!/bin/sh\n").decode(),
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "templated"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "of", "Value": "template"}]},
        ],
    )
    instance = run(client, "complete")
    instance_id = instance["InstanceId"]
    assert instance["InstanceType"] == "t3.micro"
    assert instance["KeyName"] == "templated"
    assert [one["GroupId"] for one in instance["SecurityGroups"]] == [group_id]
    assert instance["Placement"]["AvailabilityZone"] == "us-east-1b"
    assert instance["Placement"]["Tenancy"] == "dedicated"
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 3
    assert instance["Monitoring"]["State"] == "enabled"
    assert instance["EbsOptimized"] is True
    mapped = {one["DeviceName"]: one["Ebs"] for one in instance["BlockDeviceMappings"]}
    assert mapped["/dev/sdf"]["DeleteOnTermination"] is False
    volume = client.describe_volumes(VolumeIds=[mapped["/dev/sdf"]["VolumeId"]])["Volumes"][0]
    assert volume["Size"] == 3
    assert {"Key": "of", "Value": "template"} in volume["Tags"]
    assert attribute(client, instance_id, "disableApiTermination") is True
    assert attribute(client, instance_id, "disableApiStop") is True
    assert attribute(client, instance_id, "instanceInitiatedShutdownBehavior") == "terminate"
    assert base64.b64decode(attribute(client, instance_id, "userData")) == b"#!/bin/sh\n"
    assert {"Key": "Name", "Value": "templated"} in instance["Tags"]
    assert "aws:ec2launchtemplate:id" in {tag["Key"] for tag in instance["Tags"]}


def test_request_overrides_template(client: EC2Client, image_id: str) -> None:
    template(
        client,
        "overridden",
        ImageId=image_id,
        InstanceType="t3.micro",
        MetadataOptions={"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3}}],
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "1"}]}
        ],
    )
    instance = run(
        client,
        "overridden",
        InstanceType="m5.large",
        MetadataOptions={"HttpTokens": "optional"},
        BlockDeviceMappings=[{"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 1}}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "b", "Value": "2"}]}],
    )
    assert instance["InstanceType"] == "m5.large"
    assert instance["CpuOptions"] == {"CoreCount": 1, "ThreadsPerCore": 2}
    assert instance["MetadataOptions"]["HttpTokens"] == "optional"
    assert instance["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
    assert {"/dev/sdf", "/dev/sdg"} <= {one["DeviceName"] for one in instance["BlockDeviceMappings"]}
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert (tags["a"], tags["b"]) == ("1", "2")


def test_instance_profile_is_that_of_the_template(client: EC2Client, image_id: str) -> None:
    template(client, "profiled", ImageId=image_id, IamInstanceProfile={"Name": "nobody"})
    reference = {"LaunchTemplateName": "profiled"}
    assert refusal(client.run_instances, LaunchTemplate=reference, **LAUNCH) == "InvalidParameterValue"


def test_unknown_key_and_image_are_refused(client: EC2Client, image_id: str) -> None:
    template(client, "keyless", ImageId=image_id, KeyName="nobodys")
    template(client, "imageless", InstanceType="t3.micro")
    for name, code in (("keyless", "InvalidKeyPair.NotFound"), ("imageless", "MissingParameter")):
        assert refusal(client.run_instances, LaunchTemplate={"LaunchTemplateName": name}, **LAUNCH) == code


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ({"LaunchTemplateName": "none"}, "InvalidLaunchTemplateName.NotFoundException"),
        ({"LaunchTemplateId": "lt-0123456789abcdef0"}, "InvalidLaunchTemplateId.NotFound"),
        ({"LaunchTemplateId": "referred"}, "InvalidLaunchTemplateId.Malformed"),
        ({"LaunchTemplateName": "referred", "Version": "7"}, "InvalidLaunchTemplateId.VersionNotFound"),
        ({"LaunchTemplateName": "referred", "Version": "0"}, "InvalidLaunchTemplateId.VersionNotFound"),
        ({"LaunchTemplateName": "referred", "Version": "new"}, "InvalidLaunchTemplateId.VersionNotFound"),
        ({"Version": "1"}, "MissingParameter"),
    ],
)
def test_unknown_template_is_refused(client: EC2Client, image_id: str, reference: dict[str, str], code: str) -> None:
    if not client.describe_launch_templates(Filters=[{"Name": "launch-template-name", "Values": ["referred"]}])[
        "LaunchTemplates"
    ]:
        template(client, "referred", ImageId=image_id)
    assert refusal(client.run_instances, LaunchTemplate=reference, **LAUNCH) == code


def test_versions_merge_their_source(client: EC2Client, image_id: str) -> None:
    template(client, "grown", ImageId=image_id, InstanceType="t3.micro")
    added = client.create_launch_template_version(
        LaunchTemplateName="grown",
        SourceVersion="1",
        VersionDescription="larger",
        LaunchTemplateData={"InstanceType": "t3.large", "UserData": base64.b64encode(b"x").decode()},
    )["LaunchTemplateVersion"]
    assert added["LaunchTemplateData"]["ImageId"] == image_id
    assert added["LaunchTemplateData"]["InstanceType"] == "t3.large"
    assert run(client, "grown")["InstanceType"] == "t3.micro"
    assert run(client, "grown", version="$Latest")["InstanceType"] == "t3.large"
    client.modify_launch_template(LaunchTemplateName="grown", DefaultVersion="2")
    assert run(client, "grown")["InstanceType"] == "t3.large"
    default = client.describe_launch_template_versions(
        LaunchTemplateName="grown", Filters=[{"Name": "is-default-version", "Values": ["true"]}]
    )["LaunchTemplateVersions"]
    assert [one["VersionNumber"] for one in default] == [2]
    deleted = client.delete_launch_template_versions(LaunchTemplateName="grown", Versions=["1", "2"])
    assert [one["VersionNumber"] for one in deleted["SuccessfullyDeletedLaunchTemplateVersions"]] == [1]
    assert [one["VersionNumber"] for one in deleted["UnsuccessfullyDeletedLaunchTemplateVersions"]] == [2]


def test_version_number_is_not_used_again(client: EC2Client, image_id: str) -> None:
    template(client, "shrunk", ImageId=image_id)

    def add() -> int:
        data: Any = {"InstanceType": "t3.large"}
        added = client.create_launch_template_version(LaunchTemplateName="shrunk", LaunchTemplateData=data)
        return int(added["LaunchTemplateVersion"]["VersionNumber"])

    assert add() == 2
    client.delete_launch_template_versions(LaunchTemplateName="shrunk", Versions=["2"])
    assert add() == 3


@pytest.mark.parametrize("specification", [{"Tags": [{"Key": "a", "Value": "b"}]}, {"ResourceType": "instance"}])
def test_incomplete_tag_specifications_are_refused(client: EC2Client, specification: Any) -> None:
    data: Any = {"TagSpecifications": [specification]}
    code = refusal(client.create_launch_template, LaunchTemplateName="untagged", LaunchTemplateData=data)
    assert code == "InvalidParameterValue"


def test_unknown_templates_are_not_described(client: EC2Client) -> None:
    for name, value, code in (
        ("LaunchTemplateIds", "lt-0123456789abcdef0", "InvalidLaunchTemplateId.NotFound"),
        ("LaunchTemplateIds", "lt-1", "InvalidLaunchTemplateId.Malformed"),
        ("LaunchTemplateNames", "none", "InvalidLaunchTemplateName.NotFoundException"),
    ):
        assert refusal(client.describe_launch_templates, **{name: [value]}) == code


def test_unknown_members_are_refused(local: LocalEC2) -> None:
    body = urllib.parse.urlencode(
        {
            "Action": "CreateLaunchTemplate",
            "Version": "2016-11-15",
            "LaunchTemplateName": "misspelled",
            "LaunchTemplateData.ImageId": "ami-0123456789abcdef0",
            "LaunchTemplateData.InstanceTyp": "t3.micro",
        }
    )
    request = AWSRequest("POST", local.endpoint_url, data=body, headers={"Content-Type": FORM})
    credentials = Credentials(local.access_key_id, local.secret_access_key)
    SigV4Auth(credentials, "ec2", local.region).add_auth(request)
    prepared = request.prepare()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(prepared.url, body.encode(), dict(prepared.headers)))
    assert b"UnknownParameter" in caught.value.read()


def test_data_of_an_instance_launches_another_like_it(client: EC2Client, image_id: str) -> None:
    template(
        client,
        "original",
        ImageId=image_id,
        InstanceType="t3.micro",
        UserData=base64.b64encode(b"#!/bin/sh\n").decode(),
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2, "VolumeType": "gp3"}}],
        MetadataOptions={"HttpTokens": "required"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "original"}]}],
    )
    original = run(client, "original")
    data: Any = client.get_launch_template_data(InstanceId=original["InstanceId"])["LaunchTemplateData"]
    assert data["InstanceType"] == "t3.micro"
    assert data["TagSpecifications"][0]["Tags"] == [{"Key": "Name", "Value": "original"}]
    assert base64.b64decode(data["UserData"]) == b"#!/bin/sh\n"
    assert {one["DeviceName"]: one["Ebs"]["VolumeSize"] for one in data["BlockDeviceMappings"]}["/dev/sdf"] == 2
    for one in data["NetworkInterfaces"]:
        del one["PrivateIpAddresses"]  # they are taken
    template(client, "copy", **data)
    copy = run(client, "copy")
    assert copy["MetadataOptions"]["HttpTokens"] == "required"
    assert copy["SubnetId"] == original["SubnetId"]
    assert copy["CpuOptions"] == original["CpuOptions"]


@pytest.mark.parametrize("name", ["ab", "a b", "x" * 129, "caf\u00e9"])
def test_name_of_other_characters_is_refused(client: EC2Client, name: str) -> None:
    call = client._make_api_call  # type: ignore[attr-defined]  # botocore itself refuses short names otherwise
    wanted = {"LaunchTemplateName": name, "LaunchTemplateData": {"InstanceType": "t3.micro"}}
    code = refusal(lambda **given: call("CreateLaunchTemplate", given), **wanted)
    assert code == "InvalidLaunchTemplateName.MalformedException"


@pytest.mark.parametrize("name", ["MinVersion", "MaxVersion"])
@pytest.mark.parametrize("version", ["x", "$Latest", "-1", pytest.param("9" * 5000, id="5000 digits")])
def test_invalid_version_bounds_are_refused(client: EC2Client, name: str, version: str) -> None:
    data = {"InstanceType": "t3.micro"}
    template_id = template(client, f"bounds-{name}-{version[:8].strip(chr(36))}", **data)
    bounds: dict[str, Any] = {"LaunchTemplateId": template_id, name: version}
    assert refusal(client.describe_launch_template_versions, **bounds) == "InvalidParameterValue"
