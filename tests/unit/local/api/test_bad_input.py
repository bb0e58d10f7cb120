"""Malformed requests of every action: an error of EC2's, never a 500, never HTML, and never a hang."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest
from botocore.session import get_session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pycloudlib.local import LocalEC2
from pycloudlib.local.api.audit import audit_of
from support import wild_requests
from support.query_api import QueryAPI, Reply
from support.small_world import populate

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

EC2 = get_session().get_service_model("ec2")
SUPPORTED = [action for action in EC2.operation_names if audit_of(action) is not None]
OTHERS = [action for action in EC2.operation_names if audit_of(action) is None]
OF_OTHER_SERVICES = ["GetCallerIdentity", "ListBuckets", "PutItem", "CreateTopic", "RunInstance", "describeInstances"]
CODE = re.compile(r"[A-Z][A-Za-z.]+")


@pytest.fixture(scope="module")
def api(local: LocalEC2) -> QueryAPI:
    return QueryAPI(local)


@pytest.fixture(scope="module")
def ids(client: EC2Client, image_id: str) -> Mapping[str, str]:
    return populate(client, image_id)


def check(reply: Reply) -> None:
    """The response is one of EC2's, whether it succeeded or not."""
    assert reply.headers["Content-Type"] == "text/xml;charset=UTF-8"
    if reply.status == 200:
        assert reply.find("requestId")
        return
    assert reply.status in (400, 412), reply.text
    assert CODE.fullmatch(reply.find("Errors/Error/Code"))
    assert reply.find("Errors/Error/Message")


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_malformed_requests_get_an_error_of_ec2(api: QueryAPI, ids: Mapping[str, str], data: st.DataObject) -> None:
    action = data.draw(st.sampled_from(SUPPORTED), label="action")
    parameters = data.draw(wild_requests.parameters(EC2.operation_model(action), ids), label="parameters")
    check(api.send({**parameters, "Action": action}))


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(OTHERS), st.data())
def test_actions_that_are_not_there_are_refused_by_name(api: QueryAPI, action: str, data: st.DataObject) -> None:
    parameters = data.draw(wild_requests.parameters(EC2.operation_model(action), {}))
    reply = api.send({**parameters, "Action": action})
    check(reply)
    assert reply.status == 400


@pytest.mark.parametrize("action", OF_OTHER_SERVICES)
def test_actions_of_other_services_are_invalid(api: QueryAPI, action: str) -> None:
    reply = api.send({"Action": action, "Bucket": "x"})
    check(reply)
    assert reply.code == "InvalidAction"


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200))
def test_any_body_gets_an_error_of_ec2(api: QueryAPI, body: bytes) -> None:
    check(api.post(body))
    check(api.post(b"Action=DescribeInstances&" + body))


DHCP = {"DhcpConfiguration.1.Key": "domain-name"}


@pytest.mark.parametrize(
    ("action", "parameters", "code"),
    [
        ("CreateDhcpOptions", {"DhcpConfiguration.1.Value.1": "x"}, "InvalidParameterValue"),
        ("CreateDhcpOptions", DHCP, "InvalidParameterValue"),
        ("CreateDhcpOptions", {**DHCP, "DhcpConfiguration.1.Value": ""}, "InvalidParameterValue"),
        ("CreateDhcpOptions", {**DHCP, "DhcpConfiguration.1.Value.1": ""}, "InvalidParameterValue"),
        (
            "CreateDhcpOptions",
            {"DhcpConfiguration.1.Key": "x", "DhcpConfiguration.1.Value.1": "y"},
            "InvalidParameterValue",
        ),
        (
            "CreateDhcpOptions",
            {"DhcpConfiguration.1.Key": "ipv6-address-preferred-lease-time", "DhcpConfiguration.1.Value.1": "140"},
            "UnsupportedOperation",
        ),
        ("ReplaceNetworkAclAssociation", {"AssociationId": "x", "NetworkAclId": "y"}, "InvalidAssociationID.NotFound"),
        ("DeleteManagedPrefixList", {"PrefixListId": "pl-1"}, "InvalidPrefixListID.NotFound"),
        ("ModifyManagedPrefixList", {"PrefixListId": "pl-1"}, "InvalidPrefixListID.NotFound"),
        ("DescribeIamInstanceProfileAssociations", {"NextToken": "x"}, "InvalidNextToken"),
        (
            "CreateVpcPeeringConnection",
            {"VpcId": "vpc-1", "PeerVpcId": "vpc-2", "PeerRegion": "nowhere"},
            "InvalidParameterValue",
        ),
    ],
)
def test_values_that_moto_stumbles_over_are_refused(
    api: QueryAPI, action: str, parameters: dict[str, str], code: str
) -> None:
    reply = api.send({"Action": action, **parameters})
    check(reply)
    assert reply.code == code


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("DescribeInstanceTypes", "instance-storage-info.disk.count"),
        ("DescribeInstanceTypes", "instance-storage-info.nvme-support"),
        ("DescribeVpcEndpointServices", "service-name"),
        ("DescribeVpcEndpointServices", "service-type"),
        ("DescribeInstances", "tag"),
        ("DescribeVolumes", "tag"),
        ("DescribeImages", "tag"),
    ],
)
def test_filters_are_answered_or_refused(api: QueryAPI, action: str, name: str) -> None:
    reply = api.ask(action, Filter__1__Name=name, Filter__1__Value__1="x")
    check(reply)
    assert reply.code in (None, "InvalidParameterValue", "UnsupportedOperation")


@pytest.mark.parametrize(
    ("key", "values", "accepted"),
    [
        ("domain-name-servers", ["AmazonProvidedDNS"], True),
        ("domain-name-servers", ["192.0.2.1", "2001:db8::1"], True),
        ("domain-name-servers", ["nonsense"], False),
        ("ntp-servers", ["192.0.2.1"] * 5, False),
        ("ntp-servers", ["AmazonProvidedDNS"], False),
        ("netbios-node-type", ["2"], True),
        ("netbios-node-type", ["3"], False),
        ("domain-name", ["a.example", "b.example"], False),
        ("domain-name", ["a.example b.example"], True),
        ("domain-name", ["a.example,b.example"], False),
    ],
)
def test_dhcp_options_have_the_values_of_ec2(api: QueryAPI, key: str, values: list[str], accepted: bool) -> None:
    given = {f"DhcpConfiguration.1.Value.{number}": value for number, value in enumerate(values, 1)}
    reply = api.send({"Action": "CreateDhcpOptions", "DhcpConfiguration.1.Key": key, **given})
    check(reply)
    assert reply.code == (None if accepted else "InvalidParameterValue")
