"""The form of responses: what clients that read the XML themselves rely on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from pycloudlib.local import LocalEC2
from support.local_network import Launch
from support.query_api import QueryAPI

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture(scope="module")
def api(local: LocalEC2) -> QueryAPI:
    return QueryAPI(local)


def test_namespace_ends_with_a_slash(api: QueryAPI) -> None:
    reply = api.ask("DescribeRegions", Version="2016-11-15")
    assert re.search(r'<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">', reply.text)


def test_namespace_names_the_version_of_the_request(api: QueryAPI) -> None:
    assert 'xmlns="http://ec2.amazonaws.com/doc/2014-10-01/"' in api.ask("DescribeRegions", Version="2014-10-01").text
    assert 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"' in api.ask("DescribeRegions", Version='"><x').text


def test_errors_have_no_namespace(api: QueryAPI) -> None:
    reply = api.ask("DescribeInstances", InstanceId__1="i-12345678")
    assert "xmlns" not in reply.text
    assert (reply.status, reply.code) == (400, "InvalidInstanceID.NotFound")


def test_request_id_is_a_fresh_uuid(api: QueryAPI) -> None:
    replies = [api.ask("DescribeRegions"), api.ask("DescribeRegions")]
    ids = [reply.find("requestId") for reply in replies]
    ids += [api.ask("DescribeInstances", InstanceId__1="i-12345678").find("RequestID")]
    assert len({UUID(given) for given in ids}) == 3
    assert [reply.headers["x-amzn-requestid"] for reply in replies] == ids[:2]


def test_repeated_response_has_a_request_id_of_its_own(api: QueryAPI) -> None:
    wanted = {"AvailabilityZone": "us-east-1a", "Size": 1, "ClientToken": "once"}
    first, second = api.ask("CreateVolume", **wanted), api.ask("CreateVolume", **wanted)
    assert first.find("volumeId") == second.find("volumeId")
    assert first.find("requestId") != second.find("requestId")
    assert second.headers["x-amzn-requestid"] == second.find("requestId")


def test_parameters_are_given_once(api: QueryAPI) -> None:
    reply = api.post(b"Action=DescribeInstances&MaxResults=5&MaxResults=6")
    assert (reply.status, reply.code) == (400, "InvalidParameterValue")


def test_content_type_is_that_of_ec2(api: QueryAPI) -> None:
    assert api.ask("DescribeRegions").headers["Content-Type"] == "text/xml;charset=UTF-8"


def test_actions_without_a_result_return_true(api: QueryAPI) -> None:
    volume_id = api.ask("CreateVolume", AvailabilityZone="us-east-1a", Size=1).find("volumeId")
    tagged = api.ask("CreateTags", ResourceId__1=volume_id, Tag__1__Key="a", Tag__1__Value="b")
    assert tagged.find("return") == "true"
    assert api.ask("DeleteVolume", VolumeId=volume_id).find("return") == "true"


def test_modeled_return_is_true_if_moto_leaves_it_out(api: QueryAPI) -> None:
    group_id = api.ask("CreateSecurityGroup", GroupName="web", GroupDescription="web").find("groupId")
    rule = {"IpPermissions.1.IpProtocol": "tcp", "IpPermissions.1.FromPort": 80, "IpPermissions.1.ToPort": 80}
    wanted = {"GroupId": group_id, **rule, "IpPermissions.1.IpRanges.1.CidrIp": "10.0.0.0/8"}
    assert api.send({"Action": "AuthorizeSecurityGroupIngress", **wanted}).find("return") == "true"
    wanted["IpPermissions.1.IpRanges.1.Description"] = "intranet"
    updated = api.send({"Action": "UpdateSecurityGroupRuleDescriptionsIngress", **wanted})
    assert updated.find("return") == "true"


def test_interfaces_without_an_address_have_no_empty_association(client: EC2Client, launch: Launch) -> None:
    subnet_id = client.describe_subnets()["Subnets"][0]["SubnetId"]
    interface = [{"DeviceIndex": 0, "SubnetId": subnet_id, "AssociatePublicIpAddress": False}]
    instance_id = launch(NetworkInterfaces=interface)
    instance = client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert "Association" not in instance["NetworkInterfaces"][0]
    assert "Association" not in instance["NetworkInterfaces"][0]["PrivateIpAddresses"][0]


def test_attributes_without_a_value_are_empty(client: EC2Client, launch: Launch) -> None:
    attribute = client.describe_instance_attribute(InstanceId=launch(), Attribute="userData")
    assert attribute["UserData"] == {}
