"""The forms of parameters: those of the model, and those of older clients."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from botocore.model import ServiceModel
from botocore.session import get_session
from moto.ec2.exceptions import EC2ClientError

from pycloudlib.local.api.query import parse_query


@pytest.fixture(scope="module")
def ec2() -> ServiceModel:
    return get_session().get_service_model("ec2")


def refusal(ec2: ServiceModel, action: str, **values: str) -> tuple[str, str]:
    with pytest.raises(EC2ClientError) as caught:
        parse(ec2, action, **values)
    return caught.value.code, caught.value.message


def parse(ec2: ServiceModel, action: str, **values: str) -> dict[str, Any]:
    return parse_query(ec2.operation_model(action), {name.replace("__", "."): given for name, given in values.items()})


def test_nested_parameters_get_the_types_of_the_model(ec2: ServiceModel) -> None:
    parsed = parse(
        ec2,
        "RunInstances",
        Action="RunInstances",
        Version="2016-11-15",
        MinCount="2",
        DryRun="true",
        BlockDeviceMapping__1__Ebs__VolumeSize="8",
        BlockDeviceMapping__1__DeviceName="/dev/xvda",
        InstanceMarketOptions__SpotOptions__ValidUntil="2026-01-02T03:04:05+01:00",
        TagSpecification__1__Tag__1__Key="Name",
    )
    assert parsed == {
        "MinCount": 2,
        "DryRun": True,
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}],
        "InstanceMarketOptions": {"SpotOptions": {"ValidUntil": datetime(2026, 1, 2, 2, 4, 5)}},
        "TagSpecifications": [{"Tags": [{"Key": "Name"}]}],
    }


@pytest.mark.parametrize(
    "values",
    [
        {"InstanceId__1": "i-a", "InstanceId__2": "i-b"},
        {"InstanceId__0": "i-a", "InstanceId__1": "i-b"},
        {"InstanceId__3": "i-a", "InstanceId__20": "i-b"},
        {"InstanceId__2": "i-b", "InstanceId__1": "i-a"},
    ],
)
def test_lists_are_in_the_order_of_their_numbers(ec2: ServiceModel, values: dict[str, str]) -> None:
    assert parse(ec2, "DescribeInstances", **values) == {"InstanceIds": ["i-a", "i-b"]}


def test_lists_of_one_need_no_number(ec2: ServiceModel) -> None:
    assert parse(ec2, "DescribeInstances", InstanceId="i-a") == {"InstanceIds": ["i-a"]}
    parsed = parse(ec2, "DescribeInstances", Filter__Name="tag-key", Filter__Value="Name")
    assert parsed == {"Filters": [{"Name": "tag-key", "Values": ["Name"]}]}


def test_empty_parameters_are_empty_lists(ec2: ServiceModel) -> None:
    assert parse(ec2, "DescribeInstances", InstanceId="") == {"InstanceIds": []}


def test_single_values_may_have_a_number(ec2: ServiceModel) -> None:
    assert parse(ec2, "GetConsoleOutput", InstanceId__1="i-a") == {"InstanceId": "i-a"}


def test_single_values_are_single(ec2: ServiceModel) -> None:
    code, reason = refusal(ec2, "GetConsoleOutput", InstanceId__1="i-a", InstanceId__2="i-b")
    assert (code, reason) == ("UnknownParameter", "The parameter InstanceId.1 is not recognized")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Nope", "1"),
        ("InstanceId.1.Id", "1"),
        ("Filter.1.Nope", "1"),
        ("Filter.1.Value.1.Nope.2", "1"),
        ("Filter..Name", "x"),
        ("." * 5000, "1"),
        ("Filter" + ".1" * 200_000, "1"),
    ],
    ids=lambda value: value[:30],
)
def test_unknown_parameters_are_refused_by_name(ec2: ServiceModel, name: str, value: str) -> None:
    code, reason = refusal(ec2, "DescribeInstances", **{name: value})
    assert (code, reason) == ("UnknownParameter", f"The parameter {name} is not recognized")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MinCount", "many"),
        ("MinCount", ""),
        ("MinCount", "1.5"),
        ("MinCount", str(2**31)),
        ("MinCount", "9" * 5000),
        ("MinCount", "²"),
        ("EbsOptimized", "perhaps"),
        ("Placement", "here"),
        ("InstanceMarketOptions.SpotOptions.ValidUntil", "tomorrow"),
        ("InstanceMarketOptions.SpotOptions.ValidUntil", "9999-99-99T00:00:00Z"),
    ],
    ids=lambda value: value[:30],
)
def test_values_of_another_type_are_refused_by_name(ec2: ServiceModel, name: str, value: str) -> None:
    code, reason = refusal(ec2, "RunInstances", **{name: value})
    assert code == "InvalidParameterValue"
    assert reason.startswith(f"Value ({value}) for parameter {name} is invalid.")


def test_lists_and_values_do_not_mix(ec2: ServiceModel) -> None:
    code, _ = refusal(ec2, "DescribeInstances", InstanceId="i-a", InstanceId__1="i-b")
    assert code == "InvalidParameterValue"


def test_blobs_are_base64(ec2: ServiceModel) -> None:
    parsed = parse(ec2, "ModifyInstanceAttribute", InstanceId="i-a", UserData__Value="aGVs\nbG8=")
    assert parsed["UserData"] == {"Value": b"hello"}
    assert refusal(ec2, "ModifyInstanceAttribute", UserData__Value="a")[0] == "InvalidParameterValue"


def test_actions_without_parameters_refuse_all_others(ec2: ServiceModel) -> None:
    operation = ec2.operation_model("DescribeRegions")
    assert parse_query(operation, {"Action": "DescribeRegions", "X-Amz-Date": "x"}) == {}
