from __future__ import annotations

import logging

import pytest
from botocore.exceptions import ClientError

from pycloudlib.config import Settings
from pycloudlib.ec2.api.session import open_session
from support.scripted_ec2 import ScriptedEC2

IMAGES = "<imagesSet/>"
VOLUME = "<volumeId>vol-1</volumeId>"
TAGS = [
    {"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "mine"}, {"Key": "a", "Value": ""}]},
    {"ResourceType": "snapshot", "Tags": [{"Key": "Name", "Value": "other"}]},
]


def create_volume(client) -> None:
    client.create_volume(AvailabilityZone="a", Size=1, TagSpecifications=TAGS)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("UnknownParameter", "The parameter IncludeDeprecated is not recognized"),
        ("UnsupportedOperation", "IncludeDeprecated"),
        ("InvalidParameterValue", "Unknown parameter: include_deprecated"),
        ("InvalidRequest", "describe_images() got an unexpected keyword argument 'include_deprecated'"),
    ],
)
def test_a_parameter_that_a_server_does_not_know_is_left_out(
    scripted_client, script: ScriptedEC2, code: str, message: str
) -> None:
    script.refuse("DescribeImages", code, message)
    script.answer("DescribeImages", IMAGES)
    assert scripted_client.describe_images(IncludeDeprecated=True)["Images"] == []
    assert ["IncludeDeprecated" in question for question in script.asked] == [True, False]
    scripted_client.describe_images(IncludeDeprecated=True)
    assert "IncludeDeprecated" not in script.asked[-1]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidParameterValue", "the value of IncludeDeprecated must be true or false"),
        ("UnknownParameter", "The parameter Owners is not recognized"),
        ("InvalidAMIID.NotFound", "unknown image"),
    ],
)
def test_any_other_refusal_stands(scripted_client, script: ScriptedEC2, code: str, message: str) -> None:
    script.refuse("DescribeImages", code, message)
    with pytest.raises(ClientError, match=code):
        scripted_client.describe_images(IncludeDeprecated=True)
    assert script.count("DescribeImages") == 1


def test_rejection_of_an_unsent_parameter_is_raised(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeImages", "UnknownParameter", "IncludeDeprecated")
    with pytest.raises(ClientError):
        scripted_client.describe_images()
    assert script.count("DescribeImages") == 1


def test_tags_that_were_left_out_are_put_on_what_was_created(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("CreateVolume", "UnknownParameter", "TagSpecification.1.ResourceType")
    script.answer("CreateVolume", VOLUME)
    script.answer("CreateTags", "<return>true</return>")
    create_volume(scripted_client)
    tagging = script.asked[-1]
    assert (tagging["Action"], tagging["ResourceId.1"]) == ("CreateTags", "vol-1")
    assert (tagging["Tag.1.Key"], tagging["Tag.1.Value"], tagging["Tag.2.Key"]) == ("Name", "mine", "a")
    create_volume(scripted_client)
    assert (script.count("CreateVolume"), script.count("CreateTags")) == (3, 2)


def test_what_is_not_known_yet_is_tagged_when_it_is(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("CreateVolume", "UnknownParameter", "TagSpecification")
    script.answer("CreateVolume", VOLUME)
    script.refuse("CreateTags", "InvalidVolume.NotFound")
    script.answer("CreateTags", "<return>true</return>")
    create_volume(scripted_client)
    assert script.count("CreateTags") == 2


def test_what_cannot_be_tagged_is_still_handed_over(
    scripted_client, script: ScriptedEC2, caplog: pytest.LogCaptureFixture
) -> None:
    script.refuse("CreateVolume", "UnknownParameter", "TagSpecification")
    script.answer("CreateVolume", VOLUME)
    script.refuse("CreateTags", "UnauthorizedOperation")
    with caplog.at_level(logging.WARNING, logger="pycloudlib"):
        create_volume(scripted_client)
    assert "cannot tag vol-1, so no sweep will find it" in caplog.text


def test_several_parameters_are_left_out_one_after_the_other(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("RunInstances", "UnknownParameter", "TagSpecification.1.Tag.1.Key")
    script.refuse("RunInstances", "UnknownParameter", "MetadataOptions.HttpTokens")
    script.answer("RunInstances", "<instancesSet><item><instanceId>i-1</instanceId></item></instancesSet>")
    script.answer("CreateTags", "<return>true</return>")
    scripted_client.run_instances(
        MinCount=1,
        MaxCount=1,
        MetadataOptions={"HttpTokens": "required"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}],
    )
    assert script.count("RunInstances") == 3
    assert script.asked[-1]["ResourceId.1"] == "i-1"


def test_nothing_is_left_out_at_awss_own_endpoints(script: ScriptedEC2) -> None:
    settings = Settings(region="us-east-1", access_key_id="a", secret_access_key="b")
    client = open_session(settings).client
    # The call goes to the script instead of AWS, by what botocore offers for such things.
    script.refuse("DescribeImages", "UnknownParameter", "IncludeDeprecated")

    def redirect(request, **_: object) -> None:
        request.url = script.url

    client.meta.events.register("before-send.ec2.*", redirect)
    with pytest.raises(ClientError, match="IncludeDeprecated"):
        client.describe_images(IncludeDeprecated=True)
    assert script.count("DescribeImages") == 1
