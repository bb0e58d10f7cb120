"""SSM's parameter store at the local EC2: the public parameters of images, one's own, and launches by either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from pycloudlib.cloud import ImageType
from pycloudlib.ec2.images.queries import release_query
from pycloudlib.local import LocalEC2
from support import services
from support.local_network import Launch
from support.plain_ec2 import refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

NOBLE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"


def connect(local: LocalEC2, region: str = "") -> Any:
    return boto3.client(
        "ssm",
        endpoint_url=local.endpoint_url,
        region_name=region or local.region,
        aws_access_key_id=local.access_key_id,
        aws_secret_access_key=local.secret_access_key,
    )


@pytest.fixture(scope="module")
def ssm(local: LocalEC2) -> Any:
    return connect(local)


def newest(client: EC2Client, release: str, **query: Any) -> str:
    """The AMI that the library finds by DescribeImages."""
    wanted = release_query(release, **query)
    filters = [{"Name": name, "Values": [value]} for name, value in wanted.filters.items()]
    images = client.describe_images(Owners=list(wanted.owners), Filters=filters)["Images"]
    return max(images, key=lambda image: (image["CreationDate"], image["Name"]))["ImageId"]


def all_below(ssm: Any, path: str, **parameters: Any) -> list[dict[str, Any]]:
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=path, **parameters)
    return [parameter for page in pages for parameter in page["Parameters"]]


@pytest.mark.parametrize(
    ("release", "query"),
    [
        ("noble", {"daily": False}),
        ("jammy", {"daily": False, "arch": "arm64"}),
        ("focal", {"daily": False}),
        ("noble", {"daily": False, "image_type": ImageType.MINIMAL}),
        ("noble", {"daily": False, "image_type": ImageType.PRO}),
        ("bookworm", {"daily": False}),
        ("trixie", {"daily": True, "arch": "arm64"}),
    ],
)
def test_get_parameters_knows_the_names_that_the_library_asks_for(
    client: EC2Client, ssm: Any, release: str, query: dict[str, Any]
) -> None:
    names = list(release_query(release, **query).parameters)
    found = ssm.get_parameters(Names=names)["Parameters"]
    assert found
    assert {one["Value"] for one in found} == {newest(client, release, **query)}


def test_get_parameter_describes_a_public_parameter(client: EC2Client, ssm: Any) -> None:
    parameter = ssm.get_parameter(Name=NOBLE)["Parameter"]
    assert parameter["Value"] == newest(client, "noble", daily=False)
    assert (parameter["Name"], parameter["Type"], parameter["DataType"]) == (NOBLE, "String", "aws:ec2:image")
    assert parameter["ARN"] == f"arn:aws:ssm:us-east-1::parameter{NOBLE}"
    assert parameter["LastModifiedDate"].year == 2026
    version = parameter["Version"]
    assert ssm.get_parameter(Name=f"{NOBLE}:{version}")["Parameter"]["Value"] == parameter["Value"]
    assert ssm.get_parameter(Name=parameter["ARN"])["Parameter"]["Value"] == parameter["Value"]
    assert refusal(ssm.get_parameter, Name=f"{NOBLE}:{version + 1}") == "ParameterVersionNotFound"


def test_public_parameters_are_in_every_region(local: LocalEC2, ssm: Any) -> None:
    elsewhere = connect(local, "eu-central-1").get_parameter(Name=NOBLE)["Parameter"]
    assert elsewhere["ARN"] == f"arn:aws:ssm:eu-central-1::parameter{NOBLE}"
    assert elsewhere["Value"] == ssm.get_parameter(Name=NOBLE)["Parameter"]["Value"]


def test_serials_name_the_older_images(ssm: Any) -> None:
    folder = "/aws/service/canonical/ubuntu/server/noble/stable"
    values = {
        one["Name"].split("/")[8]: one["Value"]
        for one in all_below(ssm, folder, Recursive=True)
        if "amd64" in one["Name"]
    }
    assert set(values) == {"current", "20251201", "20260105", "20260202"}
    assert values["current"] == values["20260202"] != values["20260105"]


def test_get_parameters_by_path_pages(ssm: Any) -> None:
    path = "/aws/service/debian/release"
    parameters = all_below(ssm, path, Recursive=True)
    names = [one["Name"] for one in parameters]
    assert len(names) > 10
    assert names == sorted(set(names))
    assert all(one["Value"].startswith("ami-") for one in parameters)
    assert all_below(ssm, path) == []
    assert {one["Name"] for one in all_below(ssm, "/aws/service", Recursive=True)} > set(names)
    directly = [one["Name"] for one in all_below(ssm, f"{path}/12/latest/")]
    assert directly == [f"{path}/12/latest/amd64", f"{path}/12/latest/arm64"]


def test_names_without_an_image_do_not_exist(ssm: Any) -> None:
    amazon = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    assert refusal(ssm.get_parameter, Name=amazon) == "ParameterNotFound"
    answer = ssm.get_parameters(Names=[amazon, NOBLE])
    assert [one["Name"] for one in answer["Parameters"]] == [NOBLE]
    assert answer["InvalidParameters"] == [amazon]
    assert all_below(ssm, "/aws/service/ami-amazon-linux-latest") == []


def test_public_parameters_cannot_be_written(ssm: Any) -> None:
    put = {"Name": "/aws/service/mine", "Value": "ami-1", "Type": "String"}
    assert refusal(ssm.put_parameter, **put) == "AccessDeniedException"


def test_filters_of_public_parameters_are_refused(ssm: Any) -> None:
    asked = {"Path": "/aws/service/debian", "ParameterFilters": [{"Key": "Type", "Values": ["String"]}]}
    assert refusal(ssm.get_parameters_by_path, **asked) == "ValidationException"


@pytest.mark.parametrize("path", ["/aws/service/debian", "/mine"])
@pytest.mark.parametrize("token", ["x", pytest.param("9" * 5000, id="5000 digits")])
def test_invalid_tokens_are_refused(ssm: Any, path: str, token: str) -> None:
    assert refusal(ssm.get_parameters_by_path, Path=path, NextToken=token) == "ValidationException"


def test_other_actions_of_ssm_are_refused_by_name(ssm: Any) -> None:
    with pytest.raises(ClientError, match="does not have the action 'SendCommand' of ssm") as caught:
        ssm.send_command(InstanceIds=["i-0123456789abcdef0"], DocumentName="AWS-RunShellScript")
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"


def test_run_instances_resolves_a_public_parameter(client: EC2Client, launch: Launch) -> None:
    instance_id = launch(ImageId=f"resolve:ssm:{NOBLE}")
    described = client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert described["ImageId"] == newest(client, "noble", daily=False)


def test_run_instances_resolves_ones_own_parameter(client: EC2Client, ssm: Any, image_id: str, launch: Launch) -> None:
    older = newest(client, "noble", daily=False)
    ssm.put_parameter(Name="golden", Value=older, Type="String", DataType="aws:ec2:image")
    ssm.put_parameter(Name="golden", Value=image_id, Type="String", DataType="aws:ec2:image", Overwrite=True)
    for name, expected in (("golden", image_id), ("golden:1", older)):
        instance_id = launch(ImageId=f"resolve:ssm:{name}")
        described = client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        assert described["ImageId"] == expected


@pytest.mark.parametrize("name", ["", "nowhere", "/aws/service/debian/release/1/latest/amd64", f"{NOBLE}:9999"])
def test_run_instances_refuses_an_unknown_parameter(client: EC2Client, name: str) -> None:
    launch = {"ImageId": f"resolve:ssm:{name}", "MinCount": 1, "MaxCount": 1}
    assert refusal(client.run_instances, **launch) == "SsmInvalidParameter"


def test_run_instances_refuses_a_parameter_of_another_type(client: EC2Client, ssm: Any, image_id: str) -> None:
    ssm.put_parameter(Name="/plain/text", Value=image_id, Type="String")
    launch = {"ImageId": "resolve:ssm:/plain/text", "MinCount": 1, "MaxCount": 1}
    assert refusal(client.run_instances, **launch) == "SsmInvalidParameter"


def test_only_run_instances_takes_a_parameter_as_image(client: EC2Client) -> None:
    assert refusal(client.describe_images, ImageIds=[f"resolve:ssm:{NOBLE}"]) == "InvalidAMIID.Malformed"


def put(ssm: Any, name: str, **parameters: Any) -> dict[str, Any]:
    return ssm.put_parameter(**{"Name": name, "Value": "1", "Type": "String", **parameters})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Tier": "Gold"}, "ValidationException"),
        ({"Type": "Number"}, "ValidationException"),
        ({"Name": "no/slash"}, "ValidationException"),
        ({"Name": "/a//b"}, "ValidationException"),
        ({"Name": "a b"}, "ValidationException"),
        ({"Value": "x" * 4097}, "ValidationException"),
        ({"Value": "x" * 8193, "Tier": "Advanced"}, "ValidationException"),
        ({"Description": "x" * 1025}, "ValidationException"),
        ({"KeyId": "alias/mine"}, "ValidationException"),
        ({"AllowedPattern": "[0-9"}, "InvalidAllowedPatternException"),
        ({"AllowedPattern": "^[a-z]+$"}, "ParameterPatternMismatchException"),
        ({"Policies": "[]"}, "UnsupportedOperation"),
    ],
)
def test_values_of_a_parameter_that_do_not_fit_are_refused(local: LocalEC2, change: dict[str, str], code: str) -> None:
    ssm = services.connect(local, "ssm")
    assert refusal(put, **{"ssm": ssm, "name": "/unfit", **change}) == code
    assert "/unfit" not in {one["Name"] for one in ssm.describe_parameters()["Parameters"]}


def test_a_new_version_has_to_match_the_pattern(ssm: Any) -> None:
    put(ssm, "/patterned", AllowedPattern="^[0-9]+$")
    assert refusal(put, ssm=ssm, name="/patterned", Value="x", Overwrite=True) == "ParameterPatternMismatchException"
    assert put(ssm, "/patterned", Value="2", Overwrite=True)["Version"] == 2


def test_the_tier_follows_from_the_size_and_stays(ssm: Any) -> None:
    assert put(ssm, "/tiered", Tier="Intelligent-Tiering")["Tier"] == "Standard"
    assert put(ssm, "/tiered", Tier="Intelligent-Tiering", Value="x" * 4097, Overwrite=True)["Tier"] == "Advanced"
    assert put(ssm, "/tiered", Overwrite=True)["Tier"] == "Advanced"
    assert refusal(put, ssm=ssm, name="/tiered", Tier="Standard", Overwrite=True) == "ValidationException"
